//! The limits' buckets where they are not in this process: a store, behind a guard for when it is away, and leases for limits
//! that want them.
//!
//! Each call of it is bounded by the guard's timeout. A request waits for one, as a rule: for one more where a lease is just being
//! fetched, and for up to two for each key that owes something of an outage and that nobody has paid for yet. What
//! goes on by itself (fetching and giving back leases, paying what was granted in an outage, charging bytes, telling of
//! outages) are tasks of the runtime that the gateway was started in, looked after by a steward. They end with the last request that came
//! under the store.

use std::sync::Arc;
use std::time::Duration;

use sluicegate::breaker::Standing;
use sluicegate::cancel::CancelToken;
use sluicegate::clock::nanos;
use sluicegate::failure::FailureOf;
use sluicegate::lease::{self, Leased};
use sluicegate::outage::{self, Guarded, OutageCounts};
use sluicegate::store::{Store, StoreError};
use sluicegate::supervise::Chore;
use sluicegate::timer::{Timer, TokioTime};
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::Level;

use super::ledger::Ledger;
use super::tasks::{Counts, HANG, Stewards, Task, Tasks};
use crate::config::SettingsError;
use crate::config::settings::{Settings, StoreSettings};
use crate::config::store::LEASE;
use crate::stores::{AnyStore, OpenError, StoreAddress, open};

/// What decides.
pub type Backing = Leased<Guard, TokioTime>;

/// The store, answered for while it is away.
pub type Guard = Guarded<AnyStore, TokioTime>;

/// How often it is looked whether the store has gone or is back, to tell of it.
const LOOK: Duration = Duration::from_millis(500);

/// How many causes are told of one outage, at the most.
const CAUSES: usize = 8;

/// A store that limits are decided in.
#[derive(Debug)]
pub struct Remote {
    /// As an operator set it.
    pub settings: StoreSettings,
    store: AnyStore,
    backing: Backing,
    ledger: Ledger,
    telling: Ends,
}

/// Ends what tells of the store, when dropped.
#[derive(Debug)]
struct Ends(CancelToken);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Remote {
    /// The store that these settings name; none where limits are in this process. One that is in use `before` goes on as it is if
    /// nothing of it has changed, and its connection or file if its address has not. What goes on by itself has a steward
    /// of its own, which is given to `stewards`.
    ///
    /// A store across a network is not asked here: it may be away.
    ///
    /// # Errors
    /// If it can't be opened, such as a file that is in use, or can't hold to a limit's quota.
    pub fn open(
        settings: &Settings,
        before: Option<&Arc<Self>>,
        time: TokioTime,
        counts: &Arc<Counts>,
        stewards: &mut Stewards,
    ) -> Result<Option<Arc<Self>>, SettingsError> {
        let wanted = &settings.store;
        if wanted.is_here() {
            return Ok(None);
        }
        if let Some(before) = before.filter(|before| before.settings == *wanted) {
            return match unsupported(settings, &before.store).into_iter().next() {
                None => Ok(Some(Arc::clone(before))),
                Some(wrong) => Err(wrong),
            };
        }
        let same = before.filter(|before| before.settings.address == wanted.address);
        let store = match same {
            Some(before) => before.store.clone(),
            None => {
                is_another(&wanted.address, before)?;
                open(&wanted.address).map_err(|error| unopened(&wanted.address, &error))?
            }
        };
        if let Some(wrong) = unsupported(settings, &store).into_iter().next() {
            return Err(wrong);
        }
        let guarding = outage::Settings::new(wanted.away)
            .with_timeout(wanted.waits())
            .with_instances(u64::try_from(wanted.instances).unwrap_or(u64::MAX))
            .with_max_keys(wanted.max_keys);
        let (guard, upkeep) = Guarded::new(store.clone(), time, guarding);
        let part = format_args!("store {}", wanted.address).to_string();
        let mut steward = counts.steward(Task::Guard, part, time);
        // No piece of work has more than some calls of the store behind one another.
        let limit = HANG + wanted.waits() * 8;
        steward.keep_watched(Task::Guard.name(), limit, upkeep);
        let leasing = lease::Settings::default()
            .with_lifetime(wanted.lease.unwrap_or(LEASE))
            .with_max_keys(wanted.max_keys);
        let (backing, upkeep) = Leased::new(guard.clone(), time, leasing);
        steward.keep_watched(Task::Leases.name(), limit, upkeep);
        let (ledger, settling) = Ledger::new(wanted.max_keys, backing.clone(), time);
        steward.keep_watched(Task::Ledger.name(), limit, settling);
        let end = CancelToken::new(time);
        let telling = Telling {
            guard,
            address: wanted.address.clone(),
            time,
            counts: Arc::clone(counts),
            end: end.clone(),
        };
        steward.keep_watched(Task::Tell.name(), limit, telling);
        stewards.run(steward);
        let telling = Ends(end);
        Ok(Some(Arc::new(Self { settings: wanted.clone(), store, backing, ledger, telling })))
    }

    /// Which of its limits have leases, and what is answered for which while it is away.
    pub fn commit(&self, settings: &Settings) {
        let spaces: Vec<_> = settings.limits.iter().map(|limit| (limit.space(), limit)).collect();
        let policies = spaces.iter().map(|(space, limit)| (space.as_str(), settings.store.policy(limit)));
        self.guard().set_policies(settings.store.away, policies);
        let leased = spaces.iter().filter(|(_, limit)| settings.store.has_leases(limit));
        self.backing.lease_only(leased.map(|(space, _)| space.as_str()));
    }

