//! What happens to tokens and connections while requests are under way.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tower_failover::{
    Credential, Pool,
    pool::{PoolView, State},
};

use super::{
    Error,
    desk::{Desk, Token},
    server::Port,
    token::{Key, id},
};

/// How often something happens.
const TICK: Duration = Duration::from_millis(15);
/// When all tokens die at once, and when all are replaced.
const DEAD: (u32, u32) = (50, 56);
/// When a socket's connections are cut.
const CUT: u32 = 40;
/// When every fifth token is out for a moment, while there is much to be sent.
const AWAY: u32 = 5;

/// Whoever owns the accounts, and whoever else has a say.
pub(crate) struct Operator<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) desk: &'a Arc<Desk>,
    pub(crate) ports: &'a [Port],
}

impl Operator<'_> {
    /// Begins when the desk opens, and goes on for ever.
    pub(crate) async fn work(&self, mut dice: fastrand::Rng) -> Result<Infallible, Error> {
        self.desk.open.subscribe().wait_for(|open| *open).await?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 0_u32.. {
            ticks.tick().await;
            if tick == AWAY {
                let back = Token::Back(Instant::now() + 6 * TICK);
                self.keys().into_iter().step_by(5).for_each(|key| self.refuse(key, back));
            } else if tick == DEAD.0 {
                self.keys().into_iter().for_each(|key| self.refuse(key, Token::Invalid));
            } else if tick == DEAD.1 {
                self.dead().into_iter().try_for_each(|key| self.replace(key))?;
            } else if tick % CUT == CUT - 1 {
                self.ports[dice.usize(..self.ports.len())].cut();
            } else {
                self.act(&mut dice)?;
            }
        }
        Err("no tick is left".into())
    }

    /// One thing happens to one account.
    fn act(&self, dice: &mut fastrand::Rng) -> Result<(), Error> {
        let account = dice.usize(..self.pool.len());
        let Some(key) = self.keys().get(account).copied() else { return Ok(()) };
        let some = Duration::from_millis(dice.u64(30..300));
        match dice.u8(..100) {
            0..16 => self.refuse(key, Token::Invalid),
            16..26 => self.refuse(key, Token::Revoked),
            26..42 => self.refuse(key, Token::Back(Instant::now() + some)),
            42..55 => self.desk.limit(account, some, dice.bool()),
            // As people do it: when they hear of it, and now and then for no reason.
            55..65 => self.replace(key)?,
            _ => {
                if let Some(key) = dice.choice(self.dead()) {
                    self.replace(key)?;
                }
            }
        }
        Ok(())
    }

    /// A token that was good from the beginning is so no longer. Each is refused at most once: one
    /// that has come back stays.
    fn refuse(&self, key: Key, how: Token) {
        if self.is_good(key) {
            self.desk.set(key, how);
        }
    }

    fn is_good(&self, key: Key) -> bool {
        self.desk.get(key) == Some(Token::Good)
    }

    /// A new token; the old one dies at once, while requests are under way with it.
    fn replace(&self, old: Key) -> Result<(), Error> {
        let new = old.next();
        self.desk.set(new, Token::Good);
        let generation = self.pool.replace(&id(old.account), Credential::bearer(new.token())?)?;
        self.desk.set(old, Token::Invalid);
        if generation == new.generation {
            return Ok(());
        }
        Err(format!("{new:?} has become generation {generation}").into())
    }

    /// The tokens that do not come back by themselves.
    fn dead(&self) -> Vec<Key> {
        let dead = |key: &Key| !matches!(self.desk.get(*key), Some(Token::Good | Token::Back(_)));
        self.keys().into_iter().filter(dead).collect()
    }

    /// Replaces all that is not good, or not thought to be.
    pub(crate) fn heal(&self) -> Result<(), Error> {
        let view = self.pool.view();
        for (key, account) in keys(&view).into_iter().zip(&view.accounts) {
            if !self.is_good(key) || account.state != State::Usable {
                self.replace(key)?;
            }
        }
        Ok(())
    }

    fn keys(&self) -> Vec<Key> {
        keys(&self.pool.view())
    }
}

/// The tokens of all accounts, as listed.
fn keys(view: &PoolView) -> Vec<Key> {
    let accounts = view.accounts.iter().enumerate();
    accounts.map(|(account, seen)| Key { account, generation: seen.generation }).collect()
}
