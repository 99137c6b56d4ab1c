//! The gateway: what stands in front of a service and keeps it standing. Built from nothing but the library.
//!
//! | module | holds |
//! | --- | --- |
//! | [`tasks`] | what goes on by itself, and who looks after it |
//! | [`metrics`] | what is counted |
//! | [`activity`] | what a client connection waits for, and since when |
//! | [`socket`] | a client's socket, plain or in TLS |
//! | [`tls`] | certificates and keys |
//! | [`body`] | bodies on their way, with what they hold |
//! | [`relay`] | a waker that leaves out what a task tells itself |
//! | [`upstream`] | connections to the service, kept alive |
//! | [`headers`] | what is stripped and added between client and service |
//! | [`places`] | who asks for a place at an upstream, and what is learned from what came of it |
//! | [`plan`] | what a configuration says, ready to serve |
//! | [`tunnel`] | a connection that has changed protocols |
//! | [`limits`] | which limits a request meets |
//! | [`store`] | where the limits are if not in this process |
//! | [`ledger`] | what bodies cost, charged there |
//! | [`meter`] | what bodies cost |
//! | [`counted`] | a socket whose bytes are counted |
//! | [`refusal`] | a request that is not served: one typed value, rendered once |
//! | [`wellformed`] | what a request must be to be passed on |
//! | [`request`] | the way of a request up to its route |
//! | [`stack`] | the layers of a route, in order |
//! | [`choice`] | which of its upstreams a route's request goes to |
//! | [`attempts`] | requests that may go to one of several, or more than once |
//! | [`forward`] | to the upstream, behind all layers |
//! | [`connection`] | one client connection and its timeouts |
//! | [`workers`] | the threads that serve |
//! | [`listener`] | sockets, the accept loop and draining |
//! | [`listing`] | where the limits stand, and who asks most |
//! | [`admin`] | health, readiness, metrics and limits over HTTP |

pub mod activity;
pub mod admin;
pub mod attempts;
pub mod body;
pub mod choice;
pub mod connection;
pub mod counted;
mod course;
pub mod forward;
pub mod headers;
pub mod hold;
pub mod lateness;
pub mod ledger;
pub mod limits;
pub mod listener;
pub mod listing;
pub mod meter;
pub mod metrics;
pub mod places;
pub mod plan;
pub mod refusal;
pub mod relay;
pub mod request;
pub mod said;
pub mod socket;
pub mod stack;
pub mod store;
pub mod tasks;
pub mod tls;
pub mod tunnel;
pub mod upstream;
pub mod wellformed;
pub mod workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::select_all;
use sluicegate::cancel::CancelToken;
use sluicegate::clock::{Clock, nanos};
use sluicegate::timer::TokioTime;
use tokio::task::JoinSet;

pub use listener::Unfinished;

use crate::config::settings::ListenerSettings;
use crate::config::{Settings, SettingsError};
use admin::Admin;
use listener::{Bound, Listener, Sweep};
use metrics::count;
use plan::Plan;
use request::Shared;
use store::Remote;
use tasks::{Counts, GRACE, HANG, Stewards, Task};
use workers::Workers;

/// How long a store may take at the end, beyond the grace time: for what is held of it, and what it is owed.
const CLOSING: Duration = Duration::from_secs(2);

/// Why a gateway can't start, or not change its configuration.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting that can't be.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A certificate or key that can't be read.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// An address that can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system gives no threads to serve with.
    #[error("can't start a thread to serve with: {0}")]
    Thread(#[source] std::io::Error),
}

/// A running gateway. Dropping it ends it at once; [`drain`](Self::drain) ends it well.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    admin: Option<Admin>,
    /// What is left of listeners that a change of the configuration has ended.
    leaving: JoinSet<Result<(), Unfinished>>,
    /// Cuts what is left of them, at once.
    cuts: Vec<CancelToken>,
    /// What is done now and then; ends with this.
    sweeping: Stewards,
    /// What stores do by themselves: this one's, and those that were before it.
    keeping: Stewards,
    /// Last, so that what runs on them is asked to end before they are.
    workers: Workers,
}

