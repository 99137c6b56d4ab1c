//! Where Redis is, and how it is talked to.

use std::fmt;
use std::time::Duration;

use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates,
};
use sluicegate::store::StoreError;

use crate::names::Names;

/// Where Redis is, and how it is talked to.
///
/// | address | means |
/// | --- | --- |
/// | `redis://host:6379/2` | one server, its database 2 |
/// | `redis://user:password@host` | a user of its access lists |
/// | `rediss://host` | by TLS; the certificate is checked against the system's authorities, or [`trusting`](Self::trusting) |
/// | `redis+cluster://one:6379,two:6379` | a Cluster, some of whose nodes these are |
/// | `rediss+cluster://user:password@one,two` | all of that |
///
/// `valkey` may be said for `redis`.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_redis::Settings;
///
/// let settings = Settings::new("redis://limits:secret@10.0.0.7/2")?.timeout(Duration::from_millis(100));
/// assert!(!format!("{settings:?}").contains("secret"));
/// let error = Settings::new("http://10.0.0.7").unwrap_err();
/// assert!(error.to_string().starts_with("url `http://10.0.0.7`: expected redis://"));
/// # Ok::<(), sluicegate::store::StoreError>(())
/// ```
#[derive(Clone)]
pub struct Settings {
    pub(crate) nodes: Vec<ConnectionInfo>,
    pub(crate) certificates: Option<TlsCertificates>,
    pub(crate) names: Names,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) look_again: Duration,
    pub(crate) max_waiting: usize,
    pub(crate) max_batch: usize,
}

impl Settings {
    /// Redis at this address, all else as it is good for most: names begin with `sluicegate`, an answer is waited for 250 ms, a
    /// connection a second.
    ///
    /// # Errors
    /// If this is no address; the error does not say its password.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        let (nodes, is_cluster) = nodes(url)?;
        Ok(Self {
            nodes,
            certificates: None,
            names: Names { prefix: "sluicegate".to_owned(), tag: None, is_cluster },
            timeout: Duration::from_millis(250),
            connect_timeout: Duration::from_secs(1),
            look_again: Duration::from_secs(1),
            max_waiting: 10_000,
            max_batch: 64,
        })
    }

    /// What all names of keys and channels begin with, followed by a colon. Stores with the same prefix share their buckets.
    ///
    /// # Errors
    /// If it is empty or has a brace: those tell slots.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, StoreError> {
        if prefix.is_empty() || prefix.contains(['{', '}']) {
            return Err(StoreError::unsupported("prefix", prefix, "some text without braces"));
        }
        prefix.clone_into(&mut self.names.prefix);
        Ok(self)
    }

    /// All keys in one slot, of this tag: every request is one step, also in a Cluster; but one node does all the work.
    ///
    /// Without it a key's own bytes decide. A request whose charges are on the same key in several spaces is one step then; one
    /// over several keys is taken slot by slot, and given back where one refuses. All who share buckets must say the same.
    ///
    /// # Errors
    /// If it is empty or has a brace.
    pub fn one_slot(mut self, tag: &str) -> Result<Self, StoreError> {
        if tag.is_empty() || tag.contains(['{', '}']) {
            return Err(StoreError::unsupported("tag", tag, "some text without braces"));
        }
        self.names.tag = Some(tag.to_owned());
        Ok(self)
    }

    /// How long an answer is waited for, from when it is wanted.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a connection is waited for. Who asks meanwhile waits no longer than for an answer.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How often whoever watches looks again though it was told nothing: a second, if nothing is said, and up to a quarter
    /// more, so that not all look at once.
    #[must_use]
    pub const fn look_again(mut self, every: Duration) -> Self {
        self.look_again = every;
        self
    }

    /// How many requests may wait for their turn, at least 1; more are refused as if the store was away.
    #[must_use]
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.max_waiting = requests.max(1);
        self
    }

    /// How many requests go into one call of the script at the most, at least 1: 64, if nothing is said. The server does nothing
    /// else meanwhile, for 2 to 10 µs each.
    #[must_use]
    pub fn max_batch(mut self, requests: usize) -> Self {
        self.max_batch = requests.max(1);
        self
    }

    /// Trusts who these certify (certificates as PEM), and not the system's authorities.
    #[must_use]
    pub fn trusting(mut self, authorities: impl Into<Vec<u8>>) -> Self {
        self.tls().root_cert = Some(authorities.into());
        self
    }

    /// Shows this certificate, and proves it by its key (both as PEM).
    #[must_use]
    pub fn certified(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let (client_cert, client_key) = (certificate.into(), key.into());
        self.tls().client_tls = Some(ClientTlsConfig { client_cert, client_key });
        self
    }

    fn tls(&mut self) -> &mut TlsCertificates {
        self.certificates.get_or_insert(TlsCertificates { client_tls: None, root_cert: None })
    }

    /// Whether connections are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.addr(), ConnectionAddr::TcpTls { .. }))
    }

    /// The user, as errors name it.
    pub(crate) fn user(&self) -> &str {
        self.nodes.first().and_then(|node| node.redis_settings().username()).unwrap_or("default")
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        f.debug_struct("Settings")
            .field("nodes", &nodes)
            .field("prefix", &self.names.prefix)
            .field("is_cluster", &self.names.is_cluster)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The nodes of an address, and whether they are a Cluster's.
fn nodes(url: &str) -> Result<(Vec<ConnectionInfo>, bool), StoreError> {
    let wrong = |expected: &str| StoreError::unsupported("url", without_password(url), expected);
    let schemes = "redis://, rediss://, redis+cluster:// or rediss+cluster://, and a host";
    let Some((scheme, rest)) = url.split_once("://") else { return Err(wrong(schemes)) };
    let (scheme, is_cluster) = match scheme {
        "redis" | "valkey" => ("redis", false),
        "rediss" | "valkeys" => ("rediss", false),
        "redis+cluster" | "valkey+cluster" => ("redis", true),
        "rediss+cluster" | "valkeys+cluster" => ("rediss", true),
        _ => return Err(wrong(schemes)),
    };
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(user, rest)| (user, rest));
    let user = if user.is_empty() { String::new() } else { format!("{user}@") };
    let (hosts, path) = rest.split_once('/').map_or((rest, ""), |(hosts, path)| (hosts, path));
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.len() > 1 && !is_cluster {
        return Err(wrong("one host; several are a Cluster's: redis+cluster://"));
    }
    let node = |host: &&str| {
        if host.is_empty() {
            return Err(wrong(schemes));
        }
        let info = format!("{scheme}://{user}{host}/{path}").into_connection_info();
        let info =
            info.map_err(|_| wrong("user:password@host:port/database, with % for special characters"))?;
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let redis = redis.set_skip_set_lib_name();
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        Ok(info.set_redis_settings(redis).set_tcp_settings(tcp))
    };
    Ok((hosts.iter().map(node).collect::<Result<_, _>>()?, is_cluster))
}

