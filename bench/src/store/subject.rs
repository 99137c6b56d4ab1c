//! Who decides, and one turn of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, TableDefinition};
use sluicegate::clock::{Clock, SystemClock};
use sluicegate::lease;
use sluicegate::lease::Leased;
use sluicegate::memory::Memory;
use sluicegate::outage::{self, Guarded, Policy};
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store};
use sluicegate::timer::TokioTime;
use sluicegate_disk::{Disk, Options};
use sluicegate_redis::{Redis, Settings};
use tokio::task::JoinSet;

use super::plain::Plain;
use crate::error::Error;

/// So large that no take is refused, and so slow that no key is full, and forgotten, within a run.
pub(super) const QUOTA: &str = "100/h burst 100000000";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Take,
    Put,
}

/// Which keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keys {
    /// Ever new ones, from this number on.
    New(u64),
    /// Some of so many, in random order.
    Among(u64),
}

/// A file of redb's, and one commit a decision.
pub(super) struct Bare(Database);

/// As large as the store's keys and records.
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("keys");

/// Who decides.
#[derive(Clone)]
pub(super) enum Subject {
    Redis(Redis),
    Leased(Leased<Guarded<Redis, TokioTime>, TokioTime>),
    Plain(Plain),
    Disk(Disk),
    Memory(Memory),
    Bare(Arc<Bare>),
}

/// What a turn was measured to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Microseconds a decision, of the whole.
    pub(super) micros: f64,
    /// Microseconds a decision of the server's processor time, where there is one.
    pub(super) cpu: f64,
    /// How many decisions were made, and how many of them said yes.
    pub(super) decisions: u64,
    pub(super) granted: u64,
}

impl Subject {
    pub(super) fn redis(url: &str, name: &str) -> Result<Self, Error> {
        open(url, name).map(Self::Redis)
    }

    /// Both upkeeps run as tasks of this runtime.
    pub(super) fn leased(url: &str, name: &str) -> Result<Self, Error> {
        let settings = outage::Settings::new(Policy::Closed).with_timeout(super::PATIENCE);
        let (guarded, guard) = Guarded::new(open(url, name)?, TokioTime::new(), settings);
        let (leased, upkeep) = Leased::new(guarded, TokioTime::new(), lease::Settings::default());
        tokio::spawn(guard.run());
        tokio::spawn(upkeep.run());
        Ok(Self::Leased(leased))
    }

    pub(super) fn disk(file: &Path, is_strict: bool) -> Result<Self, Error> {
        let options = Options::new().patience(super::PATIENCE);
        let options = if is_strict { options.strict() } else { options.write_behind(Duration::from_secs(1)) };
        Ok(Self::Disk(options.open(file).map_err(Error::store("opening the store's file"))?))
    }

    pub(super) fn bare(file: &Path) -> Result<Self, Error> {
        let database = Database::create(file).map_err(Error::store("opening redb's file"))?;
        Ok(Self::Bare(Arc::new(Bare(database))))
    }

    async fn decide(&self, ask: Ask, key: &str, quota: &Quota) -> Result<bool, Error> {
        match self {
            Self::Redis(store) => of(store, ask, key, quota).await,
            Self::Leased(store) => of(store, ask, key, quota).await,
            Self::Disk(store) => of(store, ask, key, quota).await,
            Self::Memory(store) => of(store, ask, key, quota).await,
            Self::Plain(plain) => plain.decide(ask, key).await,
            Self::Bare(bare) => commit(&bare.0, key).map_err(Error::store("committing")),
        }
    }

    /// One task's part: so many decisions, one after the other. How many were granted.
    async fn part(self, ask: Ask, keys: Keys, decisions: u64, seed: u64) -> Result<u64, Error> {
        let quota = QUOTA.parse().map_err(Error::store("the quota"))?;
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut granted = 0;
        for number in 0..decisions {
            let key = match keys {
                Keys::New(from) => from + seed * decisions + number,
                Keys::Among(1) => 0,
                Keys::Among(count) => {
                    // Marsaglia's xorshift.
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    random % count
                }
            };
            granted += u64::from(self.decide(ask, &format!("{key:07}"), &quota).await?);
        }
        Ok(granted)
    }

    /// So many tasks at once, each of which decides so often, one after the other. `seed` is another for each turn.
    pub(super) async fn turn(
        &self,
        (ask, keys): (Ask, Keys),
        tasks: u64,
        decisions: u64,
        seed: u64,
    ) -> Result<Turn, Error> {
        let clock = SystemClock::new();
        let began = clock.now();
        let mut granted = 0;
        if tasks == 1 {
            granted = self.clone().part(ask, keys, decisions, seed).await?;
        } else {
            let mut all = JoinSet::new();
            for task in 0..tasks {
                all.spawn(self.clone().part(ask, keys, decisions, seed * tasks + task));
            }
            while let Some(part) = all.join_next().await {
                granted += part.map_err(Error::store("a task"))??;
            }
        }
        let decisions = decisions * tasks;
        let micros = super::as_f64(clock.now() - began) / 1e3 / super::as_f64(decisions);
        Ok(Turn { micros, cpu: 0.0, decisions, granted })
    }
}

fn open(url: &str, name: &str) -> Result<Redis, Error> {
    let settings = Settings::new(url).and_then(|settings| settings.prefix(name));
    let settings = settings.map_err(Error::store("the store's settings"))?;
    Ok(Redis::open(settings.timeout(super::PATIENCE)))
}

async fn of<S: Store>(store: &S, ask: Ask, key: &str, quota: &Quota) -> Result<bool, Error> {
    let charge = Charge::new("limit", key.as_bytes(), quota);
    match ask {
        Ask::Take => store.take(&[charge]).await.map(|verdict| verdict.is_granted()),
        Ask::Put => store.put(charge).await.map(|n| n == 1),
    }
    .map_err(Error::store("a decision"))
}

fn commit(database: &Database, key: &str) -> Result<bool, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        let mut id = [0; 20];
        id[..key.len()].copy_from_slice(key.as_bytes());
        table.insert(&id[..], &[7; 57][..])?;
    }
    transaction.commit()?;
    Ok(true)
}
