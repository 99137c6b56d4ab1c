//! Real servers, each in a folder of its own, and gone with the test.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sluicegate_redis::Settings;
use sluicegate_testkit::port::Reserved;
use sluicegate_testkit::wait;

/// Between two looks whether a server answers.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// A running `redis-server`.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    process: Option<Process>,
    /// Holds the port while nobody listens.
    _reserved: Reserved,
}

/// A process that does not outlive this one, whatever ends it: another waits until the pipe between them is closed.
#[derive(Debug)]
struct Process {
    child: Child,
    guard: Child,
}

impl Process {
    fn start(command: &mut Command, folder: &Path) -> Self {
        let child =
            command.stdin(Stdio::null()).spawn().expect("redis-server is installed: scripts/test does that");
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
    /// Starts one, with these lines of configuration besides its own.
    pub(crate) fn start(lines: &[&str]) -> Self {
        let reserved = Reserved::new();
        let port = reserved.addr().port();
        let mut server = Self { port, folder: folder(), process: None, _reserved: reserved };
        let own = [
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", server.folder.display()),
            "save \"\"".to_owned(),
            format!("logfile {}", server.folder.join("log").display()),
        ];
        let lines: Vec<&str> = own.iter().map(String::as_str).chain(lines.iter().copied()).collect();
        fs::write(server.folder.join("redis.conf"), lines.join("\n")).expect("the folder is there");
        server.restart();
        server
    }

    /// Starts it again with what it has kept.
    pub(crate) fn restart(&mut self) {
        let mut command = Command::new("redis-server");
        command.arg(self.folder.join("redis.conf"));
        self.process = Some(Process::start(&mut command, &self.folder));
        self.wait();
    }

    /// Ends it at once, as a loss of power would.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    /// Waits until it listens.
    #[expect(clippy::disallowed_methods, reason = "spaces the looks at another process")]
    fn wait(&mut self) {
        let began = wait::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(wait::now() - began < wait::PATIENCE, "no server:\n{}", self.log());
            std::thread::sleep(PAUSE);
        }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url()).expect("an address").get_connection().expect("a server that answers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // Left behind, it is in the system's folder for such things.
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// One server for all tests that do it no harm.
pub(crate) fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&[]))
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
