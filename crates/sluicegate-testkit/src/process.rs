//! The real binary as a child process.
use crate::client::Client;
use crate::metrics::Metrics;
use crate::wait::{eventually, within};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::thread;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How many lines of its log a failing test shows.
const SHOWN: usize = 40;

/// A running `sluicegate`. Killed when dropped; its log is printed if the test is failing then.
#[derive(Debug)]
pub struct Sluicegate {
    child: Child,
    pid: u32,
    log: watch::Receiver<Log>,
    /// Reads its standard error.
    stderr: JoinHandle<()>,
    /// Where it listens, in the order of its announcement.
    listeners: Vec<SocketAddr>,
    admin: SocketAddr,
}

/// What the process has printed.
#[derive(Debug, Default)]
struct Log {
    lines: Vec<String>,
    /// How many of stdout and stderr have ended.
    ended: usize,
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rss {
    /// Resident now.
    pub now: u64,
    /// The most that ever was resident.
    pub peak: u64,
}

/// What a process that ended by itself left behind.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none if a signal killed it.
    pub code: Option<i32>,
    /// What it printed to stdout.
    pub stdout: String,
    /// What it printed to stderr.
    pub stderr: String,
}

/// Runs `binary` to its end.
pub async fn run(binary: impl AsRef<OsStr>, args: &[&str]) -> Ended {
    let mut command = Command::new(binary);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = within("the command to end", command.output()).await.expect("the binary can be run");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

impl Sluicegate {
    /// Starts `binary` with `args`, and waits until it has announced where it and its admin server listen.
    pub async fn start(binary: impl AsRef<OsStr>, args: &[&str]) -> Self {
        // Nobody listens on port 0: it stands for an address that is not known yet.
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut started = Self::spawn(binary, args, unknown, unknown);
        let log = &mut started.log;
        let announced = within("the gateway to announce its addresses", async {
            let seen = log.wait_for(|log| addresses(log).is_some() || log.ended == 2).await;
            seen.ok().and_then(|log| addresses(&log))
        });
        let Some((listeners, admin)) = announced.await else {
            panic!("sluicegate {args:?} ended before it listened:\n{}", started.log());
        };
        started.listeners = listeners;
        started.admin = admin;
        started
    }

    /// The same for one that can't announce anything: waits until both addresses, which `args` must name, accept.
    pub async fn start_mute(
        binary: impl AsRef<OsStr>,
        args: &[&str],
        addr: SocketAddr,
        admin: SocketAddr,
    ) -> Self {
        let mut started = Self::spawn(binary, args, addr, admin);
        for client in [started.client(), started.admin()] {
            eventually("a gateway that says nothing to listen", async || {
                assert!(!started.ended(), "sluicegate {args:?} ended before it listened:\n{}", started.log());
                client.connect().await.ok()
            })
            .await;
        }
        started
    }

    fn spawn(binary: impl AsRef<OsStr>, args: &[&str], addr: SocketAddr, admin: SocketAddr) -> Self {
        let mut command = Command::new(binary);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("the binary can be run");
        let pid = child.id().expect("a child that was not waited for has an id");
        let (writer, log) = watch::channel(Log::default());
        tokio::spawn(read(child.stdout.take().expect("piped"), writer.clone()));
        let stderr = tokio::spawn(read(child.stderr.take().expect("piped"), writer));
        Self { child, pid, log, stderr, listeners: vec![addr], admin }
    }

    /// Closes the reading end of its standard error: from now on it can't write there.
    pub async fn close_stderr(&mut self) {
        self.stderr.abort();
        // Cancelled, or it had ended by itself; the pipe is closed either way.
        let _ = (&mut self.stderr).await;
    }

    /// Where the gateway listens; of several listeners the first.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// Where each of its listeners was when it started.
    #[must_use]
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Where the admin server listens.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// A client of the gateway.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.addr())
    }

    /// A client of the admin server.
    #[must_use]
    pub fn admin(&self) -> Client {
        Client::new(self.admin)
    }

    /// The counters now. Panics if they are not well-formed.
    pub async fn metrics(&self) -> Metrics {
        Metrics::parse(&self.admin().get("/metrics").await.text())
    }

    /// Waits until a metric has samples that carry `labels`, and their sum is `wanted`.
    pub async fn until_metric(&self, name: &str, labels: &[(&str, &str)], wanted: u64) {
        eventually(&format!("{name}{labels:?} to be there and {wanted}"), async || {
            let metrics = self.metrics().await;
            metrics.find(name, labels)?;
            (metrics.count(name, labels) == wanted).then_some(())
        })
        .await;
    }

    /// How many files the process may open: its soft limit.
    #[must_use]
    pub fn file_limit(&self) -> u64 {
        let path = format!("/proc/{}/limits", self.pid);
        let limits = std::fs::read_to_string(path).expect("the process runs");
        let soft =
            limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
        soft.expect("Linux has the limit").parse().expect("a number of files")
    }

    /// The process's memory.
    #[must_use]
    pub fn rss(&self) -> Rss {
        let path = format!("/proc/{}/status", self.pid);
        let status = std::fs::read_to_string(path).expect("the process runs");
        let bytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux has the field");
            let kib = line.trim().trim_end_matches(" kB");
            kib.parse::<u64>().expect("a number of kibibytes") * 1024
        };
        Rss { now: bytes("VmRSS:"), peak: bytes("VmHWM:") }
    }

    /// Sends the signal of this name, such as `TERM`.
    pub async fn signal(&self, name: &str) {
        // The shell's own `kill`, which is there when no package with the command is.
        let ended = run("sh", &["-c", &format!("kill -s {name} {}", self.pid)]).await;
        assert_eq!(ended.code, Some(0), "kill -s {name}: {}", ended.stderr);
    }

    /// Waits for the process's end.
    pub async fn wait(&mut self) -> ExitStatus {
        within("the gateway to exit", self.child.wait()).await.expect("a child can be waited for")
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_some()
    }

    /// Waits until it has printed a line that contains each of `parts`, and returns the line.
    pub async fn until_log(&self, parts: &[&str]) -> String {
        let mut log = self.log.clone();
        let wanted = |line: &&String| parts.iter().all(|part| line.contains(part));
        let what = format!("{parts:?} in the log");
        let found = within(&what, async {
            let seen = log.wait_for(|log| log.lines.iter().any(|line| wanted(&line)) || log.ended == 2).await;
            seen.ok().and_then(|log| log.lines.iter().find(wanted).cloned())
        });
        found.await.unwrap_or_else(|| panic!("no line with {parts:?} in the log:\n{}", self.log()))
    }

    /// What it has printed so far, both streams in the order of their arrival.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.borrow().lines.join("\n")
    }
}

