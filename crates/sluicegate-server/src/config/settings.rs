//! All settings of a gateway, and what is right of them.

use std::collections::HashSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::{StatusCode, Uri};
use ipnet::IpNet;

use super::limit::LimitRule;
use super::pattern::Match;

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
    /// How many keys have a bucket of their own; those beyond share one of the same quota.
    pub max_keys: usize,
}

/// Places at an upstream, and the queue for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Unique among queues.
    pub name: String,
    /// How many requests are at the upstream at once; without, as many as come.
    pub concurrency: Option<usize>,
    /// How many requests wait for one of those places.
    pub waiting: usize,
    /// The status for those that find no room to wait.
    pub reject_status: StatusCode,
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
}

/// Which requests go where, and what they meet on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Unique among routes.
    pub name: String,
    /// Which requests it is for.
    pub matches: Match,
    /// The name of the upstream.
    pub upstream: String,
    /// The names of its limits; a request must pass all, in one decision. None twice.
    pub limits: Vec<String>,
    /// The name of its queue.
    pub queue: String,
    /// How long a request may take until its answer begins, waiting included.
    pub deadline: Duration,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            concurrency: None,
            waiting: 100,
            reject_status: StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            url: Uri::from_static("http://127.0.0.1:9000"),
            connect_timeout: Duration::from_secs(1),
            idle: 512,
            idle_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            matches: Match::default(),
            upstream: DEFAULT.to_owned(),
            limits: Vec::new(),
            queue: DEFAULT.to_owned(),
            deadline: Duration::from_secs(30),
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
        }
    }
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self { trusted_proxies: Vec::new(), forwarded_header: ForwardedHeader::default(), ipv6_prefix: 64 }
    }
}

/// Times that something is waited for.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

impl Settings {
    /// These settings, if they make sense.
    ///
    /// # Errors
    /// Naming the first setting that does not, its value and what would be right.
    pub fn checked(self) -> Result<Self, SettingsError> {
        self.check_process()?;
        self.check_clients()?;
        unique("limit", self.limits.iter().map(|limit| &limit.name))?;
        for limit in &self.limits {
            size(&format!("limit.{}.max-keys", limit.name), limit.max_keys, 1..=1 << 31)?;
        }
        unique("queue", self.queues.iter().map(|queue| &queue.name))?;
        self.queues.iter().try_for_each(QueueSettings::check)?;
        unique("upstream", self.upstreams.iter().map(|upstream| &upstream.name))?;
        self.upstreams.iter().try_for_each(UpstreamSettings::check)?;
        unique("route", self.routes.iter().map(|route| &route.name))?;
        self.routes.iter().try_for_each(|route| self.check_route(route))?;
        Ok(self)
    }

    fn check_process(&self) -> Result<(), SettingsError> {
        size("workers", self.workers, 0..=1024)?;
        size("listener", self.listeners.len(), 1..=64)?;
        size("limit", self.limits.len(), 0..=1024)?;
        size("queue", self.queues.len(), 1..=1024)?;
        size("upstream", self.upstreams.len(), 1..=1024)?;
        size("route", self.routes.len(), 1..=1024)?;
        if self.grace > *TIMES.end() {
            return Err(SettingsError::new("grace", format!("{:?}", self.grace), "at most 24h"));
        }
        let mut addresses = HashSet::new();
        for (at, listener) in self.listeners.iter().enumerate() {
            // Port 0 is another one each time.
            if listener.address.port() != 0 && !addresses.insert(listener.address) {
                let setting = format!("listener.{at}.address");
                return Err(SettingsError::new(setting, listener.address, "an address of its own for each"));
            }
        }
        if let Some(admin) = self.admin.filter(|admin| addresses.contains(admin)) {
            return Err(SettingsError::new("admin", admin, "another address than the listeners'"));
        }
        size("ipv6-prefix", usize::from(self.identity.ipv6_prefix), 1..=128)
    }

    fn check_clients(&self) -> Result<(), SettingsError> {
        let clients = &self.clients;
        time("header-timeout", clients.header_timeout)?;
        time("idle-timeout", clients.idle_timeout)?;
        time("body-stall-timeout", clients.body_stall_timeout)?;
        time("stream-idle-timeout", clients.stream_idle_timeout)?;
        size("max-header-bytes", clients.max_header_bytes, 8192..=1 << 20)?;
        size("max-headers", clients.max_headers, 1..=10_000)?;
        size("max-connections", clients.max_connections, 1..=1_000_000)?;
        size("max-streams", clients.max_streams, 1..=10_000)
    }

