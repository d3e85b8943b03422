//! The incidents of tokens and connections while requests are in flight.

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

/// The interval of the incidents.
const TICK: Duration = Duration::from_millis(15);
/// The ticks at which all tokens are revoked, and at which all are replaced.
const DEAD: (u32, u32) = (50, 56);
/// The ticks at which the connections of a socket are cut.
const CUT: u32 = 40;
/// The ticks at which every fifth token is rejected for a moment, while many requests are sent.
const AWAY: u32 = 5;

/// The operator of the accounts, and the provider.
pub(crate) struct Operator<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) desk: &'a Arc<Desk>,
    pub(crate) ports: &'a [Port],
}

impl Operator<'_> {
    /// Begins when the desk opens, and does not end.
    pub(crate) async fn work(&self, mut dice: fastrand::Rng) -> Result<Infallible, Error> {
        self.desk.open.subscribe().wait_for(|open| *open).await?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 0_u32.. {
            ticks.tick().await;
            if tick == AWAY {
                let back = Token::Back(Instant::now() + 6 * TICK);
                self.keys().into_iter().step_by(5).for_each(|key| self.reject(key, back));
            } else if tick == DEAD.0 {
                self.keys().into_iter().for_each(|key| self.reject(key, Token::Invalid));
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

    /// Causes one incident of one account.
    fn act(&self, dice: &mut fastrand::Rng) -> Result<(), Error> {
        let account = dice.usize(..self.pool.len());
        let Some(key) = self.keys().get(account).copied() else { return Ok(()) };
        let some = Duration::from_millis(dice.u64(30..300));
        match dice.u8(..100) {
            0..16 => self.reject(key, Token::Invalid),
            16..26 => self.reject(key, Token::Revoked),
            26..42 => self.reject(key, Token::Back(Instant::now() + some)),
            42..55 => self.desk.limit(account, some, dice.bool()),
            // As people do: after an incident, and sometimes without a reason.
            55..65 => self.replace(key)?,
            _ => {
                if let Some(key) = dice.choice(self.dead()) {
                    self.replace(key)?;
                }
            }
        }
        Ok(())
    }

    /// Rejects a token that was always accepted. Each token is rejected at most once: one that is
    /// accepted again stays so.
    fn reject(&self, key: Key, how: Token) {
        if self.is_good(key) {
            self.desk.set(key, how);
        }
    }

    fn is_good(&self, key: Key) -> bool {
        self.desk.get(key) == Some(Token::Good)
    }

    /// Sets a new token; the old one is rejected at once, while requests are in flight with it.
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

    /// Returns the tokens that are rejected permanently.
    fn dead(&self) -> Vec<Key> {
        let dead = |key: &Key| !matches!(self.desk.get(*key), Some(Token::Good | Token::Back(_)));
        self.keys().into_iter().filter(dead).collect()
    }

    /// Replaces all tokens that are rejected, or that the pool holds to be.
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

/// Returns the current tokens of all accounts.
fn keys(view: &PoolView) -> Vec<Key> {
    let accounts = view.accounts.iter().enumerate();
    accounts.map(|(account, seen)| Key { account, generation: seen.generation }).collect()
}
