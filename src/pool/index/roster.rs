//! The accounts of a pool in the order in which they serve: swapped whole when one comes or goes.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use http::{HeaderName, HeaderValue};

use super::{bitset::Bitset, weighted::Cycle};
use crate::{
    credential::Placement,
    pool::{
        account::{Entry, Kind, PooledAccount},
        settings::{Order, Selection},
    },
    sync::{AtomicBool, Ordering},
};

/// The list of accounts, with the index of those that are usable.
pub(crate) struct Roster {
    /// Higher tiers first; within a tier in the pool's order.
    pub(crate) entries: Box<[Arc<Entry>]>,
    pub(crate) tiers: Box<[Tier]>,
    /// The positions of accounts that may be usable. A hint: the account's state decides.
    pub(crate) usable: Bitset,
    pub(crate) places: Places,
    /// Whether any account serves only some models.
    pub(crate) restricted: bool,
    /// Whether any account has a source.
    pub(crate) mints: bool,
    /// Whether any model was cooled for any account.
    model_cooldowns: AtomicBool,
    by_id: HashMap<Arc<str>, u32>,
    by_number: HashMap<u32, u32>,
}

/// The positions of the accounts of one priority.
pub(crate) struct Tier {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Only where the pool selects by weight, and the tier is too large to look at each account.
    pub(crate) cycle: Option<Cycle>,
}

/// The headers and query keys that the accounts of a pool use.
#[derive(Default)]
pub(crate) struct Places {
    /// The headers of credentials.
    pub(crate) headers: Vec<HeaderName>,
    /// The query keys of credentials.
    pub(crate) keys: Vec<Box<str>>,
    /// The fixed headers, with each of their values.
    pub(crate) fixed: HashMap<HeaderName, HashSet<HeaderValue>>,
}

/// Up to this many accounts of a tier are looked at one by one.
pub(crate) const FEW: usize = 64;

// === impl Roster ===

impl Roster {
    pub(crate) fn new(mut entries: Vec<Arc<Entry>>, order: Order, choose: Selection) -> Self {
        entries.sort_by_key(|entry| entry.account.uid);
        for (i, entry) in entries.iter().enumerate() {
            entry.account.ordinal.store(narrow(i + 1), Ordering::Relaxed);
        }
        match order {
            Order::Listed => entries.sort_by_key(|entry| Reverse(entry.account.priority)),
            Order::ById => entries.sort_by(|a, b| {
                let priority = b.account.priority.cmp(&a.account.priority);
                priority.then_with(|| a.account.id.cmp(&b.account.id))
            }),
        }
        let usable = Bitset::new(entries.len());
        let mut by_id = HashMap::with_capacity(entries.len());
        let mut by_number = HashMap::with_capacity(entries.len());
        let mut places = Places::default();
        for (i, entry) in entries.iter().enumerate() {
            entry.account.position.store(narrow(i), Ordering::Relaxed);
            by_id.insert(Arc::clone(&entry.account.id), narrow(i));
            by_number.insert(entry.account.uid, narrow(i));
            places.add(entry);
            if may_be_usable(entry) {
                usable.set(i);
            }
        }
        let restricted = entries.iter().any(|entry| entry.account.is_restricted());
        let mints = entries.iter().any(|entry| entry.account.minting_source().is_some());
        let model_cooldowns = AtomicBool::new(false);
        let tiers = tiers(&entries, choose);
        Self {
            entries: entries.into(),
            tiers,
            usable,
            places,
            restricted,
            mints,
            model_cooldowns,
            by_id,
            by_number,
        }
    }

    /// Adds accounts whose state changed while the roster was built. Must be called after it is stored:
    /// later changes find it (ordering 1 of `Shared`).
    pub(crate) fn catch_up(&self) {
        for (i, entry) in self.entries.iter().enumerate() {
            if entry.state().has_model_cooldowns() {
                self.note_model_cooldown();
            }
            if !self.usable.has(i) && may_be_usable(entry) {
                self.usable.set(i);
            }
        }
    }