    /// What decides.
    pub const fn backing(&self) -> &Backing {
        &self.backing
    }

    /// The store itself.
    pub const fn store(&self) -> &AnyStore {
        &self.store
    }

    /// The store behind its guard.
    pub fn guard(&self) -> &Guard {
        self.backing.store()
    }

    /// What charges bytes.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Charges what is not charged yet, gives back what is held, and ends. Takes as long as the store does: it is for the caller to
    /// bound.
    ///
    /// Cancel-safe: what is left then is lost until it has flowed back, or not charged.
    pub async fn close(&self) {
        self.telling.0.cancel();
        self.ledger.close().await;
        self.backing.close().await;
        self.guard().close().await;
        if let Err(error) = self.store.close().await {
            tracing::error!("the store {} did not end well: {error}", self.settings.address);
        }
    }
}

/// A file can't be open twice, so it can't be opened otherwise while it is.
fn is_another(wanted: &StoreAddress, before: Option<&Arc<Remote>>) -> Result<(), SettingsError> {
    let had = before.map(|before| &before.settings.address);
    match (wanted, had) {
        (StoreAddress::Disk(one), Some(had @ StoreAddress::Disk(other))) if one.file() == other.file() => {
            let expected = format!("{had}: how a file is used changes only with a restart");
            Err(SettingsError::new("store", wanted, expected))
        }
        _ => Ok(()),
    }
}

/// A store that can't be opened is a setting that can't be.
fn unopened(address: &StoreAddress, error: &OpenError) -> SettingsError {
    SettingsError::new("store", address, format!("a store that can be opened: {error}"))
}

/// All that a store can't do of what these settings ask. It is not asked, and no file of buckets is opened.
#[must_use]
pub fn mistakes(settings: &Settings) -> Vec<SettingsError> {
    let StoreAddress::Redis(_) = settings.store.address else { return Vec::new() };
    // What drives it needs a runtime, and does nothing yet.
    let runtime = match Handle::try_current() {
        Ok(_) => None,
        Err(_) => Builder::new_current_thread().enable_all().build().ok(),
    };
    let _inside = runtime.as_ref().map(Runtime::enter);
    let store = match open(&settings.store.address) {
        Ok(store) => store,
        Err(error) => return vec![unopened(&settings.store.address, &error)],
    };
    unsupported(settings, &store)
}

fn unsupported(settings: &Settings, store: &AnyStore) -> Vec<SettingsError> {
    let wrong = settings.limits.iter().filter_map(|limit| {
        let quota = &limit.rule.quota;
        let StoreError::Unsupported { field, value, expected } = store.supports(quota).err()? else {
            return None;
        };
        let setting = format!("limit.{}.quota", limit.name);
        let expected = format!("{field} of {expected}, which this store can hold to, and not {value}");
        Some(SettingsError::new(setting, limit.rule.cost.quota_text(quota), expected))
    });
    wrong.collect()
}

/// Tells when the store is away, and when it is back; first of all whether it is there.
#[derive(Clone)]
struct Telling {
    guard: Guard,
    address: StoreAddress,
    time: TokioTime,
    counts: Arc<Counts>,
    end: CancelToken,
}

impl Chore for Telling {
    fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        let Self { guard, address, time, counts, end } = self.clone();
        async move {
            // Why it ends is of no interest.
            let _ = end.run(tell(guard, address, time, counts)).await;
        }
    }

    fn finish(&self) {
        self.end.cancel();
    }
}

async fn tell(guard: Guard, address: StoreAddress, time: TokioTime, counts: Arc<Counts>) {
    // What was told of this outage.
    let mut causes = Vec::new();
    match guard.ping().await {
        Ok(()) => tracing::info!("limits are decided in {address}"),
        Err(error) => {
            // Somebody may have asked before, and know more.
            let error = guard.why().unwrap_or(error);
            tracing::warn!(
                "the store {address} is away: {error}; until it is there, limits are decided by what they say for that \
                 (`away`)"
            );
            causes.push(error.to_string());
        }
    }
    let mut told = guard.counts();
    let mut restarts = 0;
    loop {
        time.sleep_for(nanos(LOOK)).await;
        counts.point(Task::Tell);
        if let AnyStore::Redis(redis) = guard.store()
            && redis.restarts() != restarts
        {
            restarts = redis.restarts();
            let failure =
                FailureOf::<Tasks>::bug("the task that asks a store has panicked and was started again");
            failure.with("store", &address).with("restarts", restarts).log(Level::WARN);
        }
        let OutageCounts { opened, recovered, .. } = guard.counts();
        if guard.standing() != Standing::Closed {
            if opened != told.opened {
                causes.clear();
            }
            let cause = guard.why().map_or_else(|| "it gives no answer".to_owned(), |why| why.to_string());
            // Each once: it may be refused now by one that came back with another password.
            if opened != told.opened || (causes.len() < CAUSES && !causes.contains(&cause)) {
                tracing::warn!(
                    "the store {address} is away: {cause}; limits are decided by what they say for that (`away`)"
                );
                causes.push(cause);
            }
        } else if recovered != told.recovered {
            tracing::info!("the store {address} is back");
        }
        (told.opened, told.recovered) = (opened, recovered);
    }
}
