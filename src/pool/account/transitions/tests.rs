use proptest::prelude::*;

use super::*;

/// One generation as a person would write it down.
#[derive(Clone, Debug)]
struct Model {
    kind: Kind,
    until: u64,
    rejected: u64,
    limited: u64,
    ever: bool,
    reason: Option<Reason>,
    chapter: u64,
    closed: bool,
}

/// The knowledge of an attempt in the model.
#[derive(Clone, Copy, Debug)]
struct Knew {
    chapter: u64,
    until: u64,
    probe: bool,
}

const NEW: Model = Model {
    kind: Kind::Usable,
    until: 0,
    rejected: 0,
    limited: 0,
    ever: false,
    reason: None,
    chapter: 0,
    closed: false,
};

impl Model {
    fn is_my_probe(&self, knew: Knew) -> bool {
        knew.probe && self.kind == Kind::Probing && self.chapter == knew.chapter
    }

    fn alive(&self) -> bool {
        matches!(self.kind, Kind::Usable | Kind::Limited | Kind::Quota)
    }

    fn rest(&mut self, kind: Kind, now: u64, rest: u64) {
        if rest == 0 || self.kind == Kind::Retired {
            return;
        }
        let over = self.until <= now;
        self.until = self.until.max(now + rest);
        if self.kind == Kind::Usable
            || self.kind == Kind::Limited && kind == Kind::Quota
            || self.kind == Kind::Quota && over
        {
            self.kind = kind;
        }
    }

    fn heal(&mut self, knew: Knew) {
        if self.is_my_probe(knew) {
            let asked_for_rest = self.until > knew.until;
            self.kind = if asked_for_rest { Kind::Limited } else { Kind::Usable };
        }
    }

    fn reject(&mut self, knew: Knew, reason: Reason, now: u64) {
        let mine = self.is_my_probe(knew);
        if !(mine || self.alive() && self.chapter == knew.chapter) {
            return;
        }
        let (first, max) = match (reason, self.ever) {
            (Reason::Revoked, _) => (3_600_000, 86_400_000),
            (_, true) => (5_000, 3_600_000),
            (_, false) => (300_000, 3_600_000),
        };
        let mut rest: u64 = first;
        for _ in 0..self.rejected {
            rest = (rest * 2).min(max);
        }
        self.kind = Kind::Quarantined;
        self.until = self.until.max(now + rest);
        self.rejected = (self.rejected + 1).min(31);
        self.reason = Some(reason);
    }

    fn limit(&mut self, knew: Knew, delay: Option<u64>, now: u64) {
        let within = self.kind != Kind::Usable && self.until > now;
        self.heal(knew);
        match delay {
            Some(delay) => self.rest(Kind::Limited, now, delay.min(86_400_000)),
            None if within => {}
            None => {
                let mut rest: u64 = 1_000;
                for _ in 0..self.limited {
                    rest = (rest * 2).min(60_000);
                }
                let before = self.until;
                self.rest(Kind::Limited, now, rest);
                self.limited += u64::from(self.until > before);
            }
        }
    }

