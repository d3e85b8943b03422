//! What a driver is told when it is built.

use std::{sync::Arc, time::Duration};

use http::Extensions;

use crate::{
    answer::{Hook, LocalAnswers},
    body::PeekLimits,
    classify::Classifier,
    pool::Pool,
    report::ReporterHandle,
    stage::{Limits, model::ModelAt},
};

/// What becomes of an upstream's refusal of one of our credentials.
///
/// ```
/// use tower_failover::{short_circuit::AuthFailureMode, AuthShortCircuitLayer};
///
/// let layer = AuthShortCircuitLayer::new().auth_failure(AuthFailureMode::Replace);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AuthFailureMode {
    /// The upstream's answer goes out as it is, with the header `x-failover-auth`, which says
    /// that the credential was the pool's, and not the caller's own.
    #[default]
    Passthrough,
    /// The local answer goes out in its place.
    Replace,
}

/// Takes something out of the extensions of all attempts but the first.
pub(crate) type Deny = fn(&mut Extensions);

/// What all layers have in common.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) classifier: Classifier,
    pub(crate) attempts: u32,
    pub(crate) deadline: Duration,
    /// The two above, where the user set them: they hold for the other layers too.
    pub(crate) set: Limits,
    pub(crate) peek: PeekLimits,
    pub(crate) help: Option<Arc<str>>,
    pub(crate) hook: Option<Hook>,
    pub(crate) mode: AuthFailureMode,
    /// Who is told of failed requests; `None` where this driver does not report.
    pub(crate) reporter: Option<ReporterHandle>,
    pub(crate) recovered: bool,
    pub(crate) served_by: bool,
    /// Whether layers below are to know of this request: a layer on its own, or one of several.
    pub(crate) announce: bool,
    pub(crate) deny: Vec<Deny>,
    /// Where requests name their model, in a stack that falls back.
    pub(crate) model_at: Option<ModelAt>,
    /// The pool whose secrets must not stand in what is reported.
    pub(crate) secrets: Option<Pool>,
}

/// A driver's stages and settings.
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
    /// The pool's help text goes into local answers, its secrets out of reports.
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

/// A connection can be upgraded once: the handle goes with the first attempt.
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
