//! All settings of a gateway, and what is right of them.

mod check;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;
use sluicegate::breaker::Policy;
use sluicegate_tower::http::deadline::Field;

pub use super::attempts::{AttemptSettings, Share};
use super::limit::LimitRule;
use super::pattern::Match;
pub use super::queue::{Concurrency, QueueSettings};
pub use super::store::StoreSettings;

/// What the one queue, upstream and route are called where the command line says them.
pub const DEFAULT: &str = "default";

/// All settings of a gateway. The defaults are those of the command line and of the file. A [`Settings`] that has been
/// [`checked`](Self::checked) can be served.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where to serve; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// Where to serve health and metrics, if at all.
    pub admin: Option<SocketAddr>,
    /// Where the limits' buckets are.
    pub store: StoreSettings,
    /// Limits that routes name. Each is one table of keys, shared by all routes that name it.
    pub limits: Vec<LimitSettings>,
    /// Places at an upstream and the queue for them, that routes name. Shared by all routes that name it.
    pub queues: Vec<QueueSettings>,
    /// Services behind the gateway, that routes name.
    pub upstreams: Vec<UpstreamSettings>,
    /// Which request goes where: the first that matches. At least one.
    pub routes: Vec<RouteSettings>,
    /// Bounds of client connections.
    pub clients: ClientSettings,
    /// Who a client is taken for.
    pub identity: IdentitySettings,
    /// How many threads serve connections; 0 is one a core.
    pub workers: usize,
    /// How long to finish what is in flight after SIGTERM or SIGINT.
    pub grace: Duration,
}

/// An address to serve on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Port 0 is any free one.
    pub address: SocketAddr,
    /// With it, only TLS is spoken here.
    pub tls: Option<TlsSettings>,
}

/// What a listener shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// A file of PEM certificates, the server's own first.
    pub certificate: PathBuf,
    /// A file with its private key, in PEM.
    pub key: PathBuf,
}

/// A limit with its name, which clients see in `RateLimit` fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Unique among limits; printable ASCII without quotes and backslashes.
    pub name: String,
    /// Its key and quota.
    pub rule: LimitRule,
    /// How many keys have a bucket of their own; those beyond share one of the same quota. Only for limits in this process: a
    /// store has bounds of its own.
    pub max_keys: usize,
    /// What is answered while the store is away; where nothing is said, what [the store's settings](StoreSettings::away) say.
    pub away: Option<Policy>,
    /// Whether tokens are taken from the store in advance; where nothing is said, if
    /// [the store's settings](StoreSettings::lease) say for how long.
    pub lease: Option<bool>,
}

impl LimitSettings {
    /// A limit of this name, all else as if nothing was said.
    #[must_use]
    pub const fn new(name: String, rule: LimitRule) -> Self {
        Self { name, rule, max_keys: MAX_KEYS, away: None, lease: None }
    }

    /// The name of its space in a store. A limit with another key, or of something else, is another limit: that is in it, and
    /// has no blank in it, so that no two limits have the same.
    #[must_use]
    pub fn space(&self) -> String {
        format!("{} {} {}", self.name, self.rule.key, self.rule.cost)
    }
}

/// A service behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Unique among upstreams.
    pub name: String,
    /// `http://host:port`.
    pub url: Uri,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How many idle connections are kept.
    pub idle: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// The field that tells it how much time a request has left, if it is told.
    pub deadline_header: Option<Field>,
    /// How much less it is told than is left: what its answer takes on its way.
    pub deadline_reserve: Duration,
}

/// Which requests go where, and what they meet on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Unique among routes.
    pub name: String,
    /// Which requests it is for.
    pub matches: Match,
    /// The names of the upstreams it may be sent to; at least one, and none twice.
    pub upstreams: Vec<String>,
    /// The names of its limits; a request must pass all, in one decision. None twice.
    pub limits: Vec<String>,
    /// The name of its queue.
    pub queue: String,
    /// Which of the queue's classes its requests are in, if they are told: where they say none themselves and are heard.
    pub class: Option<String>,
    /// Which part of the queue's places is kept for its requests while they need them; the other routes have what is left.
    pub share: Option<Share>,
    /// How long a request may take until its answer begins, waiting included.
    pub deadline: Duration,
    /// How often it is sent.
    pub attempts: AttemptSettings,
}

impl RouteSettings {
    /// How long is long for an answer where nobody knows what a good one takes: half of what an attempt may take. Proxies in front often wait for
    /// a little less than all of it.
    #[must_use]
    pub fn long_without_answer(&self) -> Duration {
        self.attempts.timeout.map_or(self.deadline, |timeout| timeout.min(self.deadline)) / 2
    }
}

/// Bounds of client connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// How long a client may take to send a request's header.
    pub header_timeout: Duration,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// How long a body may make no progress, in either direction, on either side.
    pub body_stall_timeout: Duration,
    /// The same for what is silent by nature: event streams and upgraded connections.
    pub stream_idle_timeout: Duration,
    /// The size of a request's header, in bytes: at least 8192.
    pub max_header_bytes: usize,
    /// How many fields a request's header may have.
    pub max_headers: usize,
    /// How many client connections are open at once, on all listeners; more wait to be accepted.
    pub max_connections: usize,
    /// How many requests an HTTP/2 connection may have open at once.
    pub max_streams: usize,
    /// The field in which a client may say how long it waits, if that is heard. It can only shorten what its route
    /// allows.
    pub deadline_header: Option<Field>,
}

/// Who a client is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Peers that are believed about whom they forward for.
    pub trusted_proxies: Vec<IpNet>,
    /// The field they say it in. Only one: of the other, nobody knows who wrote it.
    pub forwarded_header: ForwardedHeader,
    /// How much of an IPv6 address tells clients apart, in bits: a client has a whole /64 to choose from.
    pub ipv6_prefix: u8,
}

