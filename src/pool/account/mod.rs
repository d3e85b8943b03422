//! What the pool knows of one account.

pub(crate) mod cooldown;
pub(crate) mod entry;
pub(crate) mod evidence;
pub(crate) mod kept;
pub(crate) mod lifetime;
pub(crate) mod model_cooldowns;
pub(crate) mod renewal;
pub(crate) mod single_flight;
pub(crate) mod source;
pub(crate) mod state;

pub(crate) use self::{
    cooldown::{Rests, millis},
    entry::{Base, Generation, Member, Slot},
    model_cooldowns::{Models, Tried},
    single_flight::{Begin, End},
    source::Feed,
    state::{Kind, Since, Word},
};
