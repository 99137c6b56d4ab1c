//! The limits of a route where a store decides: one question for all of them.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::HeaderValue;
use http::request::Parts;
use ring::digest::{SHA256, digest};
use sluicegate::breaker::Policy;
use sluicegate::decision::Decision;
use sluicegate::quota::{Quota, Refill};
use sluicegate::store::{Decided, StoreKey, Verdict, key};
use sluicegate_tower::in_store::Booked;
use sluicegate_tower::limit::{AsyncLimit, Charge as Charged};

use super::{Address, COST, Limit, RouteLimits};
use crate::config::Cost;
use crate::config::identity::masked;
use crate::config::limit::KeyPart;
use crate::gateway::ledger::Place;
use crate::gateway::meter::{Account, Meter};
use crate::gateway::refusal::{Denial, Refusal};
use crate::gateway::request::Asked;
use crate::gateway::store::{Backing, Remote};

/// A route's limits in a store, as the layer asks them.
#[derive(Debug)]
pub struct OfStore {
    limits: Arc<RouteLimits>,
    store: Arc<Remote>,
}

/// A request's tokens, taken from every limit. Dropped, they go back to the store, without waiting for it.
#[derive(Debug)]
#[must_use = "a charge that is dropped is taken back"]
pub struct StoreCharge {
    limits: Arc<RouteLimits>,
    tokens: Booked<Backing>,
    /// What its bodies are charged by; none where no limit counts bytes.
    meter: Option<Arc<Meter>>,
}

impl OfStore {
    /// These limits in this store.
    #[must_use]
    pub const fn new(limits: Arc<RouteLimits>, store: Arc<Remote>) -> Self {
        Self { limits, store }
    }

    /// What a request is charged, limit by limit. It counts among those who ask most.
    fn keys(&self, request: &Parts, client: IpAddr, now: u64) -> Vec<(StoreKey, u64)> {
        let RouteLimits { each, ipv6_prefix, .. } = &*self.limits;
        let client = masked(client, *ipv6_prefix);
        let one = |limit: &Limit| {
            let called = || limit.called(&limit.keys, request, (client, *ipv6_prefix));
            let _ = limit.key(&limit.keys, request, client).named(now, called);
            let key = limit.stored_key(request, client);
            (StoreKey::new(Arc::clone(&limit.space), key, limit.settings.rule.quota), COST)
        };
        each.iter().map(one).collect()
    }

    fn meter(&self, keys: &[(StoreKey, u64)], now: u64) -> Option<Arc<Meter>> {
        if !self.limits.counts_bytes {
            return None;
        }
        let accounts = self.limits.each.iter().zip(keys).filter_map(|(limit, (key, _))| {
            let cost = limit.settings.rule.cost;
            let place = || Place { space: Arc::clone(&limit.space), key: key.key().into() };
            let account = || Account::noted(self.store.ledger(), place(), *key.quota());
            (cost != Cost::Requests).then(|| (account(), cost))
        });
        Meter::new(accounts, now)
    }
}

impl<B: 'static> AsyncLimit<Box<Asked>, Response<B>, Denial> for OfStore {
    type Charge = StoreCharge;
    type Deciding = Pin<Box<dyn Future<Output = Result<StoreCharge, Denial>> + Send>>;

    fn charge(&self, asked: &Box<Asked>) -> Self::Deciding {
        let keys = self.keys(&asked.parts, asked.who.address, asked.arrived);
        let meter = self.meter(&keys, asked.arrived);
        if let Some(meter) = &meter {
            // A request is charged once.
            let _ = asked.meter.set(Arc::clone(meter));
        }
        let (limits, store) = (Arc::clone(&self.limits), Arc::clone(&self.store));
        Box::pin(async move {
            match Booked::of(store.backing(), &keys).await {
                Ok(Ok(tokens)) => Ok(StoreCharge { limits, tokens, meter }),
                Ok(Err(verdict)) => Err(denial(limits, verdict)),
                Err(error) => Err(Refusal::Away { retry_after: None, error: Some(error) }.into()),
            }
        })
    }
}

/// Over a quota; or nobody knows, and the answer to that is no.
fn denial(limits: Arc<RouteLimits>, verdict: Verdict) -> Denial {
    if verdict.by == Decided::Outage(Policy::Closed) {
        let retry_after = verdict.decision.retry_after();
        return Refusal::Away { retry_after, error: None }.into();
    }
    let refusal = limits.refusal(&verdict);
    Denial { told: Some((limits, verdict)), ..refusal.into() }
}

impl StoreCharge {
    /// The request has been admitted: its tokens are used, and those of its bodies as they pass.
    fn keep(self) -> Verdict {
        if let Some(meter) = &self.meter {
            meter.admitted();
        }
        self.tokens.keep()
    }

    /// The tokens go back. The store is not asked how the limits stand then: as they did, with so much more.
    fn take_back(self) -> Verdict {
        let each = self.tokens.verdict().map(|verdict| verdict.each.clone()).unwrap_or_default();
        let quotas = self.limits.each.iter().map(|limit| &limit.settings.rule.quota);
        Verdict::new(
            each.into_iter().zip(quotas).map(|(decision, quota)| with(decision, COST, quota)).collect(),
        )
    }
}

