//! Turns by weight: exact over one cycle, interleaved, found in a bounded number of steps.

/// The weights of some accounts, and the order of their turns.
///
/// The turns of a cycle are numbered so that account 0 has the first `w0`, account 1 the next `w1`,
/// and so on. They are taken in steps of about 0.618 of the cycle, with no common divisor: each turn
/// comes once in a cycle, and those of one account come far apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cycle {
    /// The number of the first turn after each account's own.
    ends: Box<[u64]>,
    total: u64,
    step: u64,
}

impl Cycle {
    pub(crate) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let ends: Box<[u64]> = weights
            .scan(0_u64, |sum, weight| {
                *sum += u64::from(weight);
                Some(*sum)
            })
            .collect();
        let total = ends.last().copied().unwrap_or(0);
        Self { ends, total, step: step(total) }
    }

    /// Returns the index of the account in turn; `None` if all weights are 0.
    pub(crate) fn turn(&self, n: u64) -> Option<usize> {
        let turn = nth(n, self.step, self.total)?;
        Some(self.ends.partition_point(|end| *end <= turn))
    }
}

/// Returns the index of the account in turn, among at most 64 `weights`. Like [`Cycle::turn`], without
/// preparation.
pub(crate) fn turn_of(weights: &[u32], n: u64) -> Option<usize> {
    let total = weights.iter().map(|weight| u64::from(*weight)).sum();
    let mut turn = nth(n, step(total), total)?;
    weights.iter().position(|weight| match turn.checked_sub(u64::from(*weight)) {
        Some(rest) => {
            turn = rest;
            false
        }
        None => true,
    })
}

fn nth(n: u64, step: u64, total: u64) -> Option<u64> {
    let n = u128::from(n.checked_rem(total)?);
    u64::try_from(n * u128::from(step) % u128::from(total)).ok()
}

/// Returns about 0.618 of `total`, coprime to it.
fn step(total: u64) -> u64 {
    let golden = u128::from(total) * 618_033_988 / 1_000_000_000;
    let mut step = u64::try_from(golden).unwrap_or(1).max(1);
    while divisor(step, total) > 1 {
        step += 1;
    }
    step
}

const fn divisor(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
