//! Real servers, each in a folder of its own, and gone with the test; and stores and connections to them.

use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::TlsCertificates;
use sluicegate_redis::Settings;
use sluicegate_testkit::redis_server;
use sluicegate_testkit::wait;

pub(crate) use sluicegate_testkit::redis_server::{ADMIN, USER, eventually};

/// A running `redis-server`.
#[derive(Debug)]
pub(crate) struct Server(redis_server::Server);

impl Deref for Server {
    type Target = redis_server::Server;

    fn deref(&self) -> &redis_server::Server {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut redis_server::Server {
        &mut self.0
    }
}

impl Server {
    /// Starts one, with these lines of configuration besides its own.
    pub(crate) fn start(lines: &[&str]) -> Self {
        Self(redis_server::Server::start(lines))
    }

    /// Starts one that speaks TLS only, with the rights that this guide tells, and the certificates of another server if it is
    /// one of several.
    pub(crate) fn start_encrypted(lines: &[&str], guide: &str, like: Option<&Self>) -> Self {
        Self(redis_server::Server::start_encrypted(lines, guide, like.map(|like| &like.0)))
    }

    /// What a store of it is told.
    pub(crate) fn settings(&self) -> Settings {
        self.with_certificates(Settings::new(&self.url()).expect("an address"))
    }

    /// The same, of an address that is also others'.
    pub(crate) fn with_certificates(&self, settings: Settings) -> Settings {
        if !self.is_encrypted() {
            return settings;
        }
        settings.trusting(self.file("ca.pem")).certified(self.file("client.pem"), self.file("client.key"))
    }

    /// What is shown to it, and whom it is trusted by; none without TLS.
    pub(crate) fn certificates(&self) -> Option<TlsCertificates> {
        self.is_encrypted().then(|| {
            let (client_cert, client_key) = (self.file("client.pem"), self.file("client.key"));
            let client_tls = Some(redis::ClientTlsConfig { client_cert, client_key });
            TlsCertificates { client_tls, root_cert: Some(self.file("ca.pem")) }
        })
    }

    /// What makes connections of the test's own.
    pub(crate) fn client(&self) -> redis::Client {
        let client = match self.certificates() {
            Some(certificates) => redis::Client::build_with_tls(self.own_url(), certificates),
            None => redis::Client::open(self.own_url()),
        };
        client.expect("an address")
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> redis::Connection {
        let client = self.client();
        eventually("a server that answers", || client.get_connection().ok())
    }

    /// Asserts that a store was refused no command, no key and no channel for want of rights, but to say which library it uses.
    pub(crate) fn refused_nothing(&self) {
        let denied: Vec<redis::Value> =
            redis::cmd("ACL").arg("LOG").query(&mut self.connect()).expect("a server");
        let is_needed = |entry: &&redis::Value| !format!("{entry:?}").contains("client|setinfo");
        assert!(denied.iter().find(is_needed).is_none(), "{denied:?}");
    }
}

/// One server for all tests that do it no harm.
pub(crate) fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&[]))
}

/// The same by TLS.
pub(crate) fn encrypted() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let guide = include_str!("../../guide/sharing_a_quota.md");
    SERVER.get_or_init(|| Server::start_encrypted(&[], guide, None))
}

/// A prefix that no other test has.
pub(crate) fn prefix() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Settings of a test, patient as tests are.
pub(crate) fn settings(url: &str) -> Settings {
    let settings = Settings::new(url).and_then(|settings| settings.prefix(&prefix())).expect("an address");
    settings.timeout(wait::PATIENCE).connect_timeout(wait::PATIENCE)
}