/// Where a limit stands with `n` tokens more.
fn with(decision: Decision, n: u64, quota: &Quota) -> Decision {
    let Decision::Granted { limit, remaining, reset_after } = decision else { return decision };
    let remaining = remaining.saturating_add(n).min(limit);
    let sooner = match quota.refill() {
        Refill::Smooth { tokens, interval } => {
            u64::try_from(u128::from(n) * u128::from(interval.get()) / u128::from(tokens).max(1))
                .unwrap_or(u64::MAX)
        }
        _ => 0,
    };
    let reset_after = reset_after.map(|reset| reset.saturating_sub(Duration::from_nanos(sooner)));
    Decision::Granted { limit, remaining, reset_after }
}

impl<B> Charged<Response<B>, Denial> for StoreCharge {
    fn spend(self) {
        let _ = self.keep();
    }

    fn answered(self, response: &mut Response<B>) {
        let limits = Arc::clone(&self.limits);
        limits.tell(&self.keep(), response.headers_mut());
    }

    fn failed(self, denial: &mut Denial, admitted: bool) {
        let limits = Arc::clone(&self.limits);
        let verdict = if admitted { self.keep() } else { self.take_back() };
        denial.told = Some((limits, verdict));
    }
}

/// The longest path that is written into a store as it is, in bytes.
const PATH: usize = 64;

impl Limit {
    /// A request's key in a store: the parts of its [key](Self::key), but for values of header fields, which may be secrets, and
    /// long paths; a hash (the half of SHA-256) stands for those.
    fn stored_key(&self, request: &Parts, client: IpAddr) -> Vec<u8> {
        let (address, path) = (Address::of(client), self.path(request));
        let parts = self.settings.rule.key.0.iter().map(|part| match part {
            KeyPart::Global => Part::None,
            KeyPart::ClientIp => Part::Plain(address.bytes()),
            KeyPart::Path if path.len() <= PATH => Part::Plain(path.as_bytes()),
            KeyPart::Path => Part::hashed(path.as_bytes()),
            KeyPart::Header(name) if !request.headers.contains_key(name) => Part::None,
            KeyPart::Header(name) => {
                let values = request.headers.get_all(name).iter().map(HeaderValue::as_bytes);
                Part::hashed(&key(values.map(Some)))
            }
        });
        let parts: Vec<Part<'_>> = parts.collect();
        key(parts.iter().map(Part::bytes))
    }
}

/// A part of a key in a store.
enum Part<'a> {
    None,
    Plain(&'a [u8]),
    Hashed([u8; 16]),
}

impl Part<'_> {
    fn hashed(bytes: &[u8]) -> Self {
        let mut half = [0; 16];
        let whole = digest(&SHA256, bytes);
        half.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
        Self::Hashed(half)
    }

    const fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::None => None,
            Self::Plain(bytes) => Some(bytes),
            Self::Hashed(bytes) => Some(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CLIENT, limits, request};
    use super::*;

    fn stored(rule: &str, request: &Parts) -> Vec<u8> {
        limits(&[rule]).each[0].stored_key(request, CLIENT)
    }

    #[test]
    fn a_key_in_a_store_tells_apart_what_it_names_and_has_no_secret_in_it() {
        let one = request("/a", &[("k", "secret"), ("k", "other")]);
        let rule = "client.ip+header:k+path 1/s";
        let key = stored(rule, &one);
        assert_eq!(key, stored(rule, &one));
        assert!(!key.windows(6).any(|bytes| bytes == b"secret"), "{key:?}");
        assert!(key.windows(2).any(|bytes| bytes == b"/a"), "what is no secret can be read: {key:?}");
        let others = [
            request("/a", &[("k", "secretother")]),
            request("/a", &[("k", "other"), ("k", "secret")]),
            request("/a", &[]),
            request("/a", &[("k", "")]),
            request("/b", &[("k", "secret"), ("k", "other")]),
        ];
        let mut all: Vec<Vec<u8>> = others.iter().map(|other| stored(rule, other)).chain([key]).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn a_key_in_a_store_is_short() {
        let path = format!("/{}", "x".repeat(8000));
        let rule = "path+header:k 1/s";
        assert!(stored(rule, &request(&path, &[("k", &path)])).len() < 100);
        assert_ne!(stored(rule, &request(&path, &[])), stored(rule, &request(&path[1..], &[])));
    }

    #[test]
    fn what_goes_back_is_there_again() {
        let quota: Quota = "10/s burst 20".parse().unwrap();
        let taken =
            Decision::Granted { limit: 20, remaining: 17, reset_after: Some(Duration::from_millis(250)) };
        let reset_after = Some(Duration::from_millis(150));
        assert_eq!(with(taken, 1, &quota), Decision::Granted { limit: 20, remaining: 18, reset_after });
    }
}
