//! The data that only changes of the accounts use: groups, their locks, former credentials.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{credential::Credential, pool::account::Generation};

/// From this number of accounts on, messages of others are withheld instead of searched for secrets.
pub(crate) const MANY_SECRETS: usize = 1024;

/// The data of changes of the accounts, which run one at a time.
#[derive(Default)]
pub(crate) struct Registry {
    groups: HashMap<Arc<str>, u32>,
    /// Serialise the calls to the sources of one group.
    turns: HashMap<u32, Arc<tokio::sync::Mutex<()>>>,
    /// Credentials that were replaced or removed lately, and may be quoted in a message.
    pub(crate) former: VecDeque<(u32, Credential)>,
}

/// The number of former credentials that are kept out of messages: with more accounts four for each,
/// and always the last two of an account.
const FORMER: usize = 8;

impl Registry {
    pub(crate) fn group(&mut self, name: &Arc<str>) -> u32 {
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        *self.groups.entry(Arc::clone(name)).or_insert(next)
    }

    pub(crate) fn turn(&mut self, group: Option<u32>) -> Arc<tokio::sync::Mutex<()>> {
        match group {
            Some(group) => Arc::clone(self.turns.entry(group).or_default()),
            None => Arc::default(),
        }
    }

    pub(crate) fn remember_former(&mut self, old: &Generation, accounts: usize) {
        // With more accounts, messages are withheld anyway.
        let room = if accounts > MANY_SECRETS { FORMER } else { FORMER.max(4 * accounts) };
        while self.former.len() >= room {
            let mut of_each: HashMap<u32, usize> = HashMap::new();
            self.former.iter().for_each(|(uid, _)| *of_each.entry(*uid).or_default() += 1);
            let many = |(uid, _): &(u32, Credential)| of_each.get(uid).is_some_and(|n| *n > 2);
            let oldest = self.former.iter().position(many).unwrap_or(0);
            self.former.remove(oldest);
        }
        self.former.push_back((old.account.uid, old.credential.clone()));
    }
}
