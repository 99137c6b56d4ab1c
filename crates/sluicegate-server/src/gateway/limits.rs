//! Which limits a request meets, and what it is told of them.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use sluicegate::decision::Decision;
use sluicegate::keyed::{Key, Keyed, Limits, Standing, Twice};

use crate::config::identity::masked;
use crate::config::limit::KeyPart;
use crate::config::pattern::normal;
use crate::config::settings::LimitSettings;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A limit and its keys' buckets.
#[derive(Clone, Debug)]
pub struct Limit {
    /// As an operator set it.
    pub settings: LimitSettings,
    /// Outlives a configuration.
    pub keys: Arc<Keyed>,
}

/// The limits of a route.
#[derive(Debug)]
pub struct RouteLimits {
    each: Vec<Limit>,
    together: Limits,
    /// How much of an IPv6 address is a client, in bits.
    ipv6_prefix: u8,
    /// The `RateLimit-Policy` field, the same in every answer; none where there is no limit to tell of.
    policy: Option<HeaderValue>,
}

/// The outcome of a request's limits: the decision over all, and where each stands.
#[derive(Debug)]
pub struct Verdict {
    /// Over all.
    pub decision: Decision,
    each: Vec<Standing>,
}

impl Verdict {
    const fn none() -> Self {
        Self { decision: Decision::UNLIMITED, each: Vec::new() }
    }
}

/// A request's tokens, taken from every limit. Dropped, it puts them back; [`spend`](Self::spend) keeps them.
#[derive(Debug)]
#[must_use = "a charge that is dropped is taken back"]
pub struct Charge {
    limits: Arc<RouteLimits>,
    keys: Vec<Key>,
    at: u64,
    /// None once spent.
    verdict: Option<Verdict>,
}

impl Charge {
    /// The tokens are used. Where the limits stand comes back.
    pub fn spend(mut self) -> Verdict {
        self.verdict.take().unwrap_or_else(Verdict::none)
    }

    /// The tokens go back. Where the limits stand then comes back.
    pub fn take_back(mut self) -> Verdict {
        let Some(mut verdict) = self.verdict.take() else { return Verdict::none() };
        let limits = &self.limits.together;
        limits.put_back(&self.keys, &verdict.each, COST, self.at);
        verdict.decision = limits.take(&self.keys, 0, self.at, &mut verdict.each);
        verdict
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(verdict) = &self.verdict {
            self.limits.together.put_back(&self.keys, &verdict.each, COST, self.at);
        }
    }
}

/// What a request costs, in tokens.
const COST: u64 = 1;

impl RouteLimits {
    /// These limits.
    ///
    /// # Errors
    /// If one is there twice.
    pub fn new(each: Vec<Limit>, ipv6_prefix: u8) -> Result<Self, Twice> {
        let together = Limits::new(each.iter().map(|limit| Arc::clone(&limit.keys)).collect())?;
        let policy = join(each.iter().filter_map(|limit| {
            let quota = &limit.settings.rule.quota;
            let window = quota.window().map_or(String::new(), |w| format!(";w={}", seconds_up(w)));
            let name = &limit.settings.name;
            is_told(quota.capacity()).then(|| format!("\"{name}\";q={}{window}", quota.capacity()))
        }));
        Ok(Self { each, together, ipv6_prefix, policy })
    }

    /// Charges a request to all limits, or to none.
    ///
    /// # Errors
    /// The verdict, where a limit refuses.
    pub fn charge(self: &Arc<Self>, request: &Parts, client: IpAddr, now: u64) -> Result<Charge, Verdict> {
        let client = masked(client, self.ipv6_prefix);
        let keys: Vec<Key> = self.each.iter().map(|limit| limit.key(request, client)).collect();
        let mut each = Vec::with_capacity(keys.len());
        let decision = self.together.take(&keys, COST, now, &mut each);
        let verdict = Verdict { decision, each };
        if !decision.is_granted() {
            return Err(verdict);
        }
        Ok(Charge { limits: Arc::clone(self), keys, at: now, verdict: Some(verdict) })
    }

    /// Adds the fields that tell a client where it stands (draft-ietf-httpapi-ratelimit-headers).
    pub fn tell(&self, verdict: &Verdict, headers: &mut HeaderMap) {
        let Some(policy) = &self.policy else { return };
        headers.insert(RATELIMIT_POLICY, policy.clone());
        let mut standings = String::with_capacity(64 * self.each.len());
        for (Standing { decision, .. }, limit) in verdict.each.iter().zip(&self.each) {
            if !is_told(decision.limit()) {
                continue;
            }
            standings.push_str(if standings.is_empty() { "\"" } else { ", \"" });
            standings.push_str(&limit.settings.name);
            standings.push_str("\";r=");
            push_number(&mut standings, decision.remaining());
            if let Some(reset) = decision.reset_after() {
                standings.push_str(";t=");
                push_number(&mut standings, seconds_up(reset));
            }
        }
        // Names are checked to be printable, and the rest is digits: all of it is a header value.
        if let Ok(standings) = HeaderValue::try_from(standings) {
            headers.insert(RATELIMIT, standings);
        }
    }

