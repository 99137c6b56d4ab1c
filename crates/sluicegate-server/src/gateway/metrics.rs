//! What is counted. Counting is a relaxed add; the text for Prometheus is made when it is asked for.

mod again;
mod queues;
mod stored;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use sluicegate::clock::Clock;
use sluicegate::queue::Refusal;

use super::request::Shared;
use super::tasks::{self, Passing, Task};

/// Upper bounds of the answer times, in seconds: from what a gateway adds to what a deadline allows.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Why a request was not served, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Over a quota.
    Quota,
    /// The store of its limits is away.
    StoreAway,
    /// No room to wait.
    QueueFull,
    /// It would wait, or has waited, for longer than it may.
    QueueWait,
    /// It would be served after its deadline.
    Hopeless,
    /// It has waited too long in a line that stands.
    Overloaded,
    /// It waited, and its place was given to another.
    Displaced,
    /// Out of time.
    Deadline,
    /// The upstream can't be reached.
    UpstreamUnreachable,
    /// The upstream did not answer well.
    UpstreamBroken,
    /// The upstream took longer than an attempt may.
    UpstreamSlow,
    /// The client's request can't be understood or broke off.
    BadRequest,
    /// No route is for it.
    NoRoute,
}

impl Reason {
    const ALL: [Self; 13] = [
        Self::Quota,
        Self::StoreAway,
        Self::QueueFull,
        Self::QueueWait,
        Self::Hopeless,
        Self::Overloaded,
        Self::Displaced,
        Self::Deadline,
        Self::UpstreamUnreachable,
        Self::UpstreamBroken,
        Self::UpstreamSlow,
        Self::BadRequest,
        Self::NoRoute,
    ];

    /// As a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::StoreAway => "store_away",
            Self::QueueFull => "queue_full",
            Self::QueueWait => "queue_wait",
            Self::Hopeless => "hopeless",
            Self::Overloaded => "overloaded",
            Self::Displaced => "displaced",
            Self::Deadline => "deadline",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamBroken => "upstream_broken",
            Self::UpstreamSlow => "upstream_slow",
            Self::BadRequest => "bad_request",
            Self::NoRoute => "no_route",
        }
    }

    /// Of who was turned away by a queue.
    #[must_use]
    pub const fn of_queue(why: Refusal) -> Self {
        match why {
            Refusal::TooLong => Self::QueueWait,
            Refusal::Hopeless => Self::Hopeless,
            Refusal::Overloaded => Self::Overloaded,
            Refusal::Displaced => Self::Displaced,
            Refusal::Late => Self::Deadline,
            // No queue here is closed, or counts bytes.
            _ => Self::QueueFull,
        }
    }
}

/// The counters of a gateway.
#[derive(Debug)]
pub struct Metrics {
    /// Answers by status.
    statuses: Vec<AtomicU64>,
    refusals: [AtomicU64; Reason::ALL.len()],
    /// Requests whose client left before the answer began.
    pub clients_gone: AtomicU64,
    /// Client connections accepted.
    pub accepted: AtomicU64,
    /// Client connections open now.
    pub open: AtomicU64,
    /// Client connections closed, and HTTP/2 requests reset, because they made no progress for too long.
    pub timed_out: AtomicU64,
    /// TLS handshakes that did not come about.
    pub handshakes_failed: AtomicU64,
    /// Changes of the configuration that were taken on.
    pub reloads: AtomicU64,
    /// Changes that were not, because something was wrong.
    pub reloads_failed: AtomicU64,
    /// The last change was not taken on.
    pub reload_is_bad: AtomicBool,
    /// Records that were not logged, because there were too many.
    pub unlogged: AtomicU64,
    /// What has become of the gateway's own tasks.
    pub tasks: Arc<tasks::Counts>,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            statuses: (0..1000).map(|_| AtomicU64::new(0)).collect(),
            refusals: Default::default(),
            clients_gone: AtomicU64::default(),
            accepted: AtomicU64::default(),
            open: AtomicU64::default(),
            timed_out: AtomicU64::default(),
            handshakes_failed: AtomicU64::default(),
            reloads: AtomicU64::default(),
            reloads_failed: AtomicU64::default(),
            reload_is_bad: AtomicBool::new(false),
            unlogged: AtomicU64::default(),
            tasks: Arc::default(),
            seconds: Histogram::new(BUCKETS),
        }
    }
}

/// One more.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Metrics {
    /// Counts an answer whose head was ready `nanos` nanoseconds after the request's.
    pub fn answered(&self, status: http::StatusCode, nanos: u64) {
        if let Some(counter) = self.statuses.get(usize::from(status.as_u16())) {
            count(counter);
        }
        self.seconds.observe(std::time::Duration::from_nanos(nanos).as_secs_f64());
    }

    /// Counts a refusal.
    pub fn refused(&self, reason: Reason) {
        count(&self.refusals[reason as usize]);
    }
}

