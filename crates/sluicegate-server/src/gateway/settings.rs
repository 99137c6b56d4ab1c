//! What an operator can set. A [`Settings`] that has been checked can be served.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, StatusCode, Uri};
use sluicegate::quota::Quota;

/// All settings of a gateway. The defaults are those of the command line.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The service behind the gateway: `http://host:port`.
    pub upstream: Uri,
    /// Where to serve. Port 0 is any free one.
    pub listen: SocketAddr,
    /// Where to serve health and metrics, if at all.
    pub admin: Option<SocketAddr>,
    /// Limits; a request must pass all of them, in one decision.
    pub limits: Vec<LimitRule>,
    /// How many keys each limit keeps apart; those beyond share one bucket of the same quota.
    pub max_keys: usize,
    /// How many requests are at the upstream at once; without, as many as come.
    pub concurrency: Option<usize>,
    /// How many requests wait for one of those places.
    pub queue: usize,
    /// How long a request may take until its answer begins, waiting included.
    pub deadline: Duration,
    /// The status for a full queue.
    pub reject_status: StatusCode,
    /// How long connecting to the upstream may take.
    pub connect_timeout: Duration,
    /// How long a client may take to send a request's header.
    pub header_timeout: Duration,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// How long a body may make no progress, in either direction, on either side.
    pub body_stall_timeout: Duration,
    /// The size of a request's header, in bytes: at least 8192.
    pub max_header_bytes: usize,
    /// How many fields a request's header may have.
    pub max_headers: usize,
    /// How many client connections are open at once; more wait to be accepted.
    pub max_connections: usize,
    /// How many idle connections to the upstream are kept.
    pub upstream_idle: usize,
    /// How long an idle connection to the upstream is kept.
    pub upstream_idle_timeout: Duration,
    /// How many threads serve connections; 0 is one a core.
    pub workers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            upstream: Uri::from_static("http://127.0.0.1:9000"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin: None,
            limits: Vec::new(),
            max_keys: 1_000_000,
            concurrency: None,
            queue: 100,
            deadline: Duration::from_secs(30),
            reject_status: StatusCode::SERVICE_UNAVAILABLE,
            connect_timeout: Duration::from_secs(1),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_stall_timeout: Duration::from_secs(30),
            max_header_bytes: 16 * 1024,
            max_headers: 100,
            max_connections: 8192,
            upstream_idle: 512,
            upstream_idle_timeout: Duration::from_secs(30),
            workers: 0,
        }
    }
}

impl Settings {
    /// These settings, if they make sense.
    ///
    /// # Errors
    /// Naming the setting, its value and what would be right.
    pub fn checked(self) -> Result<Self, SettingsError> {
        let path = self.upstream.path_and_query().map_or("", |path| path.as_str());
        let port = self.upstream.authority().and_then(|authority| authority.as_str().rsplit_once(':'));
        // A port that is none is taken for a part of the host.
        let port_is_one = port.is_none_or(|(_, port)| port.ends_with(']') || port.parse::<u16>().is_ok());
        let user = self.upstream.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let is_host = self.upstream.scheme_str() == Some("http") && self.upstream.host().is_some();
        if !is_host || !port_is_one || user || !matches!(path, "" | "/") {
            let expected = "an address such as http://127.0.0.1:9000, without a path";
            return Err(SettingsError::new("upstream", &self.upstream, expected));
        }
        if self.concurrency == Some(0) {
            return Err(SettingsError::new("concurrency", 0, "at least 1, or left out for no bound"));
        }
        if !(self.reject_status.is_client_error() || self.reject_status.is_server_error()) {
            return Err(SettingsError::new(
                "reject-status",
                self.reject_status.as_u16(),
                "a status from 400 to 599",
            ));
        }
        let times = [
            ("deadline", self.deadline),
            ("connect-timeout", self.connect_timeout),
            ("header-timeout", self.header_timeout),
            ("idle-timeout", self.idle_timeout),
            ("body-stall-timeout", self.body_stall_timeout),
            ("upstream-idle-timeout", self.upstream_idle_timeout),
        ];
        for (setting, time) in times {
            if time < Duration::from_millis(1) || time > Duration::from_secs(86_400) {
                return Err(SettingsError::new(setting, format!("{time:?}"), "from 1ms to 24h"));
            }
        }
        let sizes = [
            ("max-header-bytes", self.max_header_bytes, 8192, 1 << 20),
            ("max-headers", self.max_headers, 1, 10_000),
            ("max-connections", self.max_connections, 1, 1_000_000),
            ("max-keys", self.max_keys, 1, 1 << 31),
            ("queue", self.queue, 0, 1_000_000),
            ("concurrency", self.concurrency.unwrap_or(1), 1, 1_000_000),
            ("limit", self.limits.len(), 0, 32),
            ("workers", self.workers, 0, 1024),
        ];
        for (setting, size, least, most) in sizes {
            if size < least || size > most {
                return Err(SettingsError::new(setting, size, format!("from {least} to {most}")));
            }
        }
        Ok(self)
    }
}

