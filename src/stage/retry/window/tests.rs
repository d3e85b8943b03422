//! The window against the retries that it owes.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn window_pays_its_ratio_and_reserve_and_no_more(
        ratio in 0.0f64..2.0, reserve in 0u32..20, deposits in 0u32..300,
    ) {
        let window = WindowBudget::new(Duration::from_secs(1), ratio, reserve).unwrap();
        (0..deposits).for_each(|_| window.deposit());
        let lent: u32 = std::iter::from_fn(|| window.withdraw(Cost::Retry)).sum();
        let lent = f64::from(lent);
        // A deposit is worth a whole number of thousandths.
        let worth = (ratio * 1000.0).round() / 1000.0;
        let owed = f64::from(deposits) * worth + f64::from(reserve);
        prop_assert!(lent <= owed + 1e-6 && lent > owed - 1.0 - 1e-6, "{lent} {owed}");
    }
}

#[tokio::test(start_paused = true)]
async fn deposit_expires_after_the_window() {
    let window = WindowBudget::new(Duration::from_secs(1), 1.0, 0).unwrap();
    window.deposit();
    tokio::time::advance(Duration::from_millis(901)).await;
    assert_eq!(window.balance(), 1);
    tokio::time::advance(Duration::from_millis(100)).await;
    assert_eq!((window.balance(), window.withdraw(Cost::Retry)), (0, None));
}

#[tokio::test(start_paused = true)]
async fn window_slides_across_long_pauses() {
    let window = WindowBudget::new(Duration::from_secs(1), 1.0, 0).unwrap();
    // One deposit in each slot, for three windows, and then a long pause.
    for wait in [100; 30].into_iter().chain([3_600_000]) {
        window.deposit();
        tokio::time::advance(Duration::from_millis(wait)).await;
    }
    assert_eq!(window.balance(), 0);
    for slots in 1..=30 {
        window.deposit();
        assert_eq!(window.balance(), slots.min(10));
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    // Nine slots hold a deposit, and the current one is empty.
    assert_eq!((window.withdraw(Cost::Retry), window.balance()), (Some(1), 8));
}

#[test]
fn bad_ratio_or_window_is_an_error() {
    for ratio in [-0.1, f64::NAN, f64::INFINITY, 1001.0] {
        let error = WindowBudget::new(Duration::from_secs(1), ratio, 0).unwrap_err();
        assert_eq!(error, BudgetError::Ratio, "{ratio}");
    }
    for millis in [0, 9, 3_600_001] {
        let error = WindowBudget::new(Duration::from_millis(millis), 0.1, 0).unwrap_err();
        assert_eq!(error, BudgetError::Window);
    }
}
