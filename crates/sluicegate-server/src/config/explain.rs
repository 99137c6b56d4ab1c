//! What would become of a request: which route takes it and why, and what it meets there.

mod attempts;
mod deadlines;
mod queues;
mod words;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Method, Uri};
use serde::Serialize;

pub use attempts::AttemptsMet;
pub use deadlines::{ShortenedMet, ToldMet};
pub use queues::{AdaptiveMet, ClassMet, QueueMet};

use super::cost::Cost;
use super::identity::{client, masked};
use super::limit::KeyPart;
use super::paths::Readings;
use super::pattern::{self, Match};
use super::settings::{ForwardedHeader, RouteSettings, Settings, UpstreamSettings};
use super::store::policy_text;

/// A request, as far as routes and limits look at it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Its `Host`, with or without a port; empty if it has none.
    pub host: String,
    /// Its path as the client writes it; a query is not looked at.
    pub path: String,
    /// Its fields.
    pub headers: HeaderMap,
    /// Where it comes from: the other end of the connection.
    pub peer: IpAddr,
    /// Whether it comes over TLS.
    pub tls: bool,
}

/// What would become of a request. As text, for people; as JSON, for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The request's method.
    pub method: String,
    /// Its host.
    pub host: String,
    /// Its path, in the [strict reading](Readings) that routes look at.
    pub path: String,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whom the request is counted for.
    pub client: IpAddr,
    /// The field that tells of that client; none where it is the peer.
    pub told_by: Option<&'static str>,
    /// The listeners such a request can arrive at.
    pub listeners: Vec<SocketAddr>,
    /// The routes before the one that takes it.
    pub passed: Vec<Passed>,
    /// Why it is refused before any route: its status, and what is wrong with it.
    pub refused: Option<(u16, String)>,
    /// The route that takes it; none is a 404.
    pub route: Option<Chosen>,
}

/// A route that does not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Passed {
    /// Its name.
    pub route: String,
    /// All that does not match.
    pub because: Vec<String>,
}

/// The route that takes a request, and what the request meets there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// The name of its upstream, or of the first of them.
    pub upstream: String,
    /// Where that is.
    pub url: String,
    /// All of them, where there are several; which one it is sent to is decided when it is sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamMet>,
    /// When it is sent another time; none if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<AttemptsMet>,
    /// How the upstreams are told how much time is left, of those that are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<ToldMet>,
    /// How long the request may take until its answer begins.
    pub deadline: String,
    /// Where the client may say less; none if it is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortened: Option<ShortenedMet>,
    /// What it waits in.
    pub queue: QueueMet,
    /// Where it is counted, if not in the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// What it is counted by, all in one decision.
    pub limits: Vec<LimitMet>,
}

/// An upstream that a request may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamMet {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
}

/// A limit a request is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitMet {
    /// Its name, which is in `RateLimit` fields.
    pub name: String,
    /// What makes up its key, with the values of this request.
    pub key: Vec<PartMet>,
    /// What it counts.
    pub cost: &'static str,
    /// Its quota, as it is written.
    pub quota: String,
    /// The same in words.
    pub meaning: String,
    /// What is answered while the store is away: `open`, `closed` or `share`; none where there is no store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away: Option<&'static str>,
}

/// A part of a key, with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartMet {
    /// The part.
    pub part: String,
    /// Its values: several where a header comes several times, none where it is absent.
    pub values: Vec<String>,
}

