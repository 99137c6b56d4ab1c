//! Which limits a request meets, and what it is told of them.

mod called;
mod in_store;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::Response;
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use sluicegate::memory::{self, Key, Limits, Taken, Twice};
use sluicegate::store::{StoreError, Verdict};
use sluicegate_tower::http::fields::{self, Name, NameError, RATELIMIT, RATELIMIT_POLICY};
use sluicegate_tower::limit::{Charge as Charged, Limit as Limiting};

use super::meter::{Account, Meter};
use super::refusal::{Denial, Refusal};
use super::request::Asked;

use crate::config::Cost;
use crate::config::identity::masked;
use crate::config::limit::KeyPart;
use crate::config::paths::Readings;
use crate::config::settings::LimitSettings;

pub use in_store::{OfStore, StoreCharge};

/// A limit and its keys' buckets.
#[derive(Clone, Debug)]
pub struct Limit {
    /// As an operator set it.
    pub settings: LimitSettings,
    /// Its [space](LimitSettings::space) of the gateway's memory, which outlives a configuration, by its quota. Where a store decides,
    /// nothing is charged here: it only knows who asks most.
    pub keys: memory::Limit,
    /// The name of that space, which it has in a store too.
    pub space: Arc<str>,
}

/// The limits of a route.
#[derive(Debug)]
pub struct RouteLimits {
    each: Vec<Limit>,
    names: Vec<Name>,
    together: Limits,
    /// Whether one of them counts bytes.
    counts_bytes: bool,
    /// How much of an IPv6 address is a client, in bits.
    ipv6_prefix: u8,
    /// The `RateLimit-Policy` field, the same in every answer; none where there is no limit to tell of.
    policy: Option<HeaderValue>,
}

impl AsRef<Limits> for RouteLimits {
    fn as_ref(&self) -> &Limits {
        &self.together
    }
}

/// A request's tokens, taken from every limit. Dropped, it puts them back.
#[derive(Debug)]
#[must_use = "a charge that is dropped is taken back"]
pub struct Charge {
    taken: Taken<Arc<RouteLimits>>,
    /// What its bodies are charged by; none where no limit counts bytes.
    meter: Option<Arc<Meter>>,
}

/// What a request costs, in tokens. Of a limit that counts bytes, that is its first one: what owes has none.
const COST: u64 = 1;

impl RouteLimits {
    /// These limits.
    ///
    /// # Errors
    /// If one is there twice, or has a name that can't be told.
    pub fn new(each: Vec<Limit>, ipv6_prefix: u8) -> Result<Self, RouteLimitsError> {
        let together = Limits::new(each.iter().map(|limit| limit.keys.clone()).collect())?;
        let name = |limit: &Limit| {
            let name = Name::new(limit.settings.name.as_str())?;
            Ok::<_, NameError>(if limit.settings.rule.cost == Cost::Requests {
                name
            } else {
                name.of_bytes()
            })
        };
        let names = each.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        let policy = fields::policy(names.iter().zip(each.iter().map(|limit| &limit.settings.rule.quota)));
        let counts_bytes = each.iter().any(|limit| limit.settings.rule.cost != Cost::Requests);
        Ok(Self { each, names, together, counts_bytes, ipv6_prefix, policy })
    }

    /// Charges a request to all limits, or to none.
    ///
    /// # Errors
    /// The verdict, where a limit refuses.
    pub fn charge(self: &Arc<Self>, request: &Parts, client: IpAddr, now: u64) -> Result<Charge, Verdict> {
        let client = masked(client, self.ipv6_prefix);
        Limits::charge(Arc::clone(self), now, |place, keys| {
            let limit = self.each.get(place)?;
            let called = || limit.called(keys, request, (client, self.ipv6_prefix));
            Some((limit.key(keys, request, client).named(now, called), COST))
        })
        .map(|taken| Charge { meter: self.meter(&taken, now), taken })
    }

    fn meter(self: &Arc<Self>, taken: &Taken<Arc<Self>>, now: u64) -> Option<Arc<Meter>> {
        if !self.counts_bytes {
            return None;
        }
        let account = |(place, limit): (usize, &Limit)| {
            let cost = limit.settings.rule.cost;
            (cost != Cost::Requests).then(|| Some((Account::Here(taken.account(place)?), cost))).flatten()
        };
        Meter::new(self.each.iter().enumerate().filter_map(account), now)
    }

