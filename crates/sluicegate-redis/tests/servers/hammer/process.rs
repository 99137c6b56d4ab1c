//! One of the processes that hammer.
#![expect(clippy::print_stdout, reason = "what a process has to say")]

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::lease::{self, Leased};
use sluicegate::outage::{self, Guarded, Policy};
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store};
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_redis::{Redis, Settings};
use sluicegate_testkit::wait;
use tokio::task::JoinSet;

use super::now;

/// How many tasks each of them has.
pub(crate) const TASKS: u64 = 2;

/// The keys of a [request over slots](Kind::Slots) beside the one that is hammered, and what they have.
pub(crate) const MANY: ([&[u8]; 2], &str) = ([b"a", b"b"], "stock 1000000000");

/// How long a call of the store may take where there are leases.
pub(crate) const CALL: Duration = Duration::from_millis(100);

/// How they ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The store, each time.
    Plain,
    /// The store, for a token of the key and for one of each of [some others](MANY), which are in other slots.
    Slots,
    /// Leases of this lifetime over a guard over the store, with so long a rest after each token.
    Leased { lifetime: Duration, rest: Duration },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Slots => f.write_str("slots"),
            Self::Leased { lifetime, rest } => write!(f, "{} {}", lifetime.as_millis(), rest.as_millis()),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map(Duration::from_millis).map_err(|_| text.to_owned());
        match (text, text.split_once(' ')) {
            ("plain", _) => Ok(Self::Plain),
            ("slots", _) => Ok(Self::Slots),
            (_, Some((lifetime, rest))) => {
                Ok(Self::Leased { lifetime: number(lifetime)?, rest: number(rest)? })
            }
            _ => Err(text.to_owned()),
        }
    }
}

/// A clock that is wrong.
#[derive(Clone)]
struct Ahead(TokioTime, u64);

impl Clock for Ahead {
    fn now(&self) -> u64 {
        self.0.now() + self.1
    }
}

impl Timer for Ahead {
    type Sleep = tokio::time::Sleep;

    fn sleep_until(&self, at: u64) -> Self::Sleep {
        self.0.sleep_until(at.saturating_sub(self.1))
    }
}

/// Has tasks take, again and again.
fn hammer(store: &(impl Store + Clone + 'static), quota: Quota, kind: Kind) -> JoinSet<()> {
    let rest = if let Kind::Leased { rest, .. } = kind { rest } else { Duration::ZERO };
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            let many = MANY.1.parse().expect("a quota");
            let mut charges = vec![Charge::new("hot", b"key", &quota)];
            if kind == Kind::Slots {
                charges.extend(MANY.0.map(|key| Charge::new("many", key, &many)));
            }
            loop {
                let asked = now();
                let pause = match store.take(&charges).await {
                    Ok(verdict) if verdict.is_granted() => {
                        println!("granted {asked} {}", now());
                        if rest.is_zero() {
                            continue;
                        }
                        rest
                    }
                    Ok(_) => Duration::from_millis(1),
                    Err(error) => {
                        println!("failed {} {error}", now());
                        Duration::from_millis(5)
                    }
                };
                wait::until(wait::now() + pause).await;
            }
        });
    }
    tasks
}

/// Until the process that has started this one wants its end.
async fn told_to_end() {
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    ended.await.expect("a thread that reads").expect("a pipe");
}

async fn leased(store: &Redis<Ahead>, timer: Ahead, quota: Quota, kind: Kind, lifetime: Duration) {
    let settings = outage::Settings::new(Policy::Closed).with_timeout(CALL);
    let (guarded, upkeep) = Guarded::new(store.clone(), timer.clone(), settings);
    tokio::spawn(upkeep.run());
    let settings = lease::Settings::default().with_lifetime(lifetime);
    let (leased, upkeep) = Leased::new(guarded.clone(), timer, settings);
    tokio::spawn(upkeep.run());
    let mut tasks = hammer(&leased, quota, kind);
    let telling = leased.clone();
    tasks.spawn(async move {
        let mut last = 0;
        loop {
            let held = telling.held();
            if held != last {
                println!("holds {} {held}", now());
                last = held;
            }
            wait::until(wait::now() + Duration::from_millis(2)).await;
        }
    });
    told_to_end().await;
    tasks.shutdown().await;
    leased.close().await;
    guarded.close().await;
}

/// One of the processes. Nothing to test where no test of faults has started it.
#[test]
fn run() {
    let Ok(told) = std::env::var("SLUICEGATE_HAMMER") else { return };
    let told: Vec<&str> = told.split('|').collect();
    let [url, prefix, quota, ahead, kind] = told[..] else { panic!("five parts: {told:?}") };
    let (quota, kind): (Quota, Kind) = (quota.parse().expect("a quota"), kind.parse().expect("a kind"));
    let ahead = ahead.parse::<u64>().expect("seconds") * 1_000_000_000;
    // What the test's runner has begun is no event.
    println!();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let settings = Settings::new(url).and_then(|settings| settings.prefix(prefix)).expect("an address");
        let timer = Ahead(TokioTime::new(), ahead);
        let store = Redis::open_on(settings, timer.clone());
        if let Kind::Leased { lifetime, .. } = kind {
            leased(&store, timer, quota, kind, lifetime).await;
        } else {
            let mut tasks = hammer(&store, quota, kind);
            told_to_end().await;
            tasks.shutdown().await;
        }
        store.close().await;
        std::io::stdout().flush().expect("a parent that reads");
        std::process::exit(0);
    });
}
