//! What is counted of a store: how it stands, what was answered while it was away, its leases, and bytes that it has to be told.
//! A store that is opened anew begins to count anew.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use sluicegate::breaker::Standing;

use crate::gateway::store::Remote;
use crate::gateway::tasks::Task;
use crate::stores::AnyStore;

/// Writes it.
///
/// # Errors
/// If it can't be written.
pub(super) fn encode(store: &Remote, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let (guard, backing, ledger) = (store.guard(), store.backing(), store.ledger());
    let (outage, lease) = (guard.counts(), backing.counts());
    let gauges = [
        (
            "store_up",
            "Whether the store decides: 0 while limits do by their policies",
            u64::from(guard.standing() == Standing::Closed),
        ),
        (
            "store_instances",
            "Gateways that quotas are divided among while the store is away",
            guard.instances(),
        ),
        ("store_owing_keys", "Keys whose grants in an outage are not charged yet", count(guard.owing())),
        ("store_uncharged_keys", "Keys with bytes that are not charged yet", count(ledger.waiting())),
        ("leases", "Keys whose tokens are taken from the store in advance", count(backing.leases())),
        ("lease_held_tokens", "Tokens that are held of them", backing.held()),
    ];
    for (name, help, value) in gauges {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
    }
    let counters = [
        ("store_outages", "How often the store was found to be away", outage.opened),
        ("store_recoveries", "How often it was found to be back", outage.recovered),
        ("store_probes", "Calls to see whether it is back", outage.probes),
        ("store_paid_tokens", "Tokens granted in an outage and charged afterwards", outage.paid),
        ("store_lost_tokens", "Bytes that were not charged and never will be", ledger.lost()),
        ("lease_fetches", "How often tokens were asked for in advance", lease.fetched),
        ("lease_given_back_tokens", "Tokens that were held and went back", lease.given_back),
        ("lease_lost_tokens", "Tokens that were held and could not go back", lease.lost),
    ];
    for (name, help, value) in counters {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    }
    match store.store() {
        AnyStore::Memory(_) => {}
        AnyStore::Redis(redis) => {
            let counter = ConstCounter::new(redis.lost());
            let help = "How often tokens could not be given back, and flow back by themselves";
            let (name, kind) = ("store_refunds_lost", MetricType::Counter);
            counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
            let counter = ConstCounter::new(redis.restarts());
            let help = "How often the task that asks the server has panicked and was started again";
            counter.encode(encoder.encode_descriptor("store_task_restarts", help, None, kind)?)?;
        }
        AnyStore::Disk(disk) => {
            let keys = ConstGauge::new(i64::try_from(disk.keys()).unwrap_or(i64::MAX));
            let help = "Keys with a bucket of their own in the file";
            keys.encode(encoder.encode_descriptor("store_keys", help, None, MetricType::Gauge)?)?;
            let counter = ConstCounter::new(disk.overflowed());
            let help = "Decisions on buckets shared by keys beyond the file's cap";
            let (name, kind) = ("store_overflow", MetricType::Counter);
            counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
    }
    let help = "Calls of the store without an answer, or with one that says it is broken";
    let mut family = encoder.encode_descriptor("store_failures", help, None, MetricType::Counter)?;
    for (cause, value) in [("timeout", outage.timeouts), ("failure", outage.failures)] {
        ConstCounter::new(value).encode(family.encode_family(&[("cause", cause)])?)?;
    }
    let help = "Decisions in the store's place";
    let mut family = encoder.encode_descriptor("store_away_decisions", help, None, MetricType::Counter)?;
    for (policy, outcome, value) in [
        ("open", "granted", outage.open_granted),
        ("closed", "refused", outage.closed_refused),
        ("share", "granted", outage.share_granted),
        ("share", "refused", outage.share_refused),
        ("share", "crowded", outage.crowded),
    ] {
        let labels = [("policy", policy), ("outcome", outcome)];
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    let help = "Waits that lasted longer than they ever should: bugs, each of them";
    let mut family = encoder.encode_descriptor("overdue_waits", help, None, MetricType::Counter)?;
    let driver = match store.store() {
        AnyStore::Redis(redis) => redis.overdue(),
        AnyStore::Memory(_) | AnyStore::Disk(_) => 0,
    };
    let tasks =
        [(Task::Guard.name(), outage.overdue), (Task::Leases.name(), lease.overdue), ("store", driver)];
    for (task, value) in tasks {
        ConstCounter::new(value).encode(family.encode_family(&[("task", task)])?)?;
    }
    let help = "Decisions by leases";
    let mut family = encoder.encode_descriptor("lease_decisions", help, None, MetricType::Counter)?;
    for (outcome, value) in [("granted", lease.granted), ("refused", lease.refused)] {
        ConstCounter::new(value).encode(family.encode_family(&[("outcome", outcome)])?)?;
    }
    Ok(())
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
