//! What a configuration says, ready to serve: swapped as a whole when the configuration changes.

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, Uri};
use sluicegate::clock::nanos;
use sluicegate::memory::Memory;
use sluicegate::timer::TokioTime;

use super::activity::Patience;
use super::attempts::Attempts;
use super::choice::{Group, Standing};
use super::forward::Forward;
use super::lateness::Rule;
use super::limits::{Limit, OfRoute, OfStore, RouteLimits, RouteLimitsError};
use super::listing::HEAVIEST;
use super::places::Places;
use super::refusal::Refusal;
use super::stack::{self, Stack};
use super::store::Remote;
use super::upstream::Upstream;
use crate::config::paths::{self, Readings};
use crate::config::pattern::{self, Ambiguous};
use crate::config::settings::{LimitSettings, QueueSettings, RouteSettings, Settings, UpstreamSettings};

/// What a configuration says, ready to serve.
#[derive(Debug)]
pub struct Plan {
    /// As an operator set it.
    pub settings: Settings,
    /// How long a client may take.
    pub patience: Patience,
    /// Every limit, with its keys.
    pub limits: Vec<Limit>,
    /// Where those are: the same for all configurations of a gateway.
    pub memory: Memory<TokioTime>,
    /// Where they are if not there.
    pub store: Option<Arc<Remote>>,
    /// Every queue, with its places.
    pub queues: Vec<Places>,
    /// Every upstream, with its connections.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Every route, in order.
    pub routes: Vec<Arc<Route>>,
    /// Whether a route or a limit looks at paths; if none does, they are passed on as they are.
    looks_at_paths: bool,
}

/// Which requests go where, and what they meet on the way.
#[derive(Debug)]
pub struct Route {
    /// As an operator set it.
    pub settings: RouteSettings,
    /// The status where its queue is full.
    pub reject_status: StatusCode,
    /// Whether a limit of it counts by path.
    counts_by_path: bool,
    /// How long a request may take until its answer begins, in nanoseconds.
    pub deadline: u64,
    /// How its requests are sent, where that may be more than once, or to one of several.
    pub attempts: Option<Arc<Attempts>>,
    /// Its layers, a copy for each worker, so that workers count no references to the same parts.
    stacks: Vec<Stack>,
}

impl Route {
    /// The layers, for a request on this worker.
    #[must_use]
    pub fn stack(&self, worker: usize) -> Stack {
        self.stacks[worker].clone()
    }
}

impl Plan {
    /// What `settings`, which have been checked, say; `store` is the one that they name. What is in use `before` and goes on under its name is taken over:
    /// limits with the same key, queues, upstreams that have not changed. It is not changed until [`commit`](Self::commit).
    ///
    /// # Errors
    /// If a route's limits can't be, which a check of the settings finds before.
    pub fn new(
        settings: Settings,
        store: Option<Arc<Remote>>,
        before: Option<&Self>,
        time: TokioTime,
        workers: usize,
    ) -> Result<Self, RouteLimitsError> {
        let memory = before.map_or_else(|| Memory::with_clock(time), |before| before.memory.clone());
        let had = before.map(Self::spaces).unwrap_or_default();
        let limit = |wanted: &LimitSettings| -> Result<Limit, RouteLimitsError> {
            let space = wanted.space();
            // The quota travels with each charge: what is in use goes on by its own meanwhile.
            let keys = memory.limit(&space, wanted.rule.quota)?;
            if !had.contains(&space) {
                keys.set_max_keys(wanted.max_keys);
            }
            // Without an admin address nobody could ask for them.
            if settings.admin.is_some() {
                keys.keep_heaviest(HEAVIEST);
            }
            Ok(Limit { settings: wanted.clone(), keys, space: space.into() })
        };
        let limits = settings.limits.iter().map(limit).collect::<Result<Vec<_>, _>>()?;
        let places = |wanted: &QueueSettings| {
            let same = |had: &&Places| had.settings.name == wanted.name;
            let own = settings.routes.iter().filter(|route| route.queue == wanted.name);
            let shares = own.filter_map(|route| Some((route.name.clone(), route.share?))).collect();
            Places::new(wanted, shares, before.and_then(|plan| plan.queues.iter().find(same)), time)
        };
        let queues: Vec<Places> = settings.queues.iter().map(places).collect();
        // What is known of an upstream does not change with how it is connected to.
        let standing = |wanted: &UpstreamSettings| {
            let same =
                |had: &&Arc<Upstream>| had.settings.url == wanted.url && had.settings.name == wanted.name;
            let had = before.and_then(|plan| plan.upstreams.iter().find(same));
            had.map_or_else(Standing::new, |had| had.standing.clone())
        };
        let upstreams: Vec<Arc<Upstream>> = settings
            .upstreams
            .iter()
            .map(|wanted| {
                let same = |had: &&Arc<Upstream>| had.settings == *wanted;
                before.and_then(|plan| plan.upstreams.iter().find(same)).map_or_else(
                    || Upstream::new(wanted.clone(), standing(wanted), time, workers),
                    Arc::clone,
                )
            })
            .collect();
        let by_path = |limit: &Limit| limit.settings.rule.key.has_path();
        let route = |route: &RouteSettings| {
            let named_limit =
                |name: &String| limits.iter().find(|limit| limit.settings.name == *name).cloned();
            let queue = queues.iter().find(|queue| queue.settings.name == route.queue);
            let named =
                |name: &String| upstreams.iter().find(|upstream| upstream.settings.name == *name).cloned();
            let of_route: Vec<Arc<Upstream>> = route.upstreams.iter().filter_map(named).collect();
            // Checked settings name what there is.
            let (Some(queue), Some(first)) = (queue, of_route.first().cloned()) else { return Ok(None) };
            let limits: Vec<Limit> = route.limits.iter().filter_map(named_limit).collect();
            let counts_by_path = limits.iter().any(by_path);
            // Who has no limits asks nobody.
            let store = store.as_ref().filter(|_| !limits.is_empty());
            let limits = Arc::new(RouteLimits::new(limits, settings.identity.ipv6_prefix)?);
            let had = before.and_then(|plan| plan.routes.iter().find(|had| had.settings.name == route.name));
            let had = had.and_then(|had| had.attempts.as_deref());
            let group = Group::new(of_route, time);
            let attempts = Attempts::of(route, group, queue, had, time);
            let asked = queue.asked(route, settings.identity.ipv6_prefix);
            let stack = |_| {
                let forward = match &attempts {
                    Some(attempts) => Forward::Again(Arc::clone(attempts)),
                    None => Forward::Once(Arc::clone(&first)),
                };
                let inner = stack::inner(queue, asked.clone(), Arc::new(Rule::of(queue, route)), forward);
                match store {
                    Some(store) => {
                        Stack::in_store(OfStore::new(Arc::clone(&limits), Arc::clone(store)), inner)
                    }
                    None => Stack::here(OfRoute(Arc::clone(&limits)), inner),
                }
            };
            Ok(Some(Arc::new(Route {
                settings: route.clone(),
                reject_status: queue.settings.reject_status,
                counts_by_path,
                deadline: nanos(route.deadline),
                stacks: (0..workers).map(stack).collect(),
                attempts,
            })))
        };
        let routes = settings.routes.iter().filter_map(|wanted| route(wanted).transpose());
        let routes = routes.collect::<Result<Vec<_>, RouteLimitsError>>()?;
        let for_path = |route: &RouteSettings| route.matches.path.is_some();
        let looks_at_paths = limits.iter().any(by_path) || settings.routes.iter().any(for_path);
        let patience = Patience::new(&settings.clients);
        Ok(Self { patience, limits, memory, store, queues, upstreams, routes, looks_at_paths, settings })
    }