    /// Returns whether a model may be cooling for some account: then no answer holds for all models.
    pub(crate) fn has_model_cooldowns(&self) -> bool {
        // Ordering 1 of `Shared`, with the flag of a state in place of its kind.
        self.model_cooldowns.load(Ordering::SeqCst)
    }

    /// Notes that a model is cooled for some account.
    pub(crate) fn note_model_cooldown(&self) {
        // Ordering 1 of `Shared`, with the flag of a state in place of its kind.
        self.model_cooldowns.store(true, Ordering::SeqCst);
    }

    /// Returns the account called `id`, and its position.
    pub(crate) fn find(&self, id: &str) -> Option<(usize, &Arc<Entry>)> {
        let i = *self.by_id.get(id)? as usize;
        Some((i, self.entries.get(i)?))
    }

    /// Returns the position of `account`.
    pub(crate) fn position(&self, account: &PooledAccount) -> Option<usize> {
        let guess = account.position.load(Ordering::Relaxed) as usize;
        match self.entries.get(guess) {
            Some(entry) if entry.account.uid == account.uid => Some(guess),
            _ => self.by_number.get(&account.uid).map(|i| *i as usize),
        }
    }

    /// Returns the account with this number.
    pub(crate) fn by_number(&self, uid: u32) -> Option<&Arc<Entry>> {
        self.entries.get(*self.by_number.get(&uid)? as usize)
    }
}

/// Returns whether the account may be usable: its state says so, or its time is up.
fn may_be_usable(entry: &Entry) -> bool {
    match entry.state().kind() {
        Kind::Usable => true,
        // The sweep that takes its timer sets its bit.
        Kind::Limited | Kind::Quota | Kind::Quarantined | Kind::Expiring | Kind::Absent => {
            // Pairs with the stores in `Timers`; see there.
            entry.account.queued.load(Ordering::SeqCst) == u64::MAX
        }
        Kind::Probing | Kind::Retired => false,
    }
}

fn tiers(entries: &[Arc<Entry>], choose: Selection) -> Box<[Tier]> {
    let mut start = 0;
    let same = |a: &Arc<Entry>, b: &Arc<Entry>| a.account.priority == b.account.priority;
    entries
        .chunk_by(same)
        .map(|tier| {
            let (from, end) = (start, start + tier.len());
            start = end;
            let large = choose == Selection::Weighted && tier.len() > FEW;
            let cycle = large.then(|| Cycle::new(tier.iter().map(|entry| entry.account.weight)));
            Tier { start: from, end, cycle }
        })
        .collect()
}

fn narrow(i: usize) -> u32 {
    u32::try_from(i).unwrap_or(u32::MAX)
}

// === impl Places ===

impl Places {
    fn add(&mut self, entry: &Entry) {
        self.add_place(&entry.current.load().credential.place);
        for (name, value) in entry.account.headers().into_iter().flatten() {
            self.fixed.entry(name.clone()).or_default().insert(value.clone());
        }
    }

    fn add_place(&mut self, place: &Placement) {
        if self.knows(place) {
            return;
        }
        match place {
            Placement::Header(name, _) => self.headers.push(name.clone()),
            Placement::Query(key, _) => self.keys.push(key.clone()),
        }
    }

    /// Returns whether all accounts put a credential into one and the same header, and nothing else.
    pub(crate) fn is_one_header(&self) -> bool {
        self.headers.len() == 1 && self.keys.is_empty() && self.fixed.is_empty()
    }

    /// Returns whether another credential of the pool goes into the same place.
    pub(crate) fn knows(&self, place: &Placement) -> bool {
        match place {
            Placement::Header(name, _) => self.headers.contains(name),
            Placement::Query(key, _) => self.keys.contains(key),
        }
    }
}