    /// Adds the fields that tell a client where it stands (draft-ietf-httpapi-ratelimit-headers).
    pub fn tell(&self, verdict: &Verdict, headers: &mut HeaderMap) {
        let Some(policy) = &self.policy else { return };
        headers.insert(RATELIMIT_POLICY, policy.clone());
        let standings = self.names.iter().zip(verdict.each.iter().copied());
        if let Some(standings) = fields::standing(standings) {
            headers.insert(RATELIMIT, standings);
        }
    }

    /// The limits that a verdict says were exceeded.
    fn exceeded<'a>(&'a self, verdict: &Verdict) -> impl Iterator<Item = &'a LimitSettings> {
        let both = verdict.each.iter().zip(&self.each);
        both.filter(|(decision, _)| !decision.is_granted()).map(|(_, limit)| &limit.settings)
    }

    /// Their names.
    #[must_use]
    pub fn violated<'a>(&'a self, verdict: &Verdict) -> Vec<&'a str> {
        self.exceeded(verdict).map(|limit| limit.name.as_str()).collect()
    }

    fn refusal(&self, verdict: &Verdict) -> Refusal {
        let of_bytes = self.exceeded(verdict).all(|limit| limit.rule.cost != Cost::Requests);
        if of_bytes { Refusal::Volume(verdict.decision) } else { Refusal::Quota(verdict.decision) }
    }
}

/// Limits that can't be a route's.
#[derive(Debug, thiserror::Error)]
pub enum RouteLimitsError {
    /// One is there twice.
    #[error(transparent)]
    Twice(#[from] Twice),
    /// One has a name that can't be told.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There are too many for one memory.
    #[error(transparent)]
    Many(#[from] StoreError),
}

/// A route's limits, as the layer asks them.
#[derive(Debug)]
pub struct OfRoute(pub Arc<RouteLimits>);

impl<B> Limiting<Box<Asked>, Response<B>, Denial> for OfRoute {
    type Charge = Charge;

    fn charge(&self, asked: &Box<Asked>) -> Result<Charge, Denial> {
        let charge = self.0.charge(&asked.parts, asked.who.address, asked.arrived).map_err(|verdict| {
            let refusal = self.0.refusal(&verdict);
            Denial { told: Some((Arc::clone(&self.0), verdict)), ..refusal.into() }
        })?;
        if let Some(meter) = &charge.meter {
            // A request is charged once.
            let _ = asked.meter.set(Arc::clone(meter));
        }
        Ok(charge)
    }
}

impl Charge {
    /// The request has been admitted: its tokens are used, and those of its bodies as they pass.
    fn keep(self) -> Verdict {
        if let Some(meter) = &self.meter {
            meter.admitted();
        }
        self.taken.keep()
    }
}

/// Every answer tells where the limits stand, and so does every refusal: of one that was not admitted, they stand as before
/// it came.
impl<B> Charged<Response<B>, Denial> for Charge {
    fn spend(self) {
        let _ = self.keep();
    }

    fn answered(self, response: &mut Response<B>) {
        let limits = Arc::clone(self.taken.holder());
        limits.tell(&self.keep(), response.headers_mut());
    }

    fn failed(self, denial: &mut Denial, admitted: bool) {
        let limits = Arc::clone(self.taken.holder());
        let verdict = if admitted { self.keep() } else { self.taken.take_back() };
        denial.told = Some((limits, verdict));
    }
}

impl Limit {
    /// A request's key among `keys`; `client` is as much of its address as counts.
    fn key<'k>(&self, keys: &'k memory::Limit, request: &Parts, client: IpAddr) -> Key<'k> {
        let (address, path) = (Address::of(client), self.path(request));
        let parts = &self.settings.rule.key.0;
        keys.key(parts.iter().flat_map(|part| {
            // A header may come several times: all its values count, or one could be smuggled past the limit. Each part
            // is closed by an absent one, so that values can't move from one part to the next.
            let (one, headers) = match part {
                KeyPart::Global => (None, None),
                KeyPart::ClientIp => (Some(address.bytes()), None),
                KeyPart::Path => (Some(path.as_bytes()), None),
                KeyPart::Header(name) => (None, Some(request.headers.get_all(name))),
            };
            let values = headers.into_iter().flatten().map(HeaderValue::as_bytes);
            one.into_iter().chain(values).map(Some).chain([None])
        }))
    }

    /// The path as far as it counts.
    fn path<'r>(&self, request: &'r Parts) -> Cow<'r, str> {
        let is_by_path = self.settings.rule.key.0.contains(&KeyPart::Path);
        if is_by_path { Readings::of(request.uri.path()).strict } else { "".into() }
    }
}

/// An address as bytes.
enum Address {
    Four([u8; 4]),
    Six([u8; 16]),
}