/// A setting that can't be: which, the value it was given, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{setting} `{value}`: expected {expected}")]
pub struct SettingsError {
    /// The setting, as on the command line.
    pub setting: &'static str,
    /// What it was given.
    pub value: String,
    /// What would be right.
    pub expected: String,
}

impl SettingsError {
    fn new(setting: &'static str, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self { setting, value: value.to_string(), expected: expected.into() }
    }
}

/// A part of a limit's key: what tells requests apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// Nothing: one bucket for all.
    Global,
    /// The address of the TCP peer.
    ClientIp,
    /// The values of a header field. Requests without it are one more key.
    Header(HeaderName),
    /// The path, without the query.
    Path,
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::ClientIp => f.write_str("client.ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Path => f.write_str("path"),
        }
    }
}

/// A limit: a key and the quota of each of its values. As text: `client.ip 100/s burst 200`, `header:x-api-key+path 5/s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// What makes up the key.
    pub key: Vec<KeyPart>,
    /// The quota of each key.
    pub quota: Quota,
}

impl LimitRule {
    /// The key as text: the limit's name in answers and metrics.
    #[must_use]
    pub fn name(&self) -> String {
        self.key.iter().map(KeyPart::to_string).collect::<Vec<_>>().join("+")
    }
}

impl FromStr for LimitRule {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let text = text.trim();
        let (key, quota) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let key = key
            .split('+')
            .map(|part| match part {
                "global" => Some(KeyPart::Global),
                "client.ip" => Some(KeyPart::ClientIp),
                "path" => Some(KeyPart::Path),
                header => Some(KeyPart::Header(header.strip_prefix("header:")?.parse().ok()?)),
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                let keys = "a key (global, client.ip, header:NAME, path, or several joined by +)";
                SettingsError::new(
                    "limit",
                    text,
                    format!("{keys} and a quota, as in `client.ip 100/s burst 200`"),
                )
            })?;
        let quota = quota
            .trim()
            .parse()
            .map_err(|error| SettingsError::new("limit", text, format!("a quota: {error}")))?;
        Ok(Self { key, quota })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_text() {
        let rule: LimitRule = "header:X-Api-Key+path 100/s burst 200".parse().unwrap();
        assert_eq!(
            (rule.name().as_str(), rule.quota.to_string().as_str()),
            ("header:x-api-key+path", "100/s burst 200")
        );
        for (text, expected) in [
            ("client.ip 100", "`100/s` or `stock 100`"),
            ("client.ip", "such as `100/s`"),
            ("100/s", "global, client.ip"),
            ("cookie 100/s", "global, client.ip"),
            ("header: 100/s", "global, client.ip"),
            ("client.ip+ 100/s", "global, client.ip"),
            ("", "global, client.ip"),
        ] {
            let error = text.parse::<LimitRule>().unwrap_err();
            assert!(error.expected.contains(expected) && error.value == text, "{text}: {error}");
        }
    }

    #[test]
    fn a_setting_that_cannot_be_is_named() {
        let wrong = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.checked().unwrap_err().setting
        };
        assert_eq!(wrong(|s| s.upstream = Uri::from_static("https://a")), "upstream");
        assert_eq!(wrong(|s| s.upstream = Uri::from_static("http://a/b")), "upstream");
        assert_eq!(wrong(|s| s.upstream = Uri::from_static("/b")), "upstream");
        assert_eq!(wrong(|s| s.upstream = Uri::from_static("http://a:99999")), "upstream");
        assert_eq!(wrong(|s| s.upstream = Uri::from_static("http://u:p@a")), "upstream");
        assert_eq!(wrong(|s| s.concurrency = Some(0)), "concurrency");
        assert_eq!(wrong(|s| s.reject_status = StatusCode::OK), "reject-status");
        assert_eq!(wrong(|s| s.deadline = Duration::ZERO), "deadline");
        assert_eq!(wrong(|s| s.max_header_bytes = 100), "max-header-bytes");
        assert!(Settings::default().checked().is_ok());
    }
}
