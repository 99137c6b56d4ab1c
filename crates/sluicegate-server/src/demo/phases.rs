//! What the demo does: each load, first straight at the service, then through the gateway.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Serialize;

use super::DemoError;
use super::upstream::Upstream;
use crate::config::Settings;
use crate::config::settings::{DEFAULT, LimitSettings};
use crate::gateway::Gateway;
use crate::load::{self, Plan, PlanError, Progress, Rate, Report};

/// Requests the service works on at once.
pub(super) const SLOTS: usize = 20;
/// How long it works on each.
pub(super) const SERVICE: Duration = Duration::from_millis(100);
/// What it can do: 20 slots of 100 ms are 200 requests a second.
pub(super) const CAPACITY: f64 = 200.0;
/// The loads, in capacities: half of it, twice, ten times.
pub(super) const FACTORS: [f64; 3] = [0.5, 2.0, 10.0];
/// After this an answer is of no use to its client.
pub(super) const DEADLINE: Duration = Duration::from_millis(500);
/// After this a client leaves: people wait longer than an answer is worth, and much longer tells nothing new.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// For this long before each phase its load is offered without being counted. An overloaded service still answers
/// the first few in time, until its line is as long as the deadline; how much those weigh would depend on
/// nothing but the length of the phase.
pub(super) const WARM_UP: Duration = Duration::from_secs(1);

/// The gateway's queue. Whoever is last in it waits 30 / 200 s = 150 ms for a slot and 100 ms for the answer: 250
/// of the 500 ms. The other half is for what the gateway can't see: how long a request was on its way before it was read, which on a busy
/// machine is much. A longer queue would answer nobody more in time, because the slots are busy anyway; it would only make
/// everybody wait longer. A much shorter one might leave slots idle between two arrivals.
const QUEUE: usize = 30;
/// How long one waits in it at the most: as long as it takes to serve as many, and a bit, since slots don't turn over evenly. Should the
/// service be slower than it is said to be, nobody waits the longer for it, and is served when that is of no use.
pub(super) const QUEUE_WAIT: Duration = Duration::from_millis(200);
/// One quota over all clients, in the in-memory store: twice the capacity. What goes beyond is turned away with
/// 429 before it reaches the queue; what passes is more than enough to keep the queue full, which turns away the
/// rest with 503. A flood thus costs the gateway next to nothing.
const LIMIT: &str = "global 400/s burst 100";
/// How long the gateway may finish what is in flight when a phase is over; nothing should be.
const GRACE: Duration = Duration::from_secs(1);

/// Which way the load takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Path {
    /// Straight at the service.
    Straight,
    /// Through the gateway in front of it.
    Gateway,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Straight => "straight",
            Self::Gateway => "through sluicegate",
        })
    }
}

/// One load on one way, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Phase {
    /// The load, in capacities of the service.
    pub(super) factor: f64,
    pub(super) path: Path,
    pub(super) report: Report,
}

/// Every phase, in order.
pub(super) fn all() -> impl Iterator<Item = (Path, f64)> {
    [Path::Straight, Path::Gateway].into_iter().flat_map(|path| FACTORS.map(|factor| (path, factor)))
}

/// The service, with or without the gateway. Each phase has its own, so that none pays for the one before.
pub(super) struct Stage {
    pub(super) upstream: Upstream,
    pub(super) gateway: Option<Gateway>,
}

impl Stage {
    /// Starts the service and what stands before it on `path`.
    pub(super) fn set_up(path: Path) -> Result<Self, DemoError> {
        let upstream = Upstream::start(SLOTS, SERVICE).map_err(|source| DemoError::Upstream { source })?;
        let gateway = match path {
            Path::Straight => None,
            Path::Gateway => Some(Gateway::start(settings(upstream.address())?)?),
        };
        Ok(Self { upstream, gateway })
    }

    /// Where the load goes.
    pub(super) fn address(&self) -> SocketAddr {
        self.gateway.as_ref().map_or_else(|| self.upstream.address(), Gateway::address)
    }

    /// Offers `factor` capacities for `duration` over at most `connections` connections.
    pub(super) async fn offer(
        &self,
        factor: f64,
        duration: Duration,
        connections: NonZeroUsize,
        progress: impl Fn(&Progress),
    ) -> Result<Report, DemoError> {
        let plan = plan(self.address(), factor, duration)?.connections(connections);
        Ok(load::run(plan, progress).await?)
    }

    /// Stops everything and returns when it has stopped.
    pub(super) async fn tear_down(self) {
        if let Some(gateway) = self.gateway {
            // Who is cut off here has nobody waiting: the load is over.
            let _ = gateway.drain(GRACE).await;
        }
        self.upstream.stop().await;
    }
}

/// Whether every phase can be counted for `duration`.
pub(super) fn check(duration: Duration) -> Result<(), PlanError> {
    // Where to makes no difference.
    let somewhere = SocketAddr::from(([127, 0, 0, 1], 80));
    FACTORS.into_iter().try_for_each(|factor| plan(somewhere, factor, duration).map(drop))
}

fn plan(address: SocketAddr, factor: f64, duration: Duration) -> Result<Plan, PlanError> {
    let target = format!("http://{address}/").parse()?;
    Plan::new(target, Rate::per_second(factor * CAPACITY)?, duration)?
        .warm_up(WARM_UP)?
        .limits(DEADLINE, Some(PATIENCE))
}

fn settings(upstream: SocketAddr) -> Result<Settings, DemoError> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = Settings { admin: Some(any_port), ..Settings::default() };
    settings.listeners[0].address = any_port;
    settings.upstreams[0].url =
        format!("http://{upstream}/").parse().map_err(|source| DemoError::Address { source })?;
    let limit = LimitSettings::new(DEFAULT.to_owned(), LIMIT.parse()?);
    settings.limits.push(limit);
    // As many as the service has slots: more would only move the line to where nobody bounds it.
    settings.queues[0].concurrency = SLOTS.into();
    settings.queues[0].waiting = QUEUE;
    settings.queues[0].wait = Some(QUEUE_WAIT);
    settings.routes[0].limits.push(DEFAULT.to_owned());
    settings.routes[0].deadline = DEADLINE;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_cannot_be_is_wrong_usage() {
        let refused = DemoError::from(check(Duration::ZERO).unwrap_err());
        assert!(refused.is_usage() && refused.to_string().starts_with("for: "), "{refused}");
        assert!(check(Plan::MAX_DURATION).is_ok());
    }

    #[test]
    fn the_numbers_of_the_demo_belong_together() {
        assert!((SLOTS as f64 / SERVICE.as_secs_f64() - CAPACITY).abs() < 1e-9);
        let last_in_queue = Duration::from_secs_f64(QUEUE as f64 / CAPACITY) + SERVICE;
        assert!(
            last_in_queue < QUEUE_WAIT + SERVICE && QUEUE_WAIT + SERVICE < DEADLINE && DEADLINE < PATIENCE
        );
        let smallest_overload = FACTORS.into_iter().find(|factor| *factor > 1.0).unwrap_or(f64::MAX);
        let line_as_long_as_the_deadline = DEADLINE.as_secs_f64() / (smallest_overload - 1.0);
        assert!(line_as_long_as_the_deadline < WARM_UP.as_secs_f64(), "steady before it is counted");
        assert_eq!(all().count(), 6);
    }
}