    /// Where its limits' keys are.
    fn spaces(&self) -> HashSet<String> {
        self.limits.iter().map(|limit| limit.settings.space()).collect()
    }

    /// Has what was taken over from `before` be as this plan says: limits that are no more are forgotten, retries change, and places,
    /// with those who hold one.
    pub fn commit(&self, before: &Self) {
        if let Some(store) = &self.store {
            store.commit(&self.settings);
        }
        for limit in &self.limits {
            limit.keys.set_max_keys(limit.settings.max_keys);
        }
        // What is on its way goes on with those it came under.
        let spaces = self.spaces();
        self.memory.retain_spaces(|space| spaces.contains(space));
        for had in &before.upstreams {
            if !self.upstreams.iter().any(|upstream| Arc::ptr_eq(upstream, had)) {
                had.retire();
            }
        }
        for attempts in self.routes.iter().filter_map(|route| route.attempts.as_ref()) {
            attempts.commit();
        }
        for queue in &self.queues {
            let had = before.queues.iter().find(|had| had.settings.name == queue.settings.name);
            if had.is_some_and(|had| queue.differs(had)) {
                queue.apply();
            }
        }
    }

    /// The first route for a request, whose target is made [what was looked at](paths::normal).
    ///
    /// # Errors
    /// If there is none, or it depends on how the path is read.
    pub fn route(
        &self,
        host: Option<&HeaderValue>,
        target: &mut Uri,
        method: &Method,
    ) -> Result<&Arc<Route>, Refusal> {
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let path = if self.looks_at_paths { target.path() } else { "/" };
        let routes = self.routes.iter().map(|route| &route.settings.matches);
        let readings = Readings::of(path);
        let ambiguous = || Refusal::Malformed(Ambiguous::WHAT);
        let first = pattern::first(&routes, host, &readings, method).map_err(|Ambiguous| ambiguous())?;
        let route = first.and_then(|at| self.routes.get(at)).ok_or(Refusal::NoRoute)?;
        if route.counts_by_path && !readings.others.is_empty() {
            return Err(ambiguous());
        }
        // `*` is no path.
        if self.looks_at_paths && path != "*" {
            let normal = paths::normal(path);
            if normal != path {
                *target = with_path(target, &normal)?;
            }
        }
        Ok(route)
    }
}

/// The same query of another path.
fn with_path(target: &Uri, path: &str) -> Result<Uri, Refusal> {
    let whole = target.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    // It was a path before, and each of its bytes is still one that may stand in it.
    Uri::try_from(whole).map_err(|_| Refusal::Malformed("the path is none"))
}