    fn succeed(&mut self, knew: Knew) {
        if self.kind == Kind::Retired {
            return;
        }
        self.ever = true;
        if self.is_my_probe(knew) {
            self.heal(knew);
            (self.rejected, self.limited) = (0, 0);
        } else if self.until == knew.until {
            match self.kind {
                Kind::Usable => (self.rejected, self.limited) = (0, 0),
                Kind::Limited | Kind::Quota => self.limited = 0,
                _ => {}
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// A request starts.
    Start,
    /// A request starts as a probe, if one is due.
    Probe,
    /// One of the requests ends.
    End(usize, End),
    Pass(u64),
    Wake,
    Retire,
    Revive,
    Close,
}

#[derive(Clone, Debug)]
enum End {
    Refused(Reason),
    Limited(Option<u64>),
    Quota(Option<u64>),
    Succeeded,
    Vouched,
    GivenBack,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let reason = prop_oneof![Just(Reason::Invalid), Just(Reason::Revoked), Just(Reason::Expired)];
    let delay = || prop::option::weighted(0.5, prop_oneof![0..3_000_u64, 0..200_000_000_u64]);
    let end = prop_oneof![
        3 => reason.prop_map(End::Refused),
        3 => delay().prop_map(End::Limited),
        1 => delay().prop_map(End::Quota),
        3 => Just(End::Succeeded),
        1 => Just(End::Vouched),
        1 => Just(End::GivenBack),
    ];
    let op = prop_oneof![
        5 => Just(Op::Start),
        4 => Just(Op::Probe),
        10 => (any::<usize>(), end).prop_map(|(i, end)| Op::End(i, end)),
        4 => prop_oneof![0..3_000_u64, 0..500_000_u64, 0..90_000_000_u64].prop_map(Op::Pass),
        2 => Just(Op::Wake),
        1 => Just(Op::Retire),
        2 => Just(Op::Revive),
    ];
    (prop::collection::vec(op, 0..60), prop::option::weighted(0.2, 0..60_usize)).prop_map(
        |(mut ops, close)| {
            if let Some(at) = close {
                ops.insert(at.min(ops.len()), Op::Close);
            }
            ops
        },
    )
}

fn step(
    state: &mut GenerationState,
    next: impl Fn(GenerationState) -> Option<GenerationState>,
) -> bool {
    match next(*state) {
        Some(next) => {
            *state = next;
            true
        }
        None => false,
    }
}

fn end(
    state: &mut GenerationState,
    strikes: &mut u64,
    model: &mut Model,
    since: Since,
    knew: Knew,
    what: &End,
    now: u64,
) {
    let cooldowns = Cooldowns::default();
    let was = model.clone();
    match *what {
        End::Refused(reason) => {
            step(state, |state| state.rejected(since, reason, &cooldowns, now));
            model.reject(knew, reason, now);
        }
        End::Limited(delay) => {
            let before = state.until();
            step(state, |state| state.limited(since, delay, *strikes, &cooldowns, now));
            *strikes += u64::from(delay.is_none() && state.until() > before);
            model.limit(knew, delay, now);
        }
        End::Quota(delay) => {
            step(state, |state| state.out_of_quota(since, delay, &cooldowns, now));
            model.heal(knew);
            model.rest(Kind::Quota, now, delay.unwrap_or(1_800_000).min(86_400_000));
        }
        End::Succeeded => {
            if state.ends_strikes(since) {
                *strikes = 0;
            }
            step(state, |state| state.succeeded(since));
            model.succeed(knew);
        }
        End::Vouched => {
            step(state, |state| state.probe_healthy(since));
            model.heal(knew);
        }
        End::GivenBack => {
            step(state, |state| state.probe_returned(since));
            if model.is_my_probe(knew) {
                model.kind = Kind::Quarantined;
            }
        }
    }
    if model.closed {
        *model = was;
    }
}

proptest! {
    #[test]
    fn state_agrees_with_a_naive_account(ops in ops()) {
        let (mut state, mut model, mut now) = (GenerationState::NEW, NEW, 1_000);
        let mut strikes = 0;
        let mut attempts: Vec<(Since, Knew)> = Vec::new();
        for op in ops {
            let before = state;
            match &op {
                Op::Start => {
                    let since = Since { seen: state, probe: false };
                    let knew = Knew { chapter: model.chapter, until: model.until, probe: false };
                    attempts.push((since, knew));
                }
                Op::Probe => {
                    let timers = model.kind == Kind::Quarantined && model.until <= now;
                    let taken = step(&mut state, |state| state.probed(now));
                    prop_assert_eq!(taken, timers && !model.closed);
                    if taken {
                        model.kind = Kind::Probing;
                        model.chapter += 1;
                        let knew = Knew { chapter: model.chapter, until: model.until, probe: true };
                        attempts.push((Since { seen: state, probe: true }, knew));
                    }
                }
                Op::End(i, what) => {
                    if attempts.is_empty() {
                        continue;
                    }
                    let (since, knew) = attempts.swap_remove(i % attempts.len());
                    end(&mut state, &mut strikes, &mut model, since, knew, what, now);
                }
                Op::Pass(time) => now += time,
                Op::Wake => {
                    step(&mut state, |state| state.cooldown_over(now));
                    let resting = matches!(model.kind, Kind::Limited | Kind::Quota);
                    if resting && model.until <= now && !model.closed {
                        model.kind = Kind::Usable;
                    }
                }
                Op::Retire => {
                    if step(&mut state, GenerationState::retired) {
                        model.kind = Kind::Retired;
                        model.chapter += 1;
                    }
                }
                Op::Revive => {
                    if !state.is_closed() {
                        strikes = 0;
                        model.limited = 0;
                    }
                    if step(&mut state, GenerationState::revived) {
                        let rejected = !model.alive() || model.rejected > 0;
                        let (ever, chapter) = (model.ever, model.chapter + u64::from(rejected));
                        model = Model { ever, chapter, ..NEW };
                    }
                }
                Op::Close => {
                    state = state.closed();
                    model.closed = true;
                }
            }
            prop_assert_eq!(state.kind(), model.kind, "{:?} from {:?}", op, before);
            prop_assert_eq!(state.until(), model.until, "{:?} from {:?}", op, before);
            prop_assert_eq!(state.is_proven(), model.ever, "{:?} from {:?}", op, before);
            prop_assert_eq!(state.get(REJECTED), model.rejected, "{:?} from {:?}", op, before);
            prop_assert_eq!(strikes, model.limited, "{:?} from {:?}", op, before);
            prop_assert_eq!(state.is_closed(), model.closed);
            let serves = match model.kind {
                Kind::Usable => true,
                Kind::Limited | Kind::Quota => model.until <= now,
                _ => false,
            };
            prop_assert_eq!(state.serves(now), serves);
            if let (Kind::Quarantined, Some(reason)) = (model.kind, model.reason) {
                prop_assert_eq!(state.reason(), reason);
            }
            // I8: only a person shortens a rest.
            if !matches!(op, Op::Revive) {
                prop_assert!(state.until() >= before.until(), "{:?} shortened {:?}", op, before);
            }
        }
    }

    #[test]
    fn fields_never_touch_each_other(bits in any::<u64>(), until in any::<u64>()) {
        let state = GenerationState::from_bits(bits).with(KIND, 0);
        let next = state.with(UNTIL, until);
        prop_assert_eq!(next.until(), until.min(UNTIL.max()));
        prop_assert_eq!(next.with(UNTIL, state.until()), state);
        prop_assert_eq!(state.closed().with(CLOSED, state.get(CLOSED)), state);
        let flagged = state.with(MODEL_COOLDOWNS, 1).with(TICKET, 0).with(REASON, 3).with(PROVEN, 1);
        prop_assert_eq!(flagged.until(), state.until());
        prop_assert_eq!(flagged.reason(), Reason::Revoked);
    }
}

fn since(seen: GenerationState) -> Since {
    Since { seen, probe: false }
}

fn rejected(state: GenerationState, now: u64) -> GenerationState {
    let next = state.rejected(since(state), Reason::Invalid, &Cooldowns::default(), now);
    next.expect("the refusal counts")
}

/// The state after a probe that was refused as soon as it was due.
fn probe_refused(state: GenerationState) -> GenerationState {
    let now = state.until();
    let seen = state.probed(now).expect("it is due");
    let probe = Since { seen, probe: true };
    seen.rejected(probe, Reason::Invalid, &Cooldowns::default(), now).expect("the probe counts")
}

#[test]
fn unproven_credential_is_quarantined_for_longer() {
    assert_eq!(rejected(GenerationState::NEW, 0).until(), 300_000);
    let trusted = GenerationState::NEW.succeeded(since(GenerationState::NEW)).expect("it is new");
    assert_eq!(rejected(trusted, 0).until(), 5_000);
}

#[test]
fn each_failed_probe_doubles_the_time_up_to_an_hour() {
    let trusted = GenerationState::NEW.succeeded(since(GenerationState::NEW)).expect("it is new");
    let mut state = rejected(trusted, 0);
    let mut periods = vec![state.until()];
    for _ in 0..11 {
        let next = probe_refused(state);
        periods.push(next.until() - state.until());
        state = next;
    }
    let seconds: Vec<_> = periods.iter().map(|ms| ms / 1_000).collect();
    assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
}

#[test]
fn revoked_credential_is_quarantined_for_an_hour_doubling_to_a_day() {
    let cooldowns = Cooldowns::default();
    let hours: Vec<_> = (0..7)
        .map(|strikes| cooldowns.quarantine(Reason::Revoked, true, strikes) / 3_600_000)
        .collect();
    assert_eq!(hours, [1, 2, 4, 8, 16, 24, 24]);
}

#[test]
fn quarantine_of_a_millisecond_doubles_up_to_its_maximum() {
    let mut cooldowns = Cooldowns::default();
    cooldowns.quarantine.untrusted = std::time::Duration::from_millis(1);
    cooldowns.quarantine.revoked = std::time::Duration::from_millis(1);
    for (reason, hours) in [(Reason::Invalid, 1), (Reason::Revoked, 24)] {
        let (mut state, mut last) = (GenerationState::NEW, 0);
        for _ in 0..40 {
            let before = state.until();
            let probed = state.probed(before).unwrap_or(state);
            let probe = Since { seen: probed, probe: probed != state };
            state = probed.rejected(probe, reason, &cooldowns, before).expect("it counts");
            assert!(last == 0 || state.until() - before == (last * 2).min(hours * 3_600_000));
            last = state.until() - before;
        }
        assert_eq!(last, hours * 3_600_000);
    }
}

#[test]
fn second_429_within_a_cooldown_does_not_double() {
    let cooldowns = Cooldowns::default();
    let first = GenerationState::NEW
        .limited(since(GenerationState::NEW), None, 0, &cooldowns, 0)
        .expect("it rests");
    assert_eq!(first.until(), 1_000);
    assert_eq!(first.limited(since(GenerationState::NEW), None, 1, &cooldowns, 999), None);
    let next = first.limited(since(first), None, 1, &cooldowns, 1_000).expect("a new window");
    assert_eq!(next.until(), 3_000);
}

#[test]
fn late_success_does_not_reset_the_doubling_of_a_newer_cooldown() {
    let cooldowns = Cooldowns::default();
    let early = since(GenerationState::NEW);
    let limited = GenerationState::NEW.limited(early, None, 0, &cooldowns, 0).expect("it rests");
    assert!(!limited.ends_strikes(early) && limited.ends_strikes(since(limited)));
    let late = limited.succeeded(early).expect("it is now trusted");
    assert_eq!((late.kind(), late.until()), (Kind::Limited, 1_000));
    let next = late.limited(since(late), None, 1, &cooldowns, 1_000).expect("a new window");
    assert_eq!(next.until(), 3_000, "twice the first");
}

#[test]
fn rejection_of_a_request_sent_before_the_healing_probe_is_outdated() {
    let early = since(GenerationState::NEW);
    let out = rejected(GenerationState::NEW, 0);
    let seen = out.probed(300_000).expect("it is due");
    let healed = seen.succeeded(Since { seen, probe: true }).expect("it heals");
    assert_eq!(healed.kind(), Kind::Usable);
    assert_eq!(healed.rejected(early, Reason::Invalid, &Cooldowns::default(), 300_001), None);
    assert_eq!(rejected(healed, 300_001).kind(), Kind::Quarantined, "a newer one counts");
}

#[test]
fn cooldown_that_begins_during_a_probe_is_kept() {
    let early = since(GenerationState::NEW);
    let seen = rejected(GenerationState::NEW, 0).probed(300_000).expect("it is due");
    let grown =
        seen.limited(early, Some(9_000), 0, &Cooldowns::default(), 300_000).expect("it grows");
    assert_eq!(grown.kind(), Kind::Probing);
    let healed = grown.succeeded(Since { seen, probe: true }).expect("it heals");
    assert_eq!((healed.kind(), healed.until()), (Kind::Limited, 309_000));
}

#[test]
fn probe_with_an_old_ticket_returns_nothing() {
    let out = rejected(GenerationState::NEW, 0);
    let first = out.probed(300_000).expect("it is due");
    let revived = first.revived().expect("it changes");
    let again = rejected(revived, 300_000);
    let second = again.probed(again.until()).expect("it is due");
    assert_eq!(second.probe_returned(Since { seen: first, probe: true }), None);
    assert_eq!(
        second.probe_returned(Since { seen: second, probe: true }),
        Some(second.with(KIND, 3))
    );
}

#[test]
fn longest_time_saturates_and_does_not_wrap() {
    let cooldowns = Cooldowns { max_rest: u64::MAX, ..Cooldowns::default() };
    let state = GenerationState::NEW.limited(
        since(GenerationState::NEW),
        Some(u64::MAX),
        0,
        &cooldowns,
        u64::MAX,
    );
    assert_eq!(state.map(GenerationState::until), Some(UNTIL.max()));
}

#[test]
fn revived_account_that_only_cooled_counts_rejections_in_flight() {
    let early = since(GenerationState::NEW);
    let resting = GenerationState::NEW
        .limited(early, Some(9_000), 0, &Cooldowns::default(), 0)
        .expect("it rests");
    let revived = resting.revived().expect("it changes");
    let rejected = revived.rejected(early, Reason::Invalid, &Cooldowns::default(), 1);
    assert_eq!(rejected.map(GenerationState::kind), Some(Kind::Quarantined));
}

#[test]
fn late_success_does_not_heal_during_a_probe() {
    let early = since(GenerationState::NEW);
    let seen = rejected(GenerationState::NEW, 0).probed(300_000).expect("it is due");
    let late = seen.succeeded(early).expect("it is now trusted");
    assert_eq!((late.kind(), late.get(REJECTED)), (Kind::Probing, 1));
}

#[test]
fn late_success_does_not_reset_the_doubling_of_a_newer_cooldown_that_is_over() {
    let cooldowns = Cooldowns::default();
    let early = since(GenerationState::NEW);
    let limited = GenerationState::NEW.limited(early, None, 0, &cooldowns, 0).expect("it rests");
    let cooldown_over = limited.cooldown_over(1_000).expect("its rest is over");
    assert_eq!(cooldown_over.kind(), Kind::Usable);
    assert!(!cooldown_over.ends_strikes(early));
    let late = cooldown_over.succeeded(early).expect("it is now trusted");
    let next = late.limited(since(late), None, 1, &cooldowns, 1_000).expect("a new window");
    assert_eq!(next.until(), 3_000, "twice the first");
}

#[test]
fn cooldown_ends_at_its_time_and_not_before() {
    let cooldowns = Cooldowns::default();
    let resting = GenerationState::NEW
        .limited(since(GenerationState::NEW), Some(1_000), 0, &cooldowns, 0)
        .expect("it rests");
    assert_eq!(resting.cooldown_over(999), None);
    assert_eq!(resting.cooldown_over(1_000).map(GenerationState::kind), Some(Kind::Usable));
}

#[test]
fn revived_account_that_was_healed_ignores_older_rejections() {
    let early = since(GenerationState::NEW);
    let seen = rejected(GenerationState::NEW, 0).probed(300_000).expect("it is due");
    let healed = seen.probe_healthy(Since { seen, probe: true }).expect("it heals");
    let probing = since(healed);
    let revived = healed.revived().expect("the refusals are forgotten");
    for older in [early, probing] {
        assert_eq!(revived.rejected(older, Reason::Invalid, &Cooldowns::default(), 300_001), None);
    }
}

#[test]
fn rejected_or_retired_credential_is_not_kept_for_a_failing_source() {
    let cooldowns = Cooldowns::default();
    let out = rejected(GenerationState::NEW, 0);
    let rejected_renewable = GenerationState::NEW.rejected_renewable(
        since(GenerationState::NEW),
        Reason::Invalid,
        &cooldowns,
        0,
    );
    let retired = GenerationState::NEW.retired().expect("it changes");
    for state in
        [out, rejected_renewable.expect("the refusal counts"), retired, GenerationState::unloaded()]
    {
        assert_eq!(state.expiring(), None, "{state:?}");
    }
    let expiring = GenerationState::NEW.expiring().expect("it changes");
    assert!(expiring.may_be_sent() && expiring.is_under_way());
}
