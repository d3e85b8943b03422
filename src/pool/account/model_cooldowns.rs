//! Cooldowns of single models of an account, such as after "model not found".

use std::sync::Arc;

use super::cooldown::Cooldowns;

/// The most models that one account keeps; the one whose cooldown ends soonest is forgotten first.
pub(crate) const MOST: usize = 64;

/// The cooling models of one generation of an account's credential.
#[derive(Debug, Default)]
pub(crate) struct ModelCooldowns {
    entries: Vec<CoolingModel>,
}

#[derive(Debug)]
struct CoolingModel {
    model: Arc<str>,
    until: u64,
    strikes: u8,
}

/// A model whose cooldown was over when an attempt leased the account for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TriedModel {
    model: Arc<str>,
    until: u64,
}

impl ModelCooldowns {
    /// Returns until when `model` cools, if it does.
    pub(crate) fn until(&self, model: &str, now: u64) -> Option<u64> {
        let entry = self.entries.iter().find(|entry| *entry.model == *model)?;
        (entry.until > now).then_some(entry.until)
    }

    /// Returns whether no model is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the models that cool, and until when.
    pub(crate) fn cooling(&self, now: u64) -> impl Iterator<Item = (&Arc<str>, u64)> {
        let cooldown = self.entries.iter().filter(move |entry| entry.until > now);
        cooldown.map(|entry| (&entry.model, entry.until))
    }

    /// Cools `model` for `cooldown` from `now`. Returns whether its cooldown grew.
    pub(crate) fn cool_down(&mut self, model: &str, now: u64, cooldown: u64) -> bool {
        if cooldown == 0 {
            return false;
        }
        let until = now.saturating_add(cooldown);
        let Some(entry) = self.entry(model, now) else {
            return false;
        };
        let grows = until > entry.until;
        entry.until = entry.until.max(until);
        grows
    }

    /// Notes a limit of `model`. Returns whether its cooldown grew.
    pub(crate) fn limited(
        &mut self,
        model: &str,
        delay: Option<u64>,
        cooldowns: &Cooldowns,
        now: u64,
    ) -> bool {
        let cooldown = match delay {
            _ if !cooldowns.cooling => 0,
            Some(delay) => delay.min(cooldowns.max_rest),
            None => match self.entry(model, now) {
                Some(entry) if entry.until <= now => {
                    let cooldown = cooldowns.limited(u64::from(entry.strikes));
                    entry.strikes = entry.strikes.saturating_add(1);
                    cooldown
                }
                _ => 0,
            },
        };
        self.cool_down(model, now, cooldown)
    }

    /// Returns the entry of `model`, to be given to [`succeeded`](Self::succeeded).
    pub(crate) fn tried(&self, model: &str) -> Option<TriedModel> {
        let entry = self.entries.iter().find(|entry| *entry.model == *model)?;
        Some(TriedModel { model: entry.model.clone(), until: entry.until })
    }

    /// Notes a success: forgets the entry, unless a newer cooldown has begun.
    pub(crate) fn succeeded(&mut self, tried: &TriedModel) {
        self.entries.retain(|entry| entry.until != tried.until || entry.model != tried.model);
    }

    fn entry(&mut self, model: &str, now: u64) -> Option<&mut CoolingModel> {
        if let Some(at) = self.entries.iter().position(|entry| *entry.model == *model) {
            return self.entries.get_mut(at);
        }
        if self.entries.len() >= MOST {
            let soonest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.until);
            if let Some((at, _)) = soonest {
                self.entries.swap_remove(at);
            }
        }
        self.entries.push(CoolingModel { model: model.into(), until: now, strikes: 0 });
        self.entries.last_mut()
    }
}
