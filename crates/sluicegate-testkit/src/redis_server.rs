//! Real servers of Redis or Valkey, each in a folder of its own, and gone with the test.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::port::Reserved;
use crate::wait;

/// Between two looks at another process.
const PAUSE: Duration = Duration::from_millis(5);

/// Who a store is to servers with access lists: the rights are those that the guide tells to give.
pub const USER: &str = "limits:secret";

/// Who the tests are to them.
pub const ADMIN: &str = "admin:adm1n";

/// A running `redis-server`.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Where other nodes of its Cluster reach it.
    pub bus: u16,
    /// Its configuration, its log, and what it keeps; with TLS its certificates too: `ca.pem`, and `client.pem` with
    /// `client.key`.
    pub folder: PathBuf,
    process: Option<Process>,
    is_encrypted: bool,
    /// Where its buckets are, as a path. A Cluster has but one.
    database: &'static str,
    /// Hold the ports while nobody listens.
    _reserved: [Reserved; 2],
}

/// A process that does not outlive this one, whatever ends it: another waits until the pipe between them is closed.
#[derive(Debug)]
struct Process {
    child: Child,
    guard: Child,
}

impl Process {
    fn start(command: &mut Command, folder: &Path) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.expect("a server is installed: scripts/test does that");
        let script = format!("read line && exit; kill -9 {}; rm -rf '{}'", child.id(), folder.display());
        let guard =
            Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
        Self { child, guard: guard.expect("a shell") }
    }

    fn end(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
        writeln!(self.guard.stdin.take().expect("piped"), "ended").expect("the guard reads");
        self.guard.wait().expect("a child can be waited for");
    }
}

/// A folder of this test's own.
fn folder() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("sluicegate-redis-{}-{count}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

impl Server {
    /// Starts one, with these lines of configuration besides its own; `BUS` in them is its port for other nodes.
    #[must_use]
    pub fn start(lines: &[&str]) -> Self {
        Self::start_by("port", lines, |_| Vec::new())
    }

    /// Starts one that speaks TLS only, with the rights of the [user](USER) that this guide tells, and the certificates of
    /// another server if it is one of several.
    #[must_use]
    pub fn start_encrypted(lines: &[&str], guide: &str, like: Option<&Self>) -> Self {
        let rights = rights(guide);
        let own = [
            "port 0",
            "tls-auth-clients yes",
            "user default off",
            "user admin on >adm1n ~* &* +@all",
            "masteruser admin",
            "masterauth adm1n",
            &rights,
        ];
        Self::start_by("tls-port", &[&own, lines].concat(), |folder| {
            match like {
                None => certify(folder),
                Some(like) => {
                    for name in CERTIFICATES {
                        fs::copy(like.folder.join(name), folder.join(name)).expect("a certificate");
                    }
                }
            }
            let file = |name: &str| folder.join(name).display().to_string();
            vec![
                format!("tls-cert-file {}", file("server.pem")),
                format!("tls-key-file {}", file("server.key")),
                format!("tls-ca-cert-file {}", file("ca.pem")),
            ]
        })
    }

    fn start_by(word: &str, lines: &[&str], more: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let reserved = [Reserved::new(), Reserved::new()];
        let [port, bus] = [0, 1].map(|place: usize| reserved[place].addr().port());
        let is_encrypted = word == "tls-port";
        let database = if is_encrypted && !lines.contains(&"cluster-enabled yes") { "/2" } else { "" };
        let mut server =
            Self { port, bus, folder: folder(), process: None, is_encrypted, database, _reserved: reserved };
        let mut all = vec![
            format!("{word} {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", server.folder.display()),
            "save \"\"".to_owned(),
            format!("logfile {}", server.folder.join("log").display()),
        ];
        all.extend(lines.iter().map(|line| line.replace("BUS", &bus.to_string())));
        all.extend(more(&server.folder));
        fs::write(server.folder.join("redis.conf"), all.join("\n")).expect("the folder is there");
        server.restart();
        server
    }

    /// Starts it again with what it has kept.
    pub fn restart(&mut self) {
        let mut command = Command::new(program());
        command.arg(self.folder.join("redis.conf"));
        self.process = Some(Process::start(&mut command, &self.folder));
        eventually("a server", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Ends it at once, as a loss of power would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    /// Stops it in the middle of what it does, or has it go on.
    pub fn freeze(&self, is_frozen: bool) {
        let process = self.process.as_ref().expect("a running server");
        let signal = if is_frozen { "STOP" } else { "CONT" };
        let command = format!("kill -s {signal} {}", process.child.id());
        let ended = Command::new("sh").args(["-c", &command]).status().expect("a shell");
        assert!(ended.success());
    }

    /// Its address as a store is told it; with the password, if it wants one.
    #[must_use]
    pub fn url(&self) -> String {
        if self.is_encrypted {
            format!("rediss://{USER}@127.0.0.1:{}{}", self.port, self.database)
        } else {
            format!("redis://127.0.0.1:{}", self.port)
        }
    }

    /// Whether it speaks TLS only.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// A file of its folder.
    #[must_use]
    pub fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).expect("a file of the server's")
    }

    /// Its address as the test itself is told it.
    #[must_use]
    pub fn own_url(&self) -> String {
        self.url().replace(USER, ADMIN)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // Left behind, it is in the system's folder for such things.
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Asks another process again and again, without a runtime.
#[expect(clippy::disallowed_methods, reason = "spaces the looks at another process")]
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let began = wait::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(wait::now() - began < wait::PATIENCE, "waited in vain for {what}");
        std::thread::sleep(PAUSE);
    }
}

/// The server's program: what the environment says, or Redis, or Valkey where there is no Redis.
fn program() -> PathBuf {
    if let Some(told) = std::env::var_os("SLUICEGATE_REDIS_SERVER") {
        return told.into();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&str| std::env::split_paths(&folders).any(|folder| folder.join(name).is_file());
    ["redis-server", "valkey-server"].into_iter().find(is_there).unwrap_or("redis-server").into()
}

/// The line of a configuration that gives a user the rights which a chapter of the guide tells to give; the prefixes are the tests'.
fn rights(guide: &str) -> String {
    let rule = guide.split_once("ACL SETUSER ").expect("a chapter that tells rights").1;
    let rule = rule.split_once("```").expect("a block that ends").0.replace("sluicegate:*", "test*");
    format!("user {}", rule.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What [`certify`] makes.
const CERTIFICATES: [&str; 5] = ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"];

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
