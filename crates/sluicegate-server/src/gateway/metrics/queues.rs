//! Of queues, and the places behind them.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use sluicegate::concurrency::Why;
use sluicegate::permits::{Partition, Standing};
use sluicegate::queue::{Histogram, Refusal};

use super::{BUCKETS, Reason};
use crate::config::queue::Concurrency;
use crate::gateway::places::Places;

/// What is told of each queue: its name, what it is, and where it stands.
type Gauge = (&'static str, &'static str, fn(&Standing) -> usize);

/// Writes all of it, each queue as of one moment.
pub(super) fn encode(queues: &[Places], encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let all: Vec<_> = queues.iter().map(|queue| (queue, queue.permits.standing())).collect();
    let name = |queue: &Places| [("queue", queue.settings.name.clone())];
    let is_bounded = |queue: &Places| queue.settings.concurrency != Concurrency::Any;
    let gauges: [Gauge; 2] = [
        ("in_flight", "Requests at the upstream", |standing| standing.in_flight),
        ("queue_waiting", "Requests waiting for a place at the upstream", |standing| standing.waiting),
    ];
    for (what, help, of) in gauges {
        let mut family = encoder.encode_descriptor(what, help, None, MetricType::Gauge)?;
        for (queue, standing) in &all {
            ConstGauge::new(size(of(standing))).encode(family.encode_family(&name(queue))?)?;
        }
    }
    let help = "Places at the upstream, where there is a bound";
    let mut family = encoder.encode_descriptor("concurrency_limit", help, None, MetricType::Gauge)?;
    for (queue, standing) in all.iter().filter(|(queue, _)| is_bounded(queue)) {
        ConstGauge::new(size(standing.limit)).encode(family.encode_family(&name(queue))?)?;
    }
    let help = "Changes of the number of places that was found out, by the reason";
    let mut family =
        encoder.encode_descriptor("concurrency_limit_changes", help, None, MetricType::Counter)?;
    for (queue, standing) in all.iter().filter(|(queue, _)| is_adaptive(queue)) {
        for (why, count) in standing.changes.iter() {
            let labels = [("queue", queue.settings.name.clone()), ("reason", reason(why))];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    samples(&all, encoder)?;
    shares(&all, encoder)?;
    let help = "Requests that a queue has turned away, by the reason";
    let mut family = encoder.encode_descriptor("queue_refused", help, None, MetricType::Counter)?;
    for (queue, standing) in all.iter().filter(|(queue, _)| is_bounded(queue)) {
        // No queue here is closed, or counts bytes.
        let never = |why: Refusal| matches!(why, Refusal::Closed | Refusal::TooLarge);
        for (why, count) in standing.refused.iter().filter(|(why, _)| !never(*why)) {
            let labels = [("queue", queue.settings.name.as_str()), ("reason", Reason::of_queue(why).name())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "How long those waited that had a place, those that did not have to among them";
    let mut family =
        encoder.encode_descriptor("queue_wait", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (queue, standing) in all.iter().filter(|(queue, _)| is_bounded(queue)) {
        Waits(&standing.waits).encode(family.encode_family(&name(queue))?)?;
    }
    Ok(())
}

/// By what each number of places that is found out was judged last.
fn samples(all: &[(&Places, Standing)], encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let found_out = || all.iter().filter(|(queue, _)| is_adaptive(queue));
    let windows = || found_out().filter_map(|(queue, standing)| Some((queue, standing.window.as_ref()?)));
    let help = "Requests that the number of places was judged by last, by what became of them";
    let mut family = encoder.encode_descriptor("concurrency_samples", help, None, MetricType::Gauge)?;
    for (queue, window) in windows() {
        let [good, dropped, cancelled] = [window.good(), window.dropped(), window.cancelled()];
        for (outcome, count) in [("good", good), ("dropped", dropped), ("cancelled", cancelled)] {
            let labels = [("queue", queue.settings.name.as_str()), ("outcome", outcome)];
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "How long an answer took to its end on the average, of those";
    let seconds = Some(&Unit::Seconds);
    let mut family =
        encoder.encode_descriptor("concurrency_sample_mean", help, seconds, MetricType::Gauge)?;
    for (queue, window) in windows() {
        if let Some(took) = window.took() {
            let labels = [("queue", queue.settings.name.as_str())];
            ConstGauge::new(took / 1e9).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// The parts of the places that are kept for routes.
fn shares(all: &[(&Places, Standing)], encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    type Part = (&'static str, &'static str, fn(&Partition) -> usize);
    let gauges: [Part; 3] = [
        ("share_places", "Places that are kept for a route while it needs them", |part| part.guarantee),
        ("share_in_flight", "Requests at the upstream, of a route with a share", |part| part.in_flight),
        ("share_waiting", "Requests waiting for a place, of a route with a share", |part| part.waiting),
    ];
    for (what, help, of) in gauges {
        let mut family = encoder.encode_descriptor(what, help, None, MetricType::Gauge)?;
        for (queue, standing) in all {
            for ((route, _), part) in queue.shares.iter().zip(&standing.partitions) {
                let labels = [("queue", queue.settings.name.as_str()), ("route", route.as_str())];
                ConstGauge::new(size(of(part))).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

/// As a label.
fn reason(why: Why) -> String {
    why.to_string().replace(' ', "_")
}

/// Whether the number of its places is found out.
const fn is_adaptive(queue: &Places) -> bool {
    matches!(queue.settings.concurrency, Concurrency::Adaptive(_))
}

fn size(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Times, as few as are told of others. What is in a bucket of the histogram counts as its longest, so that what is counted as shorter than
/// a bound is.
#[derive(Debug)]
struct Waits<'a>(&'a Histogram);

impl EncodeMetric for Waits<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        let (mut counts, mut sum) = ([0_u64; BUCKETS.len() + 1], 0.0);
        for (longest, count) in self.0.buckets().filter(|(_, count)| *count > 0) {
            let seconds = std::time::Duration::from_nanos(longest.min(self.0.longest())).as_secs_f64();
            let at = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
            counts[at] += count;
            sum += seconds * float(count);
        }
        let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        encoder.encode_histogram::<NoLabelSet>(sum, self.0.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 a sum may be rounded")]
const fn float(count: u64) -> f64 {
    count as f64
}
