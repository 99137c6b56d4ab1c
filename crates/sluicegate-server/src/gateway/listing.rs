//! Where the limits stand, for an operator: who it is.

use serde::Serialize;
use sluicegate::clock::Clock;

use super::limits::Limit;
use super::request::Shared;

/// How many keys of a limit are told, the heaviest.
pub const HEAVIEST: usize = 20;

/// All limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// In the order of the configuration.
    pub limits: Vec<Listed>,
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
        }
    }
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
