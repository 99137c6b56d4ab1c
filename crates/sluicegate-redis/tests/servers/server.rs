//! Real servers, each in a folder of its own, and gone with the test; and stores and connections to them.

use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::TlsCertificates;
use sluicegate_redis::Settings;
use sluicegate_testkit::redis::Server as Running;
use sluicegate_testkit::wait;

pub(crate) use sluicegate_testkit::redis::eventually;

/// A running `redis-server`.
#[derive(Debug)]
pub(crate) struct Server(Running);

impl Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.0
    }
}

impl Server {
    /// Starts one, with these lines of configuration besides its own.
    pub(crate) fn start(lines: &[&str]) -> Self {
        Self(Running::start(lines))
    }

    /// Starts one that speaks TLS only, and knows one user only.
    pub(crate) fn start_encrypted() -> Self {
        Self(Running::start_encrypted())
    }

    /// What a store of it is told.
    pub(crate) fn settings(&self) -> Settings {
        let settings = Settings::new(&self.url()).expect("an address");
        if !self.is_encrypted() {
            return settings;
        }
        settings.trusting(self.file("ca.pem")).certified(self.file("client.pem"), self.file("client.key"))
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> redis::Connection {
        let client = if self.is_encrypted() {
            let client_tls = Some(redis::ClientTlsConfig {
                client_cert: self.file("client.pem"),
                client_key: self.file("client.key"),
            });
            let root_cert = Some(self.file("ca.pem"));
            redis::Client::build_with_tls(self.url(), TlsCertificates { client_tls, root_cert })
        } else {
            redis::Client::open(self.url())
        };
        let client = client.expect("an address");
        eventually("a server that answers", || client.get_connection().ok())
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
    SERVER.get_or_init(Server::start_encrypted)
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
