//! What to do in an outage.

use std::collections::HashMap;
use std::time::Duration;

use sluicegate_core::breaker;

use super::Policy;

/// How long a store is waited for, and what is answered when it is away.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::outage::{Policy, Settings};
///
/// let settings = Settings::new(Policy::LocalShare)
///     .with_timeout(Duration::from_millis(50))
///     .with_policy("logins", Policy::Closed)
///     .with_policy("pages", Policy::Open);
/// assert_eq!(settings.policy("logins"), Policy::Closed);
/// assert_eq!(settings.policy("uploads"), Policy::LocalShare);
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) policies: Policies,
    pub(super) timeout: Duration,
    pub(super) breaker: breaker::Settings,
    pub(super) group: Box<str>,
    pub(super) instances: u64,
    pub(super) beat: Duration,
    pub(super) max_keys: usize,
}

impl Settings {
    /// With this policy for every limit that has none of its own; a timeout of 100 ms, and the default
    /// [breaker](breaker::Settings).
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policies: Policies { others: policy, each: HashMap::new() },
            timeout: Duration::from_millis(100),
            breaker: breaker::Settings::default(),
            group: "sluicegate".into(),
            instances: 1,
            beat: Duration::from_secs(1),
            max_keys: 10_000,
        }
    }

    /// Another policy for the limit of this name (the charges' space).
    #[must_use]
    pub fn with_policy(mut self, space: &str, policy: Policy) -> Self {
        self.policies.each.insert(space.into(), policy);
        self
    }

    /// How long one call may take.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// When the breaker opens, and for how long.
    #[must_use]
    pub fn with_breaker(self, breaker: breaker::Settings) -> Self {
        Self { breaker, ..self }
    }

    /// The group whose instances share the quotas, told to the store at each beat. It is `sluicegate` if nothing is said.
    #[must_use]
    pub fn with_group(self, group: &str) -> Self {
        Self { group: group.into(), ..self }
    }

    /// A local share is the quota divided by the instances that were seen, and by so many at least: for as long as none were
    /// seen, as after a start in an outage, or where the store counts no instances. It is 1 if nothing is said.
    #[must_use]
    pub fn with_instances(self, at_least: u64) -> Self {
        Self { instances: at_least.max(1), ..self }
    }

    /// How often this instance says that it is there. One that has not for three times as long is gone. It is a second if
    /// nothing is said, and a millisecond at the least.
    #[must_use]
    pub fn with_beat(self, beat: Duration) -> Self {
        Self { beat: beat.max(Duration::from_millis(1)), ..self }
    }

    /// How many keys are remembered for local shares: 10 000 if nothing is said. What is full again is forgotten. While there
    /// is no room, a key that comes anew in an outage is refused, and counted as [crowded](super::OutageCounts::crowded).
    #[must_use]
    pub fn with_max_keys(self, max_keys: usize) -> Self {
        Self { max_keys, ..self }
    }

    /// The policy of this limit.
    #[must_use]
    pub fn policy(&self, space: &str) -> Policy {
        self.policies.of(space)
    }
}

/// What is answered for which limit.
#[derive(Clone, Debug)]
pub(super) struct Policies {
    pub(super) each: HashMap<Box<str>, Policy>,
    pub(super) others: Policy,
}

impl Policies {
    pub(super) fn of(&self, space: &str) -> Policy {
        self.each.get(space).copied().unwrap_or(self.others)
    }
}