/// Tells what would become of a request. Nothing is counted, and nobody is asked.
///
/// ```
/// use http::{HeaderMap, Method};
/// use sluicegate_server::config::explain::{Asked, explain};
/// use sluicegate_server::config::Settings;
///
/// let asked = Asked {
///     method: Method::GET,
///     host: String::new(),
///     path: "/a/../b".to_owned(),
///     headers: HeaderMap::new(),
///     peer: [192, 0, 2, 1].into(),
///     tls: false,
/// };
/// let explanation = explain(&Settings::default(), &asked);
/// assert_eq!(explanation.path, "/b");
/// assert_eq!(explanation.route.unwrap().name, "default");
/// ```
#[must_use]
pub fn explain(settings: &Settings, asked: &Asked) -> Explanation {
    let asked_path = asked.path.split('?').next().unwrap_or_default();
    let readings = Readings::of(asked_path);
    let peer = asked.peer.to_canonical();
    let client = client(peer, &asked.headers, &settings.identity);
    let field = match settings.identity.forwarded_header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    let routes = settings.routes.iter().map(|route| &route.matches);
    let counts_by_path = |at: usize| {
        let names = settings.routes.get(at).map_or(&[][..], |route| &route.limits);
        let of_route = settings.limits.iter().filter(|limit| names.contains(&limit.name));
        of_route.into_iter().any(|limit| limit.rule.key.has_path())
    };
    let (first, refused) = match pattern::first(&routes, &asked.host, &readings, &asked.method) {
        Ok(Some(at)) if counts_by_path(at) && !readings.others.is_empty() => {
            (None, Some((400, pattern::Ambiguous.to_string())))
        }
        Ok(first) => (first, None),
        Err(ambiguous) => (None, Some((400, ambiguous.to_string()))),
    };
    let before = settings.routes.iter().take(first.unwrap_or(settings.routes.len()));
    let passed = before.filter(|_| refused.is_none()).map(|route| Passed {
        route: route.name.clone(),
        because: misses(&route.matches, &asked.host, &readings.strict, &asked.method),
    });
    let passed = passed.collect();
    let route =
        first.and_then(|at| chosen(settings, settings.routes.get(at)?, asked, &readings.strict, client));
    let path = readings.strict.into_owned();
    let listeners = settings.listeners.iter().filter(|listener| listener.tls.is_some() == asked.tls);
    Explanation {
        method: asked.method.to_string(),
        host: asked.host.clone(),
        path,
        peer,
        client,
        told_by: (client != peer).then_some(field),
        listeners: listeners.map(|listener| listener.address).collect(),
        passed,
        refused,
        route,
    }
}

/// What of a request a route is not for; nothing, if it matches.
fn misses(matches: &Match, host: &str, path: &str, method: &Method) -> Vec<String> {
    let mut misses = Vec::new();
    if let Some(pattern) = matches.host.as_ref().filter(|pattern| !pattern.matches(host)) {
        misses.push(format!("the host is not `{pattern}`"));
    }
    if let Some(pattern) = matches.path.as_ref().filter(|pattern| !pattern.matches(path)) {
        misses.push(format!("the path is not `{pattern}`"));
    }
    if !(matches.methods.is_empty() || matches.methods.contains(method)) {
        let methods: Vec<&str> = matches.methods.iter().map(Method::as_str).collect();
        misses.push(format!("the method is not {}", methods.join(" or ")));
    }
    misses
}

/// None only where the settings are not [checked](Settings::checked): what a route names is there.
fn chosen(
    settings: &Settings,
    route: &RouteSettings,
    asked: &Asked,
    path: &str,
    client: IpAddr,
) -> Option<Chosen> {
    let named = |name: &String| settings.upstreams.iter().find(|upstream| upstream.name == *name);
    let upstream = route.upstreams.first().and_then(named)?;
    let met =
        |upstream: &UpstreamSettings| UpstreamMet { name: upstream.name.clone(), url: url(&upstream.url) };
    let upstreams: Vec<_> = route.upstreams.iter().filter_map(named).map(met).collect();
    let queue = settings.queues.iter().find(|queue| queue.name == route.queue)?;
    let part = |part: &KeyPart| PartMet {
        part: part.to_string(),
        values: match part {
            KeyPart::Global => Vec::new(),
            KeyPart::ClientIp => vec![network(client, settings.identity.ipv6_prefix)],
            KeyPart::Path => vec![path.to_owned()],
            KeyPart::Header(name) => {
                let values = asked.headers.get_all(name).iter();
                values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
            }
        },
    };
    let is_stored = !settings.store.is_here();
    let limits = route.limits.iter().filter_map(|name| {
        let limit = settings.limits.iter().find(|limit| limit.name == *name)?;
        let (cost, quota) = (limit.rule.cost, &limit.rule.quota);
        Some(LimitMet {
            name: name.clone(),
            key: limit.rule.key.0.iter().map(part).collect(),
            cost: cost.name(),
            quota: cost.quota_text(quota),
            meaning: words::quota(quota, cost),
            away: is_stored.then(|| policy_text(settings.store.policy(limit))),
        })
    });
    let shortened = settings.clients.deadline_header.as_ref();
    let shortened = shortened.map(|field| ShortenedMet::of(field, route, asked));
    Some(Chosen {
        name: route.name.clone(),
        upstream: upstream.name.clone(),
        url: url(&upstream.url),
        upstreams: if upstreams.len() > 1 { upstreams } else { Vec::new() },
        attempts: AttemptsMet::of(route, queue, asked),
        told: route.upstreams.iter().filter_map(named).filter_map(ToldMet::of).collect(),
        deadline: words::time(route.deadline),
        shortened,
        queue: QueueMet::of(queue, route, asked, settings, part),
        store: is_stored.then(|| settings.store.address.to_string()),
        limits: limits.collect(),
    })
}

