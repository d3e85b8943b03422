//! The verdict of an answer, from its head and body.

pub(crate) mod answer;
pub(crate) mod content;
pub(crate) mod error_body;
pub(crate) mod error_code;
pub(crate) mod grpc;
pub(crate) mod server_delay;
pub(crate) mod table;
#[cfg(feature = "oauth")]
pub(crate) mod token_answer;

#[cfg(feature = "oauth")]
pub(crate) use self::token_answer::TokenAnswer;
pub(crate) use self::{answer::Answer, content::is_json, error_body::ErrorBody};
