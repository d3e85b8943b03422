//! The names to code against; what is behind them follows.
#![allow(missing_docs, clippy::all, clippy::pedantic, unused)]

use std::{sync::Arc, time::Duration};

use http::{StatusCode, Uri, request::Parts};
use tokio::time::Instant;

use super::{settings::*, want::*};
use crate::{
    classify::{Code, Reason},
    clock::Now,
    credential::{Account, Credential},
    report::{Reporter, ReporterHandle},
};

#[derive(Clone, Debug)]
pub struct Pool {}
#[derive(Debug)]
pub struct PoolBuilder {}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    #[error("the pool is empty")]
    Empty,
}
#[derive(Clone, Debug)]
pub struct PoolView {
    pub accounts: Vec<AccountView>,
}
#[derive(Clone, Debug)]
pub struct AccountView {
    pub id: Arc<str>,
    pub state: State,
}
#[derive(Clone, Debug)]
pub struct Counts {}
#[derive(Clone, Debug)]
pub struct ModelRest {}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    Usable,
    Resting,
    Quarantined,
    Probing,
    Retired,
}

impl Pool {
    pub fn builder() -> PoolBuilder {
        PoolBuilder {}
    }
    pub fn insert(&self, account: Account) -> Result<(), PoolError> {
        Ok(())
    }
    pub fn replace(&self, id: &str, credential: Credential) -> Result<u64, PoolError> {
        Err(PoolError::Empty)
    }
    pub fn remove(&self, id: &str) -> bool {
        false
    }
    pub fn revive(&self, id: &str) -> bool {
        false
    }
    pub fn retire(&self, id: &str) -> bool {
        false
    }
    pub fn invalidate(&self, id: &str, reason: Reason) -> bool {
        false
    }
    pub fn rest(&self, id: &str, model: Option<&str>, time: Duration) -> bool {
        false
    }
    pub fn contains(&self, id: &str) -> bool {
        false
    }
    pub fn len(&self) -> usize {
        0
    }
    pub fn is_empty(&self) -> bool {
        true
    }
    pub fn view(&self) -> PoolView {
        PoolView {
            accounts: Vec::new(),
        }
    }

    pub(crate) fn pick(&self, want: &Want<'_>, now: &mut Now) -> Result<Picked, Unavailable> {
        Err(Unavailable {
            code: Code::PoolEmpty,
            retry_after: None,
        })
    }
    pub(crate) fn pick_at(&self, want: &Want<'_>, at: Instant) -> Result<Picked, Unavailable> {
        Err(Unavailable {
            code: Code::PoolEmpty,
            retry_after: None,
        })
    }
    pub(crate) fn surely_dead(&self) -> bool {
        false
    }
    pub(crate) fn own(&self) -> OwnCredential {
        OwnCredential::Keep
    }
    pub(crate) fn carries_own(&self, parts: &Parts) -> bool {
        false
    }
    pub(crate) fn cascade(&self) -> Cascade {
        Cascade::SameGroup
    }
    pub(crate) fn help(&self) -> Option<&Arc<str>> {
        None
    }
    pub(crate) fn id(&self) -> u32 {
        0
    }
    pub(crate) fn is_current(&self, account: u32, generation: u64) -> bool {
        false
    }
    pub(crate) fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {}
    pub(crate) fn too_many_secrets(&self) -> bool {
        false
    }
}

impl PoolBuilder {
    pub fn account(self, account: Account) -> Self {
        self
    }
    pub fn accounts(self, accounts: impl IntoIterator<Item = Account>) -> Self {
        self
    }
    pub fn origins<I>(self, origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: TryInto<Uri>,
    {
        self
    }
    pub fn any_origin(self) -> Self {
        self
    }
    pub fn may_be_empty(self) -> Self {
        self
    }
    pub fn choose(self, choose: Choose) -> Self {
        self
    }
    pub fn order(self, order: Order) -> Self {
        self
    }
    pub fn cascade(self, cascade: Cascade) -> Self {
        self
    }
    pub fn own_credential(self, own: OwnCredential) -> Self {
        self
    }
    pub fn help(self, text: impl Into<Arc<str>>) -> Self {
        self
    }
    pub fn reporter(self, reporter: impl Reporter) -> Self {
        self
    }
    pub fn reporter_handle(self, reporter: ReporterHandle) -> Self {
        self
    }
    pub fn quarantine(self, quarantine: Quarantine) -> Self {
        self
    }
    pub fn limited_rest(self, first: Duration, max: Duration) -> Self {
        self
    }
    pub fn out_of_quota_rest(self, rest: Duration) -> Self {
        self
    }
    pub fn model_rest(self, rest: Duration) -> Self {
        self
    }
    pub fn max_rest(self, longest: Duration) -> Self {
        self
    }
    pub fn cooling(self, cooling: bool) -> Self {
        self
    }
    pub fn build(self) -> Result<Pool, PoolError> {
        Err(PoolError::Empty)
    }
}

#[derive(Debug)]
pub(crate) struct InFlight {}
#[derive(Debug)]
pub(crate) struct Picked {}

impl Picked {
    pub(crate) fn uid(&self) -> u32 {
        0
    }
    pub(crate) fn id(&self) -> &Arc<str> {
        unreachable!()
    }
    pub(crate) fn generation(&self) -> u64 {
        0
    }
    pub(crate) fn group(&self) -> Option<u32> {
        None
    }
    pub(crate) fn is_probe(&self) -> bool {
        false
    }
    pub(crate) fn still_good(&self) -> bool {
        false
    }
    pub(crate) fn apply(&self, parts: &mut Parts) -> Result<(), Code> {
        Err(Code::PoolEmpty)
    }
    pub(crate) fn sent(&self) {}
    pub(crate) fn succeeded(&mut self, remaining: Option<u64>) {}
    pub(crate) fn refused(
        &mut self,
        reason: Reason,
        status: Option<StatusCode>,
        now: &mut Now,
    ) -> Refusal {
        Refusal {
            won: false,
            rest: Duration::ZERO,
        }
    }
    pub(crate) fn limited(&mut self, model: Option<&str>, delay: Option<Duration>, now: &mut Now) {}
    pub(crate) fn out_of_quota(
        &mut self,
        delay: Option<Duration>,
        status: Option<StatusCode>,
        now: &mut Now,
    ) {
    }
    pub(crate) fn model_missing(&mut self, model: &str, delay: Option<Duration>, now: &mut Now) {}
    pub(crate) fn healthy_failure(&mut self) {}
    pub(crate) fn inconclusive(&mut self) {}
    pub(crate) fn in_flight_guard(&self) -> Option<InFlight> {
        None
    }
}