impl Drop for Sluicegate {
    #[expect(clippy::print_stderr, reason = "a failing test shows what the gateway said")]
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log.borrow();
            let skipped = log.lines.len().saturating_sub(SHOWN);
            let shown = log.lines[skipped..].join("\n    ");
            eprintln!("the log of sluicegate (process {}) after {skipped} lines:\n    {shown}", self.pid);
        }
    }
}

async fn read(stream: impl AsyncRead + Unpin, log: watch::Sender<Log>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.send_modify(|log| log.lines.push(line));
    }
    log.send_modify(|log| log.ended += 1);
}

/// The gateway's addresses and the admin server's, once all were announced: the admin server's is the last.
fn addresses(log: &Log) -> Option<(Vec<SocketAddr>, SocketAddr)> {
    let after = |line: &String, words: &str| {
        let (_, rest) = line.split_once(words)?;
        rest.split(|c: char| c.is_whitespace() || c == '/').next()?.parse().ok()
    };
    let admin = log.lines.iter().find_map(|line| after(line, "admin on http://"))?;
    let schemes = ["listening on http://", "listening on https://"];
    let of_line = |line: &String| schemes.iter().find_map(|words| after(line, words));
    let listeners: Vec<SocketAddr> = log.lines.iter().filter_map(of_line).collect();
    (!listeners.is_empty()).then_some((listeners, admin))
}
