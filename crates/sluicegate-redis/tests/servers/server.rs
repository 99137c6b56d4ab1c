//! Real servers, as a store is told of them.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::TlsCertificates;
use sluicegate_redis::Settings;
use sluicegate_testkit::redis::Server as Running;
pub(crate) use sluicegate_testkit::redis::eventually;
use sluicegate_testkit::wait;

/// The user of the server with access lists.
pub(crate) const USER: &str = "limits:s3cret";

/// A running `redis-server`.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    is_encrypted: bool,
}

impl Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

impl Server {
    /// Starts one, with these lines of configuration besides its own.
    pub(crate) fn start(lines: &[&str]) -> Self {
        Self { running: Running::start(lines), is_encrypted: false }
    }

    /// Starts one that speaks TLS only, and knows one [user](USER) only.
    pub(crate) fn start_encrypted() -> Self {
        let rights = "user limits on >s3cret ~* &* +@all";
        let lines = ["port 0", "tls-auth-clients yes", "user default off", rights];
        let running = Running::start_by("tls-port", &lines, |folder| {
            certify(folder);
            let file = |name: &str| folder.join(name).display().to_string();
            vec![
                format!("tls-cert-file {}", file("server.pem")),
                format!("tls-key-file {}", file("server.key")),
                format!("tls-ca-cert-file {}", file("ca.pem")),
            ]
        });
        Self { running, is_encrypted: true }
    }

    /// Its address as a store is told it.
    pub(crate) fn url(&self) -> String {
        if self.is_encrypted {
            format!("rediss://{USER}@127.0.0.1:{}/2", self.port)
        } else {
            self.running.url()
        }
    }

    /// What a store of it is told.
    pub(crate) fn settings(&self) -> Settings {
        let settings = Settings::new(&self.url()).expect("an address");
        if !self.is_encrypted {
            return settings;
        }
        settings.trusting(self.file("ca.pem")).certified(self.file("client.pem"), self.file("client.key"))
    }

    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).expect("a file of the server's")
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> redis::Connection {
        let client = if self.is_encrypted {
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

/// Has openssl make an authority, and certify a server and a client.
fn certify(folder: &Path) {
    let openssl = |args: &str| {
        let mut command = Command::new("openssl");
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -batch";
        command.args(new.split(' ')).args(args.split(' ')).current_dir(folder);
        let ended = command.output().expect("openssl is installed: scripts/test does that");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    openssl("-keyout ca.key -out ca.pem -subj /CN=authority");
    for name in ["server", "client"] {
        openssl(&format!(
            "-CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE -subj /CN={name} \
             -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout {name}.key -out {name}.pem"
        ));
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