impl Address {
    const fn of(client: IpAddr) -> Self {
        match client {
            IpAddr::V4(address) => Self::Four(address.octets()),
            IpAddr::V6(address) => Self::Six(address.octets()),
        }
    }

    const fn bytes(&self) -> &[u8] {
        match self {
            Self::Four(address) => address,
            Self::Six(address) => address,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn request(path: &str, fields: &[(&str, &str)]) -> Parts {
        let mut builder = http::Request::builder().uri(path);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    pub(super) fn limits(rules: &[&str]) -> Arc<RouteLimits> {
        let limit = |(at, rule): (usize, &&str)| {
            let rule: crate::config::LimitRule = rule.parse().unwrap();
            let keys = memory::Limit::new(rule.quota, 100, 0);
            let settings = LimitSettings::new(format!("limit-{at}"), rule);
            Limit { space: settings.space().into(), settings, keys }
        };
        Arc::new(RouteLimits::new(rules.iter().enumerate().map(limit).collect(), 64).unwrap())
    }

    pub(super) const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    /// Whether two requests share a key under `rule`.
    fn same(rule: &str, one: (&Parts, IpAddr), other: (&Parts, IpAddr)) -> bool {
        let limits = limits(&[&format!("{rule} stock 1")]);
        let _ = limits.charge(one.0, one.1, 0).unwrap().keep();
        limits.charge(other.0, other.1, 0).is_err()
    }

    #[test]
    fn keys_tell_apart_what_they_name_and_nothing_else() {
        let (a, b) = (request("/a?x", &[("k", "1")]), request("/b", &[("k", "2")]));
        assert!(same("global", (&a, CLIENT), (&b, OTHER)));
        assert!(
            same("client.ip", (&a, CLIENT), (&b, CLIENT)) && !same("client.ip", (&a, CLIENT), (&a, OTHER))
        );
        assert!(!same("path", (&a, CLIENT), (&b, CLIENT)));
        assert!(same("path", (&a, CLIENT), (&request("/a?y", &[]), OTHER)), "the query is not the path");
        assert!(same("path", (&a, CLIENT), (&request("//x/../%61", &[]), OTHER)), "nor is a spelling");
        assert!(!same("header:k", (&a, CLIENT), (&b, CLIENT)));
        assert!(!same("client.ip+path", (&a, CLIENT), (&a, OTHER)));
        let none = request("/", &[]);
        assert!(same("header:k", (&none, CLIENT), (&none, OTHER)), "without the header is one more key");
        assert!(!same("header:k", (&none, CLIENT), (&request("/", &[("k", "")]), CLIENT)));
    }

    #[test]
    fn values_of_one_header_do_not_pass_for_another_s() {
        let one = request("/", &[("a", "x"), ("a", "y")]);
        let two = request("/", &[("a", "x"), ("b", "y")]);
        assert!(!same("header:a+header:b", (&one, CLIENT), (&two, CLIENT)));
    }

    #[test]
    fn a_client_of_ipv6_has_one_key_for_the_network_it_can_choose_from() {
        let request = request("/", &[]);
        let [one, other, further] =
            ["2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1::1"].map(|a| a.parse::<IpAddr>().unwrap());
        assert!(same("client.ip", (&request, one), (&request, other)));
        assert!(!same("client.ip", (&request, one), (&request, further)));
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert!(same("client.ip", (&request, CLIENT), (&request, mapped)), "one client, written two ways");
    }

    #[test]
    fn a_charge_that_is_dropped_is_taken_back_from_all() {
        let limits = limits(&["global stock 1", "client.ip stock 1"]);
        for _ in 0..10 {
            drop(limits.charge(&request("/", &[]), CLIENT, 0).unwrap());
        }
        let _ = limits.charge(&request("/", &[]), CLIENT, 0).unwrap().keep();
        assert!(limits.charge(&request("/", &[]), CLIENT, 0).is_err());
    }

    #[test]
    fn fields_tell_every_limit_once() {
        let limits = limits(&["client.ip 100/s burst 200", "client.ip 3/m", "global unlimited"]);
        let verdict = limits.charge(&request("/", &[]), CLIENT, 0).unwrap().keep();
        let mut headers = HeaderMap::new();
        limits.tell(&verdict, &mut headers);
        assert_eq!(headers[RATELIMIT_POLICY], r#""limit-0";q=200;w=2, "limit-1";q=3;w=60"#);
        assert_eq!(headers[RATELIMIT], r#""limit-0";r=199;t=1, "limit-1";r=2;t=20"#);
    }
}