impl Gateway {
    /// Listens on the tokio runtime this is called in, and serves on threads of its own.
    ///
    /// # Errors
    /// If a setting is wrong, or an address can't be listened on. Nothing is left running then.
    pub fn start(settings: Settings) -> Result<Self, ServeError> {
        let settings = settings.checked()?;
        let bound = settings.listeners.iter().cloned().map(Bound::new).collect::<Result<Vec<_>, _>>()?;
        let admin = settings.admin.map(admin::Bound::new).transpose()?;
        let workers = Workers::start(settings.workers).map_err(ServeError::Thread)?;
        let time = TokioTime::new();
        let (counts, mut keeping) = (Arc::<Counts>::default(), Stewards::default());
        let store = Remote::open(&settings, None, time, &counts, &mut keeping)?;
        let plan = Plan::new(settings, store, None, time, workers.len()).map_err(unchecked)?;
        if let Some(store) = &plan.store {
            store.commit(&plan.settings);
        }
        let mut shared = Shared::new(plan, time);
        shared.metrics.tasks = Arc::clone(&counts);
        let shared = Arc::new(shared);
        let listeners = bound.into_iter().map(|bound| bound.serve(&shared, &workers)).collect();
        let admin = admin.map(|bound| bound.serve(&shared));
        let mut sweeping = Stewards::default();
        let mut steward = counts.steward(Task::Sweep, "gateway", time);
        steward.keep_watched(Task::Sweep.name(), HANG, Sweep::new(&shared));
        sweeping.run(steward);
        let (leaving, cuts) = (JoinSet::new(), Vec::new());
        Ok(Self { shared, listeners, admin, leaving, cuts, sweeping, keeping, workers })
    }

    /// Changes the configuration while it serves. All of it is prepared before any of it holds; then requests that come
    /// are served by the new one, and those on their way by the one they came under. Limits keep every key's tokens, and
    /// queues who waits, by their names; listeners that are no more are drained.
    ///
    /// # Errors
    /// What is wrong; then nothing has changed.
    pub fn change(&mut self, settings: Settings) -> Result<(), ServeError> {
        let outcome = self.try_change(settings);
        let metrics = &self.shared.metrics;
        count(if outcome.is_ok() { &metrics.reloads } else { &metrics.reloads_failed });
        metrics.reload_is_bad.store(outcome.is_err(), Ordering::Relaxed);
        outcome
    }

    /// A configuration that could not even be read.
    pub fn change_failed(&self) {
        count(&self.shared.metrics.reloads_failed);
        self.shared.metrics.reload_is_bad.store(true, Ordering::Relaxed);
    }

    fn try_change(&mut self, settings: Settings) -> Result<(), ServeError> {
        let settings = settings.checked()?;
        let before = self.shared.plan.load_full();
        if settings.workers != before.settings.workers {
            let expected = format!("{}: it changes only with a restart", before.settings.workers);
            return Err(SettingsError::new("workers", settings.workers, expected).into());
        }
        // All that can fail, first. Which of the listeners goes on, as what, and which are new.
        let mut goes_on: Vec<Option<(ListenerSettings, _)>> = self.listeners.iter().map(|_| None).collect();
        let mut bound = Vec::new();
        for wanted in &settings.listeners {
            let same =
                |at: &usize| goes_on[*at].is_none() && self.listeners[*at].settings.address == wanted.address;
            match (0..self.listeners.len()).find(same) {
                Some(at) => {
                    let tls = wanted.tls.as_ref().map(tls::load).transpose()?;
                    goes_on[at] = Some((wanted.clone(), tls));
                }
                None => bound.push(Bound::new(wanted.clone())?),
            }
        }
        let same_admin = settings.admin == before.settings.admin;
        let admin = settings.admin.filter(|_| !same_admin).map(admin::Bound::new).transpose()?;
        let time = self.shared.time;
        let (grace, places) = (settings.grace, settings.clients.max_connections);
        let counts = &self.shared.metrics.tasks;
        let store = Remote::open(&settings, before.store.as_ref(), time, counts, &mut self.keeping)?;
        let plan = Plan::new(settings, store, Some(&before), time, self.workers.len()).map_err(unchecked)?;
        // From here nothing fails.
        let plan = Arc::new(plan);
        self.shared.plan.store(Arc::clone(&plan));
        plan.commit(&before);
        self.shared.connections.resize(places, usize::MAX);
        while self.leaving.try_join_next().is_some() {}
        if self.leaving.is_empty() {
            self.cuts.clear();
        }
        let mut listeners = Vec::new();
        for (mut listener, goes_on) in self.listeners.drain(..).zip(goes_on) {
            if let Some((settings, tls)) = goes_on {
                listener.show(settings, tls);
                listeners.push(listener);
                continue;
            }
            self.cuts.push(listener.cut().clone());
            self.leaving.spawn(async move {
                let drained = listener.drain(grace).await;
                if let Err(unfinished) = &drained {
                    tracing::warn!("of a listener that is no more: {unfinished}");
                }
                drained
            });
        }
        listeners.extend(bound.into_iter().map(|bound| bound.serve(&self.shared, &self.workers)));
        self.listeners = listeners;
        if !same_admin {
            self.admin = admin.map(|bound| bound.serve(&self.shared));
        }
        Ok(())
    }

