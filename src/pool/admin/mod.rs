//! Changes of the accounts at run time, and what keeps an account from being accepted.

pub(crate) mod admin;
pub(crate) mod validate;

pub(crate) use self::admin::{
    cool_down, insert, invalidate, remove, replace, retire, revive, shut_down,
};