    /// The names of the limits that a verdict says were exceeded.
    #[must_use]
    pub fn violated(&self, verdict: &Verdict) -> Vec<&str> {
        let both = verdict.each.iter().zip(&self.each);
        both.filter(|(standing, _)| !standing.decision.is_granted())
            .map(|(_, limit)| limit.settings.name.as_str())
            .collect()
    }
}

/// Whole seconds, rounded up: who waits so long does not come early.
#[must_use]
pub fn seconds_up(time: std::time::Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Writes digits without the machinery of formatting, which costs more than the rest of the field: it is in each answer.
fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len() - 1;
    loop {
        digits[first] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
        first -= 1;
    }
    text.extend(digits[first..].iter().map(|&digit| char::from(digit)));
}

/// Structured fields hold integers below 10^15; a larger or absent limit is not worth telling.
const fn is_told(limit: u64) -> bool {
    limit < 1_000_000_000_000_000
}

fn join(items: impl Iterator<Item = String>) -> Option<HeaderValue> {
    let joined = items.collect::<Vec<_>>().join(", ");
    // Names are checked to be printable, and the rest is digits: all of it is a header value.
    (!joined.is_empty()).then(|| HeaderValue::try_from(joined).ok()).flatten()
}

impl Limit {
    /// A request's key; `client` is as much of its address as counts.
    fn key(&self, request: &Parts, client: IpAddr) -> Key {
        let (four, six, path);
        let address: &[u8] = match client {
            IpAddr::V4(address) => {
                four = address.octets();
                &four
            }
            IpAddr::V6(address) => {
                six = address.octets();
                &six
            }
        };
        let parts = &self.settings.rule.key.0;
        path = if parts.contains(&KeyPart::Path) { normal(request.uri.path()) } else { "".into() };
        self.keys.key(parts.iter().flat_map(|part| {
            // A header may come several times: all its values count, or one could be smuggled past the limit. Each part
            // is closed by an absent one, so that values can't move from one part to the next.
            let (one, headers) = match part {
                KeyPart::Global => (None, None),
                KeyPart::ClientIp => (Some(address), None),
                KeyPart::Path => (Some(path.as_bytes()), None),
                KeyPart::Header(name) => (None, Some(request.headers.get_all(name))),
            };
            let values = headers.into_iter().flatten().map(HeaderValue::as_bytes);
            one.into_iter().chain(values).map(Some).chain([None])
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, fields: &[(&str, &str)]) -> Parts {
        let mut builder = http::Request::builder().uri(path);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn limits(rules: &[&str]) -> Arc<RouteLimits> {
        let limit = |(at, rule): (usize, &&str)| {
            let rule: crate::config::LimitRule = rule.parse().unwrap();
            let keys = Arc::new(Keyed::new(rule.quota, 100, 0));
            Limit { settings: LimitSettings { name: format!("limit-{at}"), rule, max_keys: 100 }, keys }
        };
        Arc::new(RouteLimits::new(rules.iter().enumerate().map(limit).collect(), 64).unwrap())
    }

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    /// Whether two requests share a key under `rule`.
    fn same(rule: &str, one: (&Parts, IpAddr), other: (&Parts, IpAddr)) -> bool {
        let limits = limits(&[&format!("{rule} stock 1")]);
        let _ = limits.charge(one.0, one.1, 0).unwrap().spend();
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
    fn digits() {
        for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
            let mut text = String::new();
            push_number(&mut text, number);
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn a_charge_that_is_dropped_is_taken_back_from_all() {
        let limits = limits(&["global stock 1", "client.ip stock 1"]);
        for _ in 0..10 {
            drop(limits.charge(&request("/", &[]), CLIENT, 0).unwrap());
        }
        let _ = limits.charge(&request("/", &[]), CLIENT, 0).unwrap().spend();
        assert!(limits.charge(&request("/", &[]), CLIENT, 0).is_err());
    }

    #[test]
    fn fields_tell_every_limit_once() {
        let limits = limits(&["client.ip 100/s burst 200", "client.ip 3/m", "global unlimited"]);
        let verdict = limits.charge(&request("/", &[]), CLIENT, 0).unwrap().spend();
        let mut headers = HeaderMap::new();
        limits.tell(&verdict, &mut headers);
        assert_eq!(headers[RATELIMIT_POLICY], r#""limit-0";q=200;w=2, "limit-1";q=3;w=60"#);
        assert_eq!(headers[RATELIMIT], r#""limit-0";r=199;t=1, "limit-1";r=2;t=20"#);
    }
}
