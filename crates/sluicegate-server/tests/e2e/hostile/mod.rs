//! Hostile clients. Each test states a bound that the attack can't exceed, and reports a figure: how well-behaved clients
//! fared before and during it, and what memory the process took. The figures are printed (`--nocapture`) and kept in
//! `target/hostile.txt`, a line for each attack; no test asserts a time. With figures in mind, run them one by one:
//! `cargo test -p sluicegate-server --test e2e hostile -- --nocapture --test-threads 1`.
//!
//! The attacker, the well-behaved clients and the upstream share the test's machine with the gateway.

mod frames;
mod framing;
mod handshakes;
mod headers;
mod identity;
mod keys;
mod late;
mod many;
mod others;
mod slow;
mod tls;
mod two;

use crate::SLUICEGATE;
use others::Others;
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// A mebibyte.
const MIB: u64 = 1 << 20;

/// What a connection may take besides its buffers: its task, timers and the allocator's overhead, in a debug build.
const CONNECTION: u64 = 16 << 10;

/// What an HTTP/1 connection may hold of a body on its way, in either direction (hyper's bound on a buffer).
const BUFFER: u64 = 408 << 10;

/// What well-behaved clients and the process's own state may add meanwhile: the allocator's pages, threads' caches.
const SLACK: u64 = 16 * MIB;

/// What the allocator keeps besides where buffers grow large: pages of each size they had on the way, on each thread.
const GROWN: u64 = 32 * MIB;

/// An attack on a gateway, with others at work.
#[derive(Debug)]
struct Siege<'g> {
    name: &'static str,
    gateway: &'g Sluicegate,
    others: Others,
    before: Duration,
    memory: u64,
}

impl<'g> Siege<'g> {
    /// Sees how others fare without an attack, and has them go on.
    async fn begin(name: &'static str, gateway: &'g Sluicegate) -> Self {
        Self::begin_with(name, gateway, Others::of(gateway.client(), false)).await
    }

    /// The same where others speak TLS.
    async fn begin_in_tls(name: &'static str, gateway: &'g Sluicegate) -> Self {
        Self::begin_with(name, gateway, Others::of(gateway.client(), true)).await
    }

    async fn begin_with(name: &'static str, gateway: &'g Sluicegate, others: Others) -> Self {
        let calm = others.calm().await;
        let memory = gateway.rss().now;
        Self { name, gateway, before: p99(calm), memory, others }
    }

    /// Others are served while the attack goes on: so many of them, from now.
    async fn others_are_served(&self, requests: usize) {
        self.others.served(requests).await;
    }

    /// Ends it: others were all answered as they should, and the process has not grown by more than `bound` bytes, and
    /// [`SLACK`].
    /// `outcome` is what came of the attack, in words.
    async fn end(self, bound: u64, outcome: &str) {
        let Self { name, gateway, others, before, memory } = self;
        let bound = bound + SLACK;
        // Some at least came after the attack was at its height.
        let during = others.end(50).await;
        let (asked, during) = (during.len(), p99(during));
        let peak = gateway.rss().peak;
        let grown = peak.saturating_sub(memory);
        let mib = |bytes: u64| format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB);
        let mut line =
            format!("hostile {name}: others' p99 before {before:.1?} during {during:.1?} ({asked} of them)");
        write!(line, ", memory before {} during {} (bound +{})", mib(memory), mib(peak), mib(bound)).unwrap();
        writeln!(line, "; {outcome}").unwrap();
        report(name, &line);
        assert!(
            grown <= bound,
            "{name}: the process grew by {}, and the bound is {}",
            mib(grown),
            mib(bound)
        );
    }
}

/// The time that all but one in a hundred were within.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

/// Prints a figure, and keeps it in place of the one an earlier run left.
#[expect(clippy::print_stdout, reason = "a figure is for whoever runs the tests")]
fn report(name: &str, line: &str) {
    static FILE: Mutex<()> = Mutex::new(());
    print!("{line}");
    let _one_at_a_time = FILE.lock().unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("hostile.txt");
    let had = std::fs::read_to_string(&path).unwrap_or_default();
    let own = format!("hostile {name}: ");
    let mut kept: Vec<&str> = had.lines().filter(|had| !had.starts_with(&own)).collect();
    kept.push(line.trim_end());
    kept.sort_unstable();
    let mut file = std::fs::File::create(&path).unwrap();
    writeln!(file, "{}", kept.join("\n")).unwrap();
}

/// Starts the gateway with a configuration file: this, and where the upstream is.
async fn serve_config(upstream: &Upstream, name: &str, settings: &str) -> Sluicegate {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{name}.toml"));
    // Tables come behind the keys that stand alone.
    let (alone, tables) = settings.split_once("\n[").unwrap();
    let own =
        format!("[[listener]]\naddress = '127.0.0.1:0'\n[upstream.default]\nurl = '{}'\n", upstream.url());
    std::fs::write(&file, format!("admin = '127.0.0.1:0'\n{alone}\n{own}[{tables}")).unwrap();
    Sluicegate::start(SLUICEGATE, &["serve", "--config", file.to_str().unwrap()]).await
}

/// How many, of what a full run does: `SLUICEGATE_HEAVY` has the heavy variants run.
fn heavy(usually: usize, heavy: usize) -> usize {
    if std::env::var_os("SLUICEGATE_HEAVY").is_some() { heavy } else { usually }
}
