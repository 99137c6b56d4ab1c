//! Where limits and queues stand, for an operator: who it is, and what waits.

use std::collections::BTreeMap;

use serde::Serialize;
use sluicegate::clock::{Clock, nanos};
use sluicegate::concurrency::{Change, Window};
use sluicegate::permits::{Partition, Standing};

use super::limits::Limit;
use super::metrics::Reason;
use super::places::Places;
use super::request::Shared;
use crate::config::queue::Concurrency;
use crate::config::settings::Share;

/// How many keys of a limit are told, the heaviest.
pub const HEAVIEST: usize = 20;

/// All limits and queues, in the order of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// What requests are counted by.
    pub limits: Vec<Listed>,
    /// What they wait in.
    pub queues: Vec<ListedQueue>,
}

/// A queue, and the places behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedQueue {
    /// Its name.
    pub name: String,
    /// How many places there are; none where there is no bound.
    pub limit: Option<usize>,
    /// How that was changed last, where it is found out; none until it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
    /// How many requests are at the upstream.
    pub in_flight: usize,
    /// How many wait.
    pub waiting: usize,
    /// How many may; in all lines together, where routes with a share have their own.
    pub room: usize,
    /// Whether the line stands, so that some are shed.
    pub overloaded: bool,
    /// By what the number of places was judged last, where it is found out; none until there were enough samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<ListedWindow>,
    /// The parts of the places that are kept for routes; none where all are for whoever comes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<ListedShare>,
    /// What nine of ten requests took no longer than, lately, in milliseconds: from when they had their place and all of their body was
    /// here until their answer began. Zero until there was one.
    pub usual_service_ms: u64,
    /// How long who has a place has waited for it, at half of all requests and at 99 of a hundred, in milliseconds; none before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<[u64; 2]>,
    /// How many were turned away, by the reason; of those reasons that there were.
    pub refused: BTreeMap<&'static str, u64>,
}

/// A change of a number of places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// What it was.
    pub from: u32,
    /// What it is.
    pub to: u32,
    /// Why, as it is counted.
    pub why: String,
    /// The same in words.
    pub because: &'static str,
    /// How many changes there were.
    pub changes: u64,
}

/// Requests that began one after the other, and what became of them: the samples that a number of places is judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedWindow {
    /// How many places there were.
    pub limit: u32,
    /// How much of them was used on the average, of a hundred.
    pub used_percent: u64,
    /// How many requests began.
    pub begun: u64,
    /// How many asked in vain for a place meanwhile.
    pub kept_out: u64,
    /// How many were answered.
    pub good: u64,
    /// How many came to nothing, since the upstream has too much to do.
    pub dropped: u64,
    /// Of how many nothing is known but that they took so long.
    pub cancelled: u64,
    /// How long an answer took to its end on the average, in microseconds; none without one.
    pub took_us: Option<u64>,
}

/// A part of the places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedShare {
    /// The route it is kept for; none is all that have none.
    pub route: Option<String>,
    /// How many places are kept.
    pub kept: usize,
    /// How many it has.
    pub in_flight: usize,
    /// How many of its requests wait.
    pub waiting: usize,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What makes up its keys.
    pub by: String,
    /// What it counts.
    pub cost: String,
    /// The quota of each key.
    pub quota: String,
    /// How many keys have a bucket of their own. Of limits in a store that is not known, nor what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<usize>,
    /// How many may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_keys: Option<usize>,
    /// How many decisions were made on the bucket that the others share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflowed: Option<u64>,
    /// The keys that are asked for most, whether granted or refused, the heaviest first.
    pub heaviest: Vec<HeavyKey>,
}

/// A key, and how often it was asked for in the last minutes: estimates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeavyKey {
    /// What it is called. Of values of fields it shows only a fingerprint.
    pub key: String,
    /// So many requests at most.
    pub at_most: u64,
    /// So many at least.
    pub at_least: u64,
}

impl Listing {
    /// As of now.
    #[must_use]
    pub fn of(shared: &Shared) -> Self {
        let (plan, now) = (shared.plan.load(), shared.time.now());
        Self {
            limits: plan.limits.iter().map(|limit| Listed::of(limit, plan.store.is_none(), now)).collect(),
            queues: plan.queues.iter().map(ListedQueue::of).collect(),
        }
    }
}

impl ListedQueue {
    fn of(Places { settings, permits, shares, .. }: &Places) -> Self {
        let standing = permits.standing();
        let is_found_out = matches!(settings.concurrency, Concurrency::Adaptive(_));
        let millis = |nanos: u64| nanos.div_ceil(1_000_000);
        let waits = &standing.waits;
        let mut refused = BTreeMap::new();
        for (why, count) in standing.refused.iter().filter(|(_, count)| *count > 0) {
            *refused.entry(Reason::of_queue(why).name()).or_default() += count;
        }
        let change = |Change { from, to, why }| Changed {
            from,
            to,
            why: why.to_string(),
            because: why.in_words(),
            changes: standing.changes.all(),
        };
        Self {
            name: settings.name.clone(),
            limit: settings.concurrency.most().map(|_| standing.limit),
            changed: standing.change.map(change),
            window: standing.window.as_ref().filter(|_| is_found_out).map(ListedWindow::of),
            shares: of_shares(shares, &standing),
            in_flight: standing.in_flight,
            waiting: standing.waiting,
            // Each has a line of its own.
            room: settings.waiting.saturating_mul(standing.partitions.len().max(1)),
            overloaded: standing.is_overloaded,
            usual_service_ms: millis(nanos(standing.usual_service)),
            waited_ms: waits
                .quantile(0.5)
                .zip(waits.quantile(0.99))
                .map(|(p50, p99)| [millis(p50), millis(p99)]),
            refused,
        }
    }
}

impl ListedWindow {
    fn of(window: &Window) -> Self {
        Self {
            limit: window.limit(),
            used_percent: whole(window.used() * 100.0),
            begun: window.begun(),
            kept_out: window.refused(),
            good: window.good(),
            dropped: window.dropped(),
            cancelled: window.cancelled(),
            took_us: window.took().map(|nanos| whole(nanos / 1000.0)),
        }
    }
}

/// Each route with a share, by name, and then all others. While a configuration changes, there may be more of one than of the other.
fn of_shares(shares: &[(String, Share)], standing: &Standing) -> Vec<ListedShare> {
    if shares.is_empty() {
        return Vec::new();
    }
    let routes = shares.iter().map(|(route, _)| Some(route.clone())).chain([None]);
    let listed = |(route, Partition { guarantee, in_flight, waiting, .. }): (_, &Partition)| ListedShare {
        route,
        kept: *guarantee,
        in_flight: *in_flight,
        waiting: *waiting,
    };
    routes.zip(&standing.partitions).map(listed).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and what isn't a number is 0"
)]
const fn whole(number: f64) -> u64 {
    number.round() as u64
}

impl Listed {
    fn of(Limit { settings, keys, .. }: &Limit, is_here: bool, now: u64) -> Self {
        let heaviest = keys.heaviest(now).into_iter().map(|heavy| HeavyKey {
            key: heavy.key.to_string(),
            at_most: heavy.at_most,
            at_least: heavy.at_least,
        });
        let rule = &settings.rule;
        Self {
            name: settings.name.clone(),
            by: rule.key.to_string(),
            cost: rule.cost.to_string(),
            quota: rule.cost.quota_text(&rule.quota),
            keys: is_here.then(|| keys.keys()),
            max_keys: is_here.then_some(settings.max_keys),
            overflowed: is_here.then(|| keys.overflowed()),
            heaviest: heaviest.collect(),
        }
    }
}