    fn check_route(&self, route: &RouteSettings) -> Result<(), SettingsError> {
        let at = |setting: &str| format!("route.{}.{setting}", route.name);
        time(&at("deadline"), route.deadline)?;
        size(&at("limits"), route.limits.len(), 0..=32)?;
        let names = |names: Vec<&str>| format!("the name of one there is: {}", names.join(", "));
        let upstreams: Vec<&str> = self.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        if !upstreams.contains(&route.upstream.as_str()) {
            return Err(SettingsError::new(at("upstream"), &route.upstream, names(upstreams)));
        }
        let queues: Vec<&str> = self.queues.iter().map(|queue| queue.name.as_str()).collect();
        if !queues.contains(&route.queue.as_str()) {
            return Err(SettingsError::new(at("queue"), &route.queue, names(queues)));
        }
        let mut seen = HashSet::new();
        for (place, limit) in route.limits.iter().enumerate() {
            let setting = || at(&format!("limits.{place}"));
            if !self.limits.iter().any(|known| known.name == *limit) {
                let known = self.limits.iter().map(|limit| limit.name.as_str()).collect();
                return Err(SettingsError::new(setting(), limit, names(known)));
            }
            if !seen.insert(limit) {
                return Err(SettingsError::new(setting(), limit, "each limit once"));
            }
        }
        Ok(())
    }
}

impl QueueSettings {
    fn check(&self) -> Result<(), SettingsError> {
        let at = |setting: &str| format!("queue.{}.{setting}", self.name);
        size(&at("waiting"), self.waiting, 0..=1_000_000)?;
        size(&at("concurrency"), self.concurrency.unwrap_or(1), 1..=1_000_000)?;
        if !(self.reject_status.is_client_error() || self.reject_status.is_server_error()) {
            let status = self.reject_status.as_u16();
            return Err(SettingsError::new(at("reject-status"), status, "a status from 400 to 599"));
        }
        Ok(())
    }
}

impl UpstreamSettings {
    fn check(&self) -> Result<(), SettingsError> {
        let at = |setting: &str| format!("upstream.{}.{setting}", self.name);
        let path = self.url.path_and_query().map_or("", |path| path.as_str());
        let port = self.url.authority().and_then(|authority| authority.as_str().rsplit_once(':'));
        // A port that is none is taken for a part of the host.
        let port_is_one = port.is_none_or(|(_, port)| port.ends_with(']') || port.parse::<u16>().is_ok());
        let user = self.url.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let is_host = self.url.scheme_str() == Some("http") && self.url.host().is_some();
        if !is_host || !port_is_one || user || !matches!(path, "" | "/") {
            let expected = "an address such as http://127.0.0.1:9000, without a path";
            return Err(SettingsError::new(at("url"), &self.url, expected));
        }
        time(&at("connect-timeout"), self.connect_timeout)?;
        size(&at("idle"), self.idle, 0..=1_000_000)?;
        time(&at("idle-timeout"), self.idle_timeout)
    }
}

fn time(setting: &str, time: Duration) -> Result<(), SettingsError> {
    if TIMES.contains(&time) {
        return Ok(());
    }
    Err(SettingsError::new(setting, format!("{time:?}"), "a time from 1ms to 24h"))
}

fn size(setting: &str, size: usize, range: RangeInclusive<usize>) -> Result<(), SettingsError> {
    if range.contains(&size) {
        return Ok(());
    }
    Err(SettingsError::new(setting, size, format!("from {} to {}", range.start(), range.end())))
}

/// Names are told apart, and can be printed in a header field, a metric's label and a path of a setting.
fn unique<'a>(kind: &str, names: impl Iterator<Item = &'a String>) -> Result<(), SettingsError> {
    let mut seen = HashSet::new();
    for name in names {
        let setting = || format!("{kind}.{name}");
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
            let expected =
                "a name of 1 to 128 printable ASCII characters without spaces, quotes and backslashes";
            return Err(SettingsError::new(setting(), name, expected));
        }
        if !seen.insert(name) {
            return Err(SettingsError::new(setting(), name, "a name of its own for each"));
        }
    }
    Ok(())
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
}

impl SettingsError {
    /// Of this setting, with this value.
    #[must_use]
    pub fn new(setting: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self { setting: setting.into(), value: value.to_string(), expected: expected.into() }
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
        assert_eq!(wrong(|s| s.queues[0].concurrency = Some(0)), "queue.default.concurrency");
        assert_eq!(wrong(|s| s.queues[0].reject_status = StatusCode::OK), "queue.default.reject-status");
        assert_eq!(wrong(|s| s.routes[0].deadline = Duration::ZERO), "route.default.deadline");
        assert_eq!(wrong(|s| s.routes[0].upstream = "x".to_owned()), "route.default.upstream");
        assert_eq!(wrong(|s| s.routes[0].queue = "x".to_owned()), "route.default.queue");
        assert_eq!(wrong(|s| s.routes[0].limits.push("x".to_owned())), "route.default.limits.0");
        assert_eq!(wrong(|s| s.routes.push(RouteSettings::default())), "route.default");
        assert_eq!(wrong(|s| s.routes[0].name = "a b".to_owned()), "route.a b");
        assert_eq!(wrong(|s| s.clients.max_header_bytes = 4096), "max-header-bytes");
        assert_eq!(wrong(|s| s.identity.ipv6_prefix = 129), "ipv6-prefix");
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        let mut settings = Settings::default();
        settings.routes[0].upstream = "api".to_owned();
        let error = settings.checked().unwrap_err().to_string();
        assert_eq!(error, "route.default.upstream `api`: expected the name of one there is: default");
    }
}
