//! The configuration of a driver.

use std::{sync::Arc, time::Duration};

use http::Extensions;

use crate::{
    answer::{Hook, LocalAnswers},
    body::PeekLimits,
    classify::Classifier,
    clock::Timer,
    pool::Pool,
    report::ReporterHandle,
    stage::{Limits, model::ModelAt},
};

/// The answer that the caller gets when the upstream has rejected a credential of the pool.
///
/// ```
/// use tower_failover::{short_circuit::AuthFailureMode, AuthShortCircuitLayer};
///
/// let layer = AuthShortCircuitLayer::new().auth_failure(AuthFailureMode::Replace);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AuthFailureMode {
    /// The upstream's answer, with the header `x-failover-auth`: the credential was the pool's and
    /// not the caller's own.
    #[default]
    Passthrough,
    /// A local answer in its place.
    Replace,
}

/// Removes a type from the extensions of every attempt but the first.
pub(crate) type Deny = fn(&mut Extensions);

/// The settings that all layers have in common.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) classifier: Classifier,
    pub(crate) attempts: u32,
    pub(crate) deadline: Duration,
    /// Attempts and deadline, where the user has set them: they hold for the other layers too.
    pub(crate) set: Limits,
    pub(crate) peek: PeekLimits,
    /// Shared by the services of a layer and of its clones.
    pub(crate) timer: Timer,
    pub(crate) help: Option<Arc<str>>,
    pub(crate) hook: Option<Hook>,
    pub(crate) mode: AuthFailureMode,
    /// The reporter of failed requests; `None` where this driver does not report.
    pub(crate) reporter: Option<ReporterHandle>,
    pub(crate) recovered: bool,
    pub(crate) served_by: bool,
    /// Whether layers below get a handle: a layer on its own, or one of several, gives one.
    pub(crate) announce: bool,
    pub(crate) deny: Vec<Deny>,
    /// The place of the model in a request, in a stack that falls back.
    pub(crate) model_at: Option<ModelAt>,
    /// The pool whose secrets are redacted in reports.
    pub(crate) secrets: Option<Pool>,
}

/// The stages and settings of a driver.
#[derive(Debug)]
pub(crate) struct Config<St, K> {
    pub(crate) stages: St,
    pub(crate) keep: K,
    pub(crate) local: LocalAnswers,
    pub(crate) common: Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            classifier: Classifier::default(),
            attempts: 4,
            deadline: Duration::from_secs(60),
            set: Limits::default(),
            peek: PeekLimits::default(),
            timer: Timer::new(),
            help: None,
            hook: None,
            mode: AuthFailureMode::default(),
            reporter: None,
            recovered: false,
            served_by: false,
            announce: true,
            deny: denied(),
            model_at: None,
            secrets: None,
        }
    }
}

impl Settings {
    /// Takes the help text for local answers from the pool, and redacts its secrets in reports.
    pub(crate) fn set_pool(&mut self, pool: &Pool) {
        self.help = pool.help().cloned();
        self.secrets = Some(pool.clone());
    }
}

impl<St, K> Config<St, K> {
    pub(crate) fn new(stages: St, keep: K, common: Settings) -> Self {
        let local = LocalAnswers::new(common.help.clone(), common.hook.clone());
        Self { stages, keep, local, common }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("classifier", &self.classifier)
            .field("attempts", &self.attempts)
            .field("deadline", &self.deadline)
            .field("mode", &self.mode)
            .field("reporter", &self.reporter)
            .field("announce", &self.announce)
            .finish_non_exhaustive()
    }
}

/// Returns the types that only the first attempt carries: a connection can be upgraded once.
#[cfg(feature = "hyper")]
fn denied() -> Vec<Deny> {
    vec![|extensions| {
        extensions.remove::<hyper::upgrade::OnUpgrade>();
    }]
}

#[cfg(not(feature = "hyper"))]
const fn denied() -> Vec<Deny> {
    Vec::new()
}
