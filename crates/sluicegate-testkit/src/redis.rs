//! Real `redis-server` processes, each in a folder of its own, and gone with the test.
use crate::port::Reserved;
use crate::wait;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Between two looks at another process.
const PAUSE: Duration = Duration::from_millis(5);

/// A running `redis-server`, which keeps nothing on a disk unless it is told to.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Where other nodes of its Cluster reach it.
    pub bus: u16,
    /// Its folder.
    pub folder: PathBuf,
    process: Option<Process>,
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
        let child = child.expect("redis-server is installed: scripts/test does that");
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
    /// Starts one, with these lines of configuration besides its own; `BUS` in them is the port of its bus.
    #[must_use]
    pub fn start(lines: &[&str]) -> Self {
        Self::start_by("port", lines, |_| Vec::new())
    }

    /// The same, where its port is said by this `word`, with more lines once its folder is there.
    pub fn start_by(word: &str, lines: &[&str], more: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let reserved = [Reserved::new(), Reserved::new()];
        let [port, bus] = [0, 1].map(|place: usize| reserved[place].addr().port());
        let mut server = Self { port, bus, folder: folder(), process: None, _reserved: reserved };
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
        let mut command = Command::new("redis-server");
        command.arg(self.folder.join("redis.conf"));
        self.process = Some(Process::start(&mut command, &self.folder));
        eventually("a server", || TcpStream::connect(("127.0.0.1", self.port)).ok());
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

    /// Its address, where it speaks without TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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