/// What tells a client apart: an IPv4 address, or the network of an IPv6 address.
fn network(client: IpAddr, ipv6_prefix: u8) -> String {
    match masked(client, ipv6_prefix) {
        IpAddr::V6(six) if ipv6_prefix < 128 => format!("{six}/{ipv6_prefix}"),
        address => address.to_string(),
    }
}

fn url(url: &Uri) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "request   {} {}{}", self.method, self.host, self.path)?;
        match self.told_by {
            Some(field) => {
                writeln!(
                    f,
                    "client    {}, told by {field}; the peer, {}, is trusted",
                    self.client, self.peer
                )?;
            }
            None => writeln!(f, "client    {}", self.client)?,
        }
        let listeners: Vec<String> = self.listeners.iter().map(ToString::to_string).collect();
        match listeners.is_empty() {
            true => writeln!(f, "listener  none: no such request can arrive")?,
            false => writeln!(f, "listener  {}", listeners.join(" or "))?,
        }
        for Passed { route, because } in &self.passed {
            writeln!(f, "not       {route}: {}", because.join(", and "))?;
        }
        match (&self.route, &self.refused) {
            (_, Some((status, why))) => writeln!(f, "refused   {status}: {why}"),
            (Some(route), None) => write!(f, "{route}"),
            (None, None) => writeln!(f, "route     none: the answer is 404"),
        }
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "route     {}", self.name)?;
        if self.upstreams.is_empty() {
            writeln!(f, "upstream  {} at {}", self.upstream, self.url)?;
        }
        for UpstreamMet { name, url } in &self.upstreams {
            writeln!(f, "upstream  {name} at {url}, or another")?;
        }
        if let Some(attempts) = &self.attempts {
            write!(f, "{attempts}")?;
        }
        writeln!(f, "deadline  {}, then 504", self.deadline)?;
        if let Some(shortened) = &self.shortened {
            writeln!(f, "          {shortened}")?;
        }
        for told in &self.told {
            writeln!(f, "          {told}")?;
        }
        write!(f, "{}", self.queue)?;
        if self.limits.is_empty() {
            writeln!(f, "limits    none")?;
        } else if let Some(store) = &self.store {
            writeln!(f, "store     {store}")?;
        }
        for limit in &self.limits {
            write!(f, "limit     {}: {} (", limit.name, limit.meaning)?;
            if limit.cost != Cost::default().name() {
                write!(f, "{} ", limit.cost)?;
            }
            writeln!(f, "{})", limit.quota)?;
            for PartMet { part, values } in &limit.key {
                match values.as_slice() {
                    [] if part == "global" => writeln!(f, "          for all together")?,
                    [] => writeln!(f, "          for each {part}; this request has none, which is one more")?,
                    values => writeln!(f, "          for each {part}; here {}", values.join(" and "))?,
                }
            }
            if let Some(away) = limit.away {
                writeln!(f, "          while the store is away: {away}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