    /// Where its first listener serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listeners[0].address()
    }

    /// Where it serves, and whether in TLS. A port is the one that the operating system chose, if it was asked to.
    pub fn addresses(&self) -> impl Iterator<Item = (SocketAddr, bool)> {
        self.listeners.iter().map(|listener| (listener.address(), listener.settings.tls.is_some()))
    }

    /// Where it serves its health and metrics, if it does.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// What has become of its own tasks.
    #[must_use]
    pub fn tasks(&self) -> &Arc<Counts> {
        &self.shared.metrics.tasks
    }

    /// Resolves if something ends by itself that the gateway can't do without, which is a bug, and says what. Cancel-safe.
    pub async fn ended(&mut self) -> Broken {
        let addresses: Vec<_> = self.listeners.iter().map(Listener::address).collect();
        let listeners = self.listeners.iter_mut().map(|listener| Box::pin(listener.ended()));
        tokio::select! {
            ((), at, _) = select_all(listeners) => Broken::Listener(addresses[at]),
            () = self.workers.one_ended() => Broken::Worker,
            () = self.sweeping.one_broken() => Broken::Steward,
            () = self.keeping.one_broken() => Broken::Steward,
        }
    }

    /// Stops accepting, finishes what is in flight, and ends. Who is connected and silent is told to close with its
    /// next answer, or closed after half a second. What is not finished within `grace` is cut.
    ///
    /// # Errors
    /// How many connections were cut.
    pub async fn drain(self, grace: Duration) -> Result<(), Unfinished> {
        // The admin side answers "not ready" until the end.
        let Self { shared, listeners, admin, mut leaving, cuts, mut sweeping, mut keeping, workers } = self;
        shared.draining.store(true, Ordering::Relaxed);
        // What was over before is not of this drain.
        while leaving.try_join_next().is_some() {}
        for listener in listeners {
            leaving.spawn(listener.drain(grace));
        }
        // Those that were left before by a change of the configuration may have been given longer.
        let until = CancelToken::expiring(shared.time, shared.time.now().saturating_add(nanos(grace)));
        let mut unfinished = Vec::new();
        while !leaving.is_empty() {
            match until.run(leaving.join_next()).await {
                Ok(ended) => unfinished.extend(ended.and_then(Result::ok).and_then(Result::err)),
                Err(_) => break,
            }
        }
        cuts.iter().for_each(CancelToken::cancel);
        while let Some(ended) = leaving.join_next().await {
            unfinished.extend(ended.ok().and_then(Result::err));
        }
        // Whatever still holds tokens gives them back.
        sweeping.shut_down().await;
        let left = workers.end(&in_a_while(&shared, GRACE)).await;
        if left > 0 {
            tracing::error!("{left} threads are blocked and can't be stopped: they end with the process");
        }
        let store = shared.plan.load().store.clone();
        let ended = async {
            if let Some(store) = store {
                store.close().await;
            }
            keeping.ended().await;
        };
        if in_a_while(&shared, CLOSING).run(ended).await.is_err() {
            tracing::warn!(
                "the store has not taken back what was held within {CLOSING:?}: it flows back by itself"
            );
            keeping.shut_down().await;
        }
        if let Some(admin) = admin {
            admin.end().await;
        }
        match unfinished.is_empty() {
            true => Ok(()),
            false => Err(Unfinished { connections: unfinished.iter().map(|one| one.connections).sum() }),
        }
    }
}

/// What has ended that was never to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Nobody accepts connections there any more: it failed too often.
    #[error("the accept loop at {0} has ended, or failed too often, which is a bug")]
    Listener(SocketAddr),
    /// A thread that serves.
    #[error("a thread that serves has ended, which is a bug")]
    Worker,
    /// Who looks after other tasks.
    #[error("a steward has ended, which is a bug")]
    Steward,
}

fn in_a_while(shared: &Shared, span: Duration) -> CancelToken {
    CancelToken::expiring(shared.time, shared.time.now().saturating_add(nanos(span)))
}

/// What a check of the settings finds before.
fn unchecked(error: limits::RouteLimitsError) -> ServeError {
    SettingsError::new("route", error, "limits with names, each once").into()
}
