//! What came of a load, as numbers: the machine-readable face. `text` is the human one.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::connections::Connections;
use super::failure::FailureKind;
use super::plan::Plan;
use super::record::Record;
use super::schedule::Arrivals;

/// What came of a load. Serialized, its field names carry their units and stay as they are.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The URL the load went to.
    pub url: String,
    /// The request method.
    pub method: String,
    /// How arrivals were spread.
    pub arrivals: Arrivals,
    /// The seed of random arrivals.
    pub seed: u64,
    /// Requests a second asked for.
    pub rate_asked: f64,
    /// Requests a second offered, over the time the generator took to release them all.
    pub rate_reached: f64,
    /// For how long arrivals were offered before any was counted.
    pub warm_up_seconds: f64,
    /// For how long arrivals were offered and counted: as asked, longer if the generator fell behind, shorter if stopped.
    pub offered_seconds: f64,
    /// From the first counted arrival until the last fate was known.
    pub total_seconds: f64,
    /// Within this of its intended start an answer is in time.
    pub deadline_ms: f64,
    /// At this after the intended start the client leaves.
    pub timeout_ms: f64,
    /// Arrivals, sent or not.
    pub offered: u64,
    /// Good answers (a 2xx, or the expected status) within the deadline.
    pub good: u64,
    /// Good answers within the deadline, a second.
    pub goodput: f64,
    /// What would have been good but came after the deadline.
    pub late: u64,
    /// Answers with 429, 503 or 504.
    pub refused: u64,
    /// Answers by status code.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by kind.
    pub failures: BTreeMap<FailureKind, u64>,
    /// Requests whose fate was open when the load was stopped; 0 for a load that ran to its end.
    pub unfinished: u64,
    /// Answers with a `Retry-After`.
    pub retry_after: u64,
    /// Bytes of bodies received.
    pub body_bytes: u64,
    /// Connections opened in all.
    pub connections_opened: u64,
    /// The most connections open at once.
    pub connections_peak: usize,
    /// Latencies, each from the intended start to the last byte.
    pub latency: Latencies,
    /// How late the generator itself was in releasing arrivals; part of every latency.
    pub lateness: Summary,
}

/// Latencies of each class of answers.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Latencies {
    /// Good answers within the deadline.
    pub good: Summary,
    /// What is or would have been good, late answers included.
    pub served: Summary,
    /// All answers, whatever their status.
    pub answers: Summary,
    /// Answers with 429, 503 or 504.
    pub refusals: Summary,
}

/// The distribution of a class, in milliseconds to three significant digits; all 0 for a class of none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// How many there were.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// Nine in ten took no longer.
    pub p90_ms: f64,
    /// 99 in 100 took no longer.
    pub p99_ms: f64,
    /// 999 in 1000 took no longer.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Report {
    /// From the counts of a load that took `whole` from the end of its warm-up to its last fate.
    pub(super) fn new(
        plan: &Plan,
        record: &Record,
        connections: &Connections,
        whole: Duration,
        stopped: bool,
    ) -> Self {
        // Arrivals fill the planned time even though the last one comes before its end.
        let planned = if stopped { Duration::ZERO } else { plan.duration };
        let offering = planned.max(Duration::from_nanos(record.last_release));
        let a_second = |count: u64| {
            if offering.is_zero() { 0.0 } else { count as f64 / offering.as_secs_f64() }
        };
        Self {
            url: plan.target.to_string(),
            method: plan.method.to_string(),
            arrivals: plan.arrivals,
            seed: plan.seed,
            rate_asked: plan.rate.as_f64(),
            rate_reached: a_second(record.offered),
            warm_up_seconds: plan.warm_up.as_secs_f64(),
            offered_seconds: offering.as_secs_f64(),
            total_seconds: whole.as_secs_f64(),
            deadline_ms: plan.deadline.as_secs_f64() * 1e3,
            timeout_ms: plan.timeout.as_secs_f64() * 1e3,
            offered: record.offered,
            good: record.good.len(),
            goodput: a_second(record.good.len()),
            late: record.served.len() - record.good.len(),
            refused: record.refusals.len(),
            statuses: record.statuses.clone(),
            failures: record.failures.clone(),
            unfinished: record.offered.saturating_sub(record.settled()),
            retry_after: record.retry_after,
            body_bytes: record.bytes,
            connections_opened: connections.opened(),
            connections_peak: connections.peak(),
            latency: Latencies {
                good: Summary::of(&record.good),
                served: Summary::of(&record.served),
                answers: Summary::of(&record.answers),
                refusals: Summary::of(&record.refusals),
            },
            lateness: Summary::of(&record.lateness),
        }
    }

    /// Requests that got no answer for this reason.
    #[must_use]
    pub fn failed(&self, kind: FailureKind) -> u64 {
        self.failures.get(&kind).copied().unwrap_or(0)
    }

    /// Answers, whatever their status.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.latency.answers.count
    }
}

impl Summary {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| milliseconds(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: milliseconds(histogram.max()),
        }
    }
}

/// Rounded to the microsecond: the digits below are the histogram's buckets, not the measurement.
fn milliseconds(nanos: u64) -> f64 {
    (nanos as f64 / 1e3).round() / 1e3
}
