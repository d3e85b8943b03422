//! Boxed stacks.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tower::{BoxError, Service, ServiceExt, util::BoxCloneService};

use super::stack::Body;

/// A boxed response body.
pub(crate) type Any = UnsyncBoxBody<Bytes, BoxError>;
/// A boxed stack. It is not `Sync`.
pub(crate) type Boxed = BoxCloneService<Request<Body>, Response<Any>, BoxError>;

/// Boxes a service. Readiness, errors and frames pass unchanged.
pub(crate) fn boxed<S, RB>(service: S) -> Boxed
where
    S: Service<Request<Body>, Response = Response<RB>, Error = BoxError>,
    S: Clone + Send + 'static,
    S::Future: Send,
    RB: HttpBody<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError> + Send,
{
    BoxCloneService::new(service.map_response(|answer: Response<RB>| {
        answer.map(|body| body.map_err(Into::into).boxed_unsync())
    }))
}
