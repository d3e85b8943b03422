//! Sets and orders of accounts: who is usable, whose turn it is, what is due.

pub(crate) mod bitset;
pub(crate) mod cursor;
pub(crate) mod rendezvous;
pub(crate) mod roster;
pub(crate) mod timers;
pub(crate) mod weighted;

#[cfg(test)]
pub(crate) use self::bitset::Bitset;
pub(crate) use self::{
    cursor::{Cursor, Cursors},
    rendezvous::hash,
    roster::{FEW, Places, Roster, Tier},
    timers::Timers,
};