/// An address as errors may show it.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let shown = rest.rsplit_once('@').map_or_else(
        || rest.to_owned(),
        |(user, rest)| {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{user}:…@{rest}")
        },
    );
    if scheme.is_empty() { shown } else { format!("{scheme}://{shown}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_nodes_user_and_database() {
        let one = Settings::new("redis://ann:s%2Fcret@host/3").unwrap();
        assert_eq!(one.user(), "ann");
        let redis = one.nodes[0].redis_settings();
        assert_eq!((redis.password(), redis.db()), (Some("s/cret"), 3));
        assert!(!one.is_encrypted() && !one.names.is_cluster);
        let cluster = Settings::new("valkeys+cluster://a:7000,b").unwrap();
        assert!(cluster.is_encrypted() && cluster.names.is_cluster);
        assert!(format!("{cluster:?}").contains(r#"["a:7000", "b:6379"]"#), "{cluster:?}");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let error = |url| Settings::new(url).unwrap_err().to_string();
        assert!(
            error("redis://").starts_with("url `redis://`: expected redis://, rediss://"),
            "{}",
            error("redis://")
        );
        assert!(error("redis://a,b").contains("redis+cluster://"));
        let shown = error("redis://ann:secret@host/nine");
        assert!(shown.starts_with("url `redis://ann:…@host/nine`: expected user:password@"), "{shown}");
        let settings = Settings::new("redis://host").unwrap();
        assert!(settings.clone().prefix("a{b").is_err() && settings.clone().prefix("").is_err());
        assert!(settings.one_slot("}").is_err());
    }
}