/// The field in which proxies say for whom they forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: addresses, the nearest last.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listeners: vec![ListenerSettings {
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
                tls: None,
            }],
            admin: None,
            store: StoreSettings::default(),
            limits: Vec::new(),
            queues: vec![QueueSettings::default()],
            upstreams: vec![UpstreamSettings::default()],
            routes: vec![RouteSettings::default()],
            clients: ClientSettings::default(),
            identity: IdentitySettings::default(),
            workers: 0,
            grace: Duration::from_secs(10),
        }
    }
}

/// How many keys a limit keeps apart, if nothing else is said.
pub const MAX_KEYS: usize = 1_000_000;

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            url: Uri::from_static("http://127.0.0.1:9000"),
            connect_timeout: Duration::from_secs(1),
            idle: 512,
            idle_timeout: Duration::from_secs(30),
            deadline_header: None,
            deadline_reserve: Duration::from_millis(10),
        }
    }
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            matches: Match::default(),
            upstreams: vec![DEFAULT.to_owned()],
            limits: Vec::new(),
            queue: DEFAULT.to_owned(),
            class: None,
            share: None,
            deadline: Duration::from_secs(30),
            attempts: AttemptSettings::default(),
        }
    }
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_stall_timeout: Duration::from_secs(30),
            stream_idle_timeout: Duration::from_secs(3600),
            max_header_bytes: 16 * 1024,
            max_headers: 100,
            max_connections: 8192,
            max_streams: 100,
            deadline_header: None,
        }
    }
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self { trusted_proxies: Vec::new(), forwarded_header: ForwardedHeader::default(), ipv6_prefix: 64 }
    }
}

/// A setting that can't be: which, the value it was given, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} `{value}`: expected {expected}")]
pub struct SettingsError {
    /// The setting, as a path: `queue.default.waiting`, `listener.0.address`, `header-timeout`.
    pub setting: String,
    /// What it was given.
    pub value: String,
    /// What would be right.
    pub expected: String,
    /// The setting that it goes together badly with, if it is one: also as a path.
    pub beside: Option<String>,
}

impl SettingsError {
    /// Of this setting, with this value.
    #[must_use]
    pub fn new(setting: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self { setting: setting.into(), value: value.to_string(), expected: expected.into(), beside: None }
    }

    /// The same, because of this other setting.
    #[must_use]
    pub fn beside(self, other: impl Into<String>) -> Self {
        Self { beside: Some(other.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: fn(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.checked().unwrap_err().setting
    }

    #[test]
    fn a_setting_that_cannot_be_is_named() {
        let url = |url: &'static str| UpstreamSettings { url: Uri::from_static(url), ..Default::default() };
        for bad in ["https://a", "http://a/b", "/b", "http://a:99999", "http://u:p@a"] {
            let settings = Settings { upstreams: vec![url(bad)], ..Default::default() };
            assert_eq!(settings.checked().unwrap_err().setting, "upstream.default.url", "{bad}");
        }
        assert!(Settings::default().checked().is_ok());
        assert_eq!(wrong(|s| s.listeners.clear()), "listener");
        assert_eq!(wrong(|s| s.listeners.push(s.listeners[0].clone())), "listener.1.address");
        assert_eq!(wrong(|s| s.admin = Some(s.listeners[0].address)), "admin");
        assert_eq!(wrong(|s| s.queues[0].concurrency = 0.into()), "queue.default.concurrency");
        assert_eq!(
            wrong(|s| s.queues[0].reject_status = http::StatusCode::OK),
            "queue.default.reject-status"
        );
        assert_eq!(wrong(|s| s.routes[0].deadline = Duration::ZERO), "route.default.deadline");
        assert_eq!(wrong(|s| s.routes[0].upstreams = vec!["x".to_owned()]), "route.default.upstream");
        assert_eq!(wrong(|s| s.routes[0].upstreams.clear()), "route.default.upstreams");
        assert_eq!(wrong(|s| s.routes[0].upstreams.push("x".to_owned())), "route.default.upstreams.1");
        assert_eq!(wrong(|s| s.routes[0].upstreams.push(DEFAULT.to_owned())), "route.default.upstreams.1");
        assert_eq!(wrong(|s| s.routes[0].queue = "x".to_owned()), "route.default.queue");
        assert_eq!(wrong(|s| s.routes[0].limits.push("x".to_owned())), "route.default.limits.0");
        assert_eq!(wrong(|s| s.routes.push(s.routes[0].clone())), "route.default");
        assert_eq!(wrong(|s| s.routes[0].name = "a b".to_owned()), "route.a b");
        assert_eq!(wrong(|s| s.clients.max_header_bytes = 4096), "max-header-bytes");
        assert_eq!(wrong(|s| s.identity.ipv6_prefix = 129), "ipv6-prefix");
    }

    #[test]
    fn all_mistakes_are_found_and_a_route_that_never_matches_is_one() {
        let route = |name: &str| RouteSettings { name: name.to_owned(), ..Default::default() };
        let mut settings =
            Settings { routes: vec![route("a"), route("b")], workers: 5000, ..Default::default() };
        settings.queues[0].waiting = 5_000_000;
        let wrong = settings.mistakes();
        let paths: Vec<&str> = wrong.iter().map(|error| error.setting.as_str()).collect();
        assert_eq!(paths, ["workers", "queue.default.waiting", "route.b"]);
        assert_eq!(wrong[2].beside.as_deref(), Some("route.a"));
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        let mut settings = Settings::default();
        settings.routes[0].upstreams = vec!["api".to_owned()];
        let error = settings.checked().unwrap_err().to_string();
        assert_eq!(error, "route.default.upstream `api`: expected the name of one there is: default");
    }
}
