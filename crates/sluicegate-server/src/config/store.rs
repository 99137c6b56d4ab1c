//! Where the limits' buckets are, and what is done while that is away.

use std::time::Duration;

use sluicegate::breaker::Policy;

use super::settings::LimitSettings;
use crate::stores::StoreAddress;

/// Where the limits' buckets are, and what is done while that is away. Without anything said they are in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Where.
    pub address: StoreAddress,
    /// How long an answer is waited for; where nothing is said, as long as the address says, or [`TIMEOUT`].
    pub timeout: Option<Duration>,
    /// What is answered for limits while it is away, unless they [say otherwise](LimitSettings::away).
    pub away: Policy,
    /// Among so many gateways a quota is divided at the least, while the store is away; more, where more were seen before.
    pub instances: usize,
    /// For how long tokens are held that were taken in advance. Where it is said, limits have leases unless they
    /// [say otherwise](LimitSettings::lease).
    pub lease: Option<Duration>,
    /// How many keys are remembered for when the store is away, how many may have leases, and how many may have bodies that
    /// are not charged yet.
    pub max_keys: usize,
}

/// How long an answer of Redis is waited for, if nothing else is said.
pub const TIMEOUT: Duration = Duration::from_millis(100);

/// The same of a disk, which has its slow moments.
pub const DISK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long tokens are held that were taken in advance, where a limit asks for it and nothing else is said.
pub const LEASE: Duration = Duration::from_secs(1);

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            address: StoreAddress::Memory,
            timeout: None,
            away: Policy::LocalShare,
            instances: 1,
            lease: None,
            max_keys: 100_000,
        }
    }
}

impl StoreSettings {
    /// Whether the buckets are in this process.
    #[must_use]
    pub const fn is_here(&self) -> bool {
        matches!(self.address, StoreAddress::Memory)
    }

    /// How long an answer is waited for.
    #[must_use]
    pub fn waits(&self) -> Duration {
        let usual = if self.address.is_shared() { TIMEOUT } else { DISK_TIMEOUT };
        self.timeout.or(self.address.timeout()).unwrap_or(usual)
    }

    /// What is answered for a limit while the store is away.
    #[must_use]
    pub fn policy(&self, limit: &LimitSettings) -> Policy {
        limit.away.unwrap_or(self.away)
    }

    /// Whether a limit's tokens are taken in advance.
    #[must_use]
    pub fn has_leases(&self, limit: &LimitSettings) -> bool {
        limit.lease.unwrap_or(self.lease.is_some())
    }
}

/// A policy as text: `open`, `closed` or `share`.
///
/// # Errors
/// Saying what would be right.
pub fn policy(text: &str) -> Result<Policy, String> {
    match text {
        "open" => Ok(Policy::Open),
        "closed" => Ok(Policy::Closed),
        "share" => Ok(Policy::LocalShare),
        _ => Err("expected `open`, `closed` or `share`".to_owned()),
    }
}

/// A policy, as it is written.
#[must_use]
pub const fn policy_text(policy: Policy) -> &'static str {
    match policy {
        Policy::Open => "open",
        Policy::Closed => "closed",
        Policy::LocalShare => "share",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Settings, parse};

    fn settings(text: &str) -> Settings {
        let text =
            format!("{text}\n[upstream.a]\nurl = 'http://127.0.0.1:9000'\n[[route]]\nlimits = ['a', 'b']\n");
        parse(Path::new("/etc/gateway.toml"), &text).unwrap_or_else(|error| panic!("{error}")).settings
    }

    const LIMITS: &str = "[limit.a]\nkey = 'global'\nquota = '1/s'\n[limit.b]\nkey = 'path'\nquota = '1/s'\n";

    #[test]
    fn an_address_alone_is_a_store_as_usual_and_a_table_says_more() {
        assert!(settings(LIMITS).store.is_here());
        let redis = settings(&format!("store = 'redis://h'\n{LIMITS}"));
        assert_eq!((redis.store.waits(), redis.store.away), (TIMEOUT, Policy::LocalShare));
        assert!(!redis.store.has_leases(&redis.limits[0]));
        let waits = |address: &str| settings(&format!("store = '{address}'\n{LIMITS}")).store.waits();
        assert_eq!(waits("redis://h?timeout=7ms"), Duration::from_millis(7));
        assert_eq!(waits("disk:quotas.redb"), DISK_TIMEOUT);

        let table = "[store]\naddress = 'disk:quotas.redb'\ntimeout = '30ms'\naway = 'closed'\ninstances = 3\n\
                     lease = '2s'\nmax-keys = 7\n[limit.a]\nkey = 'global'\nquota = '1/s'\naway = 'open'\n\
                     lease = false\n[limit.b]\nkey = 'path'\nquota = '1/s'\n";
        let Settings { store, limits, .. } = settings(table);
        assert_eq!(store.address.to_string(), "disk:/etc/quotas.redb", "beside the file that names it");
        assert_eq!((store.waits(), store.instances, store.max_keys), (Duration::from_millis(30), 3, 7));
        assert_eq!(
            limits.iter().map(|one| store.policy(one)).collect::<Vec<_>>(),
            [Policy::Open, Policy::Closed]
        );
        assert_eq!(limits.iter().map(|one| store.has_leases(one)).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_a_limit_in_this_process_can_t_be_is_told() {
        let settings = Settings {
            store: StoreSettings { lease: Some(LEASE), ..Default::default() },
            ..Default::default()
        };
        assert_eq!(settings.checked().unwrap_err().setting, "store.lease");
        for policy in [Policy::Open, Policy::Closed, Policy::LocalShare] {
            assert_eq!(super::policy(policy_text(policy)), Ok(policy));
        }
    }
}