/// The text of all metrics, in the OpenMetrics format.
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub fn text(shared: &Arc<Shared>) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("sluicegate");
    registry.register_collector(Box::new(Snapshot(Arc::clone(shared))));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Snapshot(Arc<Shared>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (shared, metrics) = (&self.0, &self.0.metrics);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);

        let mut family =
            encoder.encode_descriptor("requests", "Answers by status", None, MetricType::Counter)?;
        for (status, counter) in metrics.statuses.iter().enumerate().filter(|(_, counter)| read(counter) > 0)
        {
            let labels = [("status", status.to_string())];
            ConstCounter::new(read(counter)).encode(family.encode_family(&labels)?)?;
        }
        let mut family =
            encoder.encode_descriptor("refusals", "Requests not served", None, MetricType::Counter)?;
        for reason in Reason::ALL {
            let labels = [("reason", reason.name())];
            ConstCounter::new(read(&metrics.refusals[reason as usize]))
                .encode(family.encode_family(&labels)?)?;
        }
        let counters = [
            ("clients_gone", "Clients that left before their answer began", &metrics.clients_gone),
            ("connections_accepted", "Client connections accepted", &metrics.accepted),
            (
                "connections_timed_out",
                "Client connections closed, and HTTP/2 requests reset, for making no progress",
                &metrics.timed_out,
            ),
            ("tls_handshakes_failed", "TLS handshakes that did not come about", &metrics.handshakes_failed),
            ("records_unlogged", "Log records left out because there were too many", &metrics.unlogged),
        ];
        for (name, help, counter) in counters {
            let counter = ConstCounter::new(read(counter));
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let size = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        let gauges = [
            (
                "connections_open",
                "Client connections open",
                size(usize::try_from(read(&metrics.open)).unwrap_or(0)),
            ),
            (
                "config_last_reload_ok",
                "Whether the configuration in force is the file's last",
                i64::from(!metrics.reload_is_bad.load(Ordering::Relaxed)),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let help = "Changes of the configuration";
        let mut family = encoder.encode_descriptor("config_reloads", help, None, MetricType::Counter)?;
        for (result, counter) in [("ok", &metrics.reloads), ("failed", &metrics.reloads_failed)] {
            ConstCounter::new(read(counter)).encode(family.encode_family(&[("result", result)])?)?;
        }
        let tasks = &metrics.tasks;
        let help = "Tasks of the gateway's own that failed and were started again";
        let mut family = encoder.encode_descriptor("task_restarts", help, None, MetricType::Counter)?;
        for task in Task::ALL {
            let labels = [("task", task.name())];
            ConstCounter::new(tasks.restarts(task)).encode(family.encode_family(&labels)?)?;
        }
        let help = "Tasks of the gateway's own that could not be stopped and were left running";
        let mut family = encoder.encode_descriptor("task_leaks", help, None, MetricType::Counter)?;
        for task in Task::ALL {
            let labels = [("task", task.name())];
            ConstCounter::new(tasks.leaks(task)).encode(family.encode_family(&labels)?)?;
        }
        let help = "Connections and requests that ended by a panic";
        let mut family = encoder.encode_descriptor("panics", help, None, MetricType::Counter)?;
        for kind in Passing::ALL {
            let labels = [("of", kind.name())];
            ConstCounter::new(tasks.panics(kind)).encode(family.encode_family(&labels)?)?;
        }
        let plan = shared.plan.load();
        if let Some(store) = &plan.store {
            stored::encode(store, &mut encoder)?;
        }
        queues::encode(&plan.queues, &mut encoder)?;
        let help = "Idle connections to the upstream";
        let mut family = encoder.encode_descriptor("upstream_idle", help, None, MetricType::Gauge)?;
        for upstream in &plan.upstreams {
            let labels = [("upstream", upstream.settings.name.as_str())];
            ConstGauge::new(size(upstream.idle())).encode(family.encode_family(&labels)?)?;
        }
        again::encode(&plan, shared.time.now(), &mut encoder)?;
        let help = "Keys with a bucket of their own";
        let mut family = encoder.encode_descriptor("limit_keys", help, None, MetricType::Gauge)?;
        // Of limits in a store that is not known.
        let here = || plan.limits.iter().filter(|_| plan.store.is_none());
        for limit in here() {
            let labels = [("limit", limit.settings.name.as_str())];
            ConstGauge::new(size(limit.keys.keys())).encode(family.encode_family(&labels)?)?;
        }
        let help = "Decisions on the bucket shared by keys beyond the cap";
        let mut family = encoder.encode_descriptor("limit_overflow", help, None, MetricType::Counter)?;
        for limit in here() {
            let labels = [("limit", limit.settings.name.as_str())];
            ConstCounter::new(limit.keys.overflowed()).encode(family.encode_family(&labels)?)?;
        }
        let help = "Time from a request's head to its answer's head";
        let unit = prometheus_client::registry::Unit::Seconds;
        let histogram = &metrics.seconds;
        histogram.encode(encoder.encode_descriptor(
            "request_duration",
            help,
            Some(&unit),
            MetricType::Histogram,
        )?)
    }
}
