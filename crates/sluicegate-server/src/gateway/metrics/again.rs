//! Of routes whose requests may be sent more than once, or to one of several upstreams.

use std::collections::HashSet;
use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use sluicegate::hedge::Counts;

use super::super::attempts::Attempts;
use super::super::plan::{Plan, Route};

/// What is counted by route alone: its name, what it is, and where it stands.
type ByRoute<T> = (&'static str, &'static str, fn(&Attempts) -> Option<T>);

/// Writes all of it, as of `now`; nothing where no route is such a one.
pub(super) fn encode(plan: &Plan, now: u64, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let of_route = |route: &'_ std::sync::Arc<Route>| {
        Some((route.settings.name.clone(), std::sync::Arc::clone(route.attempts.as_ref()?)))
    };
    let routes: Vec<_> = plan.routes.iter().filter_map(of_route).collect();
    if routes.is_empty() {
        return Ok(());
    }
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters: [ByRoute<u64>; 4] = [
        ("attempts", "Requests sent to an upstream, each time counted", |route| {
            Some(route.counts.attempts.load(Ordering::Relaxed))
        }),
        ("retries", "Attempts after a failure", |route| {
            route.retry.as_ref().map(|_| route.counts.retries.load(Ordering::Relaxed))
        }),
        ("hedges", "Attempts beside one that was slow", |route| Some(hedges(route)?.hedges)),
        ("hedges_won", "Requests that such an attempt has answered", |route| Some(hedges(route)?.won)),
    ];
    for (name, help, of) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (route, value) in routes.iter().filter_map(|(name, route)| Some((name, of(route)?))) {
            ConstCounter::new(value).encode(family.encode_family(&[("route", route.as_str())])?)?;
        }
    }
    let gauges: [ByRoute<u64>; 2] = [
        ("retry_budget", "Retries that the budget has", |route| Some(route.retry.as_ref()?.budget())),
        ("hedge_budget", "Hedges that the budget has", |route| Some(route.hedge.as_ref()?.budget())),
    ];
    for (name, help, of) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (route, value) in routes.iter().filter_map(|(name, route)| Some((name, of(route)?))) {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(family.encode_family(&[("route", route.as_str())])?)?;
        }
    }
    let help = "How late an answer is when somebody else is asked as well";
    let unit = prometheus_client::registry::Unit::Seconds;
    let mut family = encoder.encode_descriptor("hedge_delay", help, Some(&unit), MetricType::Gauge)?;
    for (name, route) in &routes {
        if let Some(hedge) = &route.hedge {
            let delay = ConstGauge::new(hedge.delay().as_secs_f64());
            delay.encode(family.encode_family(&[("route", name.as_str())])?)?;
        }
    }
    let help = "Failures without another try, by what forbade it";
    let mut family = encoder.encode_descriptor("retries_kept_back", help, None, MetricType::Counter)?;
    for (name, route) in routes.iter().filter(|(_, route)| route.retry.is_some()) {
        for (reason, counter) in route.counts.stopped() {
            let labels = [("route", name.as_str()), ("reason", reason)];
            ConstCounter::new(read(counter)).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Slow requests without a hedge, by what forbade it";
    let mut family = encoder.encode_descriptor("hedges_kept_back", help, None, MetricType::Counter)?;
    for (name, counts) in routes.iter().filter_map(|(name, route)| Some((name, hedges(route)?))) {
        let Counts { overloaded, crowd, unpaid, .. } = counts;
        for (reason, value) in [("overload", overloaded), ("crowd", crowd), ("budget", unpaid)] {
            let labels = [("route", name.as_str()), ("reason", reason)];
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
    }
    upstreams(&routes, now, encoder)
}

fn hedges(route: &Attempts) -> Option<Counts> {
    route.hedge.as_ref().map(sluicegate::hedge::Hedge::counts)
}

/// How the upstreams look that routes choose.
fn upstreams(
    routes: &[(String, std::sync::Arc<Attempts>)],
    now: u64,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let mut seen = HashSet::new();
    let all = routes.iter().flat_map(|(_, route)| route.group.all());
    let all: Vec<_> = all.filter(|upstream| seen.insert(upstream.settings.name.as_str())).collect();
    let help = "Requests at an upstream, of the routes that choose or repeat";
    let mut family = encoder.encode_descriptor("upstream_in_flight", help, None, MetricType::Gauge)?;
    for upstream in &all {
        let in_flight = i64::try_from(upstream.standing.see(now).in_flight).unwrap_or(i64::MAX);
        let labels = [("upstream", upstream.settings.name.as_str())];
        ConstGauge::new(in_flight).encode(family.encode_family(&labels)?)?;
    }
    let help = "Whether an upstream is avoided, since it could not be reached";
    let mut family = encoder.encode_descriptor("upstream_avoided", help, None, MetricType::Gauge)?;
    for upstream in &all {
        let labels = [("upstream", upstream.settings.name.as_str())];
        let avoided = i64::from(upstream.standing.see(now).avoided);
        ConstGauge::new(avoided).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
