//! Processes that all take from one key as fast as they can, and what they were granted when.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use sluicegate::clock::Clock;
use sluicegate::quota::{Quota, Refill};
use sluicegate::store::{Charge, Store};
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_redis::{Redis, Settings};
use sluicegate_testkit::wait;

use crate::server::eventually;

/// How many processes hammer.
const PROCESSES: usize = 4;

/// How long service may take to be back after a fault is over.
pub(crate) const BACK: Duration = Duration::from_secs(5);

/// Microseconds since 1970: what all processes of this machine agree on.
#[expect(
    clippy::disallowed_methods,
    reason = "the one clock that several processes share, and the server too"
)]
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_micros()).expect("before the year 586912")
}

/// What a process has to say.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A token was asked for, and had.
    Granted { asked: u64, had: u64 },
    /// There was an error.
    Failed(u64, String),
}

/// The processes.
pub(crate) struct Hammer {
    processes: Vec<(Child, JoinHandle<()>)>,
    events: Arc<Mutex<Vec<Event>>>,
    quota: Quota,
    began: u64,
}

impl Hammer {
    /// Starts them on a quota, which must be smooth. The clock of one of them is an hour ahead.
    pub(crate) fn start(url: &str, prefix: &str, quota: &str) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let program = std::env::current_exe().expect("this program");
        let began = now();
        let start = |place: usize| {
            let ahead = if place == 0 { "3600" } else { "0" };
            let mut child = Command::new(&program)
                .args(["--exact", "hammer::process", "--nocapture"])
                .env("SLUICEGATE_HAMMER", [url, prefix, quota, ahead].join("|"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("this program can be run");
            let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
            let events = Arc::clone(&events);
            let reader = std::thread::spawn(move || {
                for event in lines.map_while(Result::ok).filter_map(|line| read(&line)) {
                    events.lock().expect("no panic").push(event);
                }
            });
            (child, reader)
        };
        let processes = (0..PROCESSES).map(start).collect();
        let hammer = Self { processes, events, quota: quota.parse().expect("a quota"), began };
        hammer.granted_after(now());
        hammer
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no panic").clone()
    }

    /// Waits for a token that was asked for after an instant, and says when it was had.
    pub(crate) fn granted_after(&self, instant: u64) -> u64 {
        eventually("a token", || {
            self.events().iter().rev().find_map(|event| match event {
                Event::Granted { asked, had } if *asked > instant => Some(*had),
                _ => None,
            })
        })
    }

    /// Waits for an error after an instant that says this.
    pub(crate) fn failed_after(&self, instant: u64, what: &str) {
        eventually(what, || {
            let is_it = |event: &Event| matches!(event, Event::Failed(at, text) if *at > instant && text.contains(what));
            self.events().iter().any(is_it).then_some(())
        });
    }

    /// Waits until service is back, which must be soon; prints how long it took.
    #[expect(clippy::print_stderr, reason = "figures for people")]
    pub(crate) fn back(&self, what: &str) {
        let over = now();
        let took = Duration::from_micros(self.granted_after(over) - over);
        eprintln!("{what}: back after {took:?}");
        assert!(took < BACK, "{what}: {took:?}");
    }

    /// Lets them hammer on for so many tokens more.
    pub(crate) fn go_on(&self, tokens: usize) {
        let before = self.count();
        eventually("more tokens", || (self.count() >= before + tokens).then_some(()));
    }

    fn count(&self) -> usize {
        self.events().iter().filter(|event| matches!(event, Event::Granted { .. })).count()
    }

    /// Ends them, and says how many tokens beyond C + q·t/I were granted in any span, at the most.
    #[expect(clippy::print_stderr, reason = "figures for people")]
    pub(crate) fn over(mut self, what: &str) -> u64 {
        for (child, _) in &mut self.processes {
            // Its end is what they wait for.
            drop(child.stdin.take());
        }
        for (child, reader) in self.processes.drain(..) {
            let output = child.wait_with_output().expect("a child can be waited for");
            assert!(output.status.success());
            reader.join().expect("a reader that ends");
        }
        let events = self.events();
        let mut granted: Vec<(u64, u64)> = events
            .iter()
            .filter_map(|event| match event {
                Event::Granted { asked, had } => Some((*asked, *had)),
                Event::Failed(..) => None,
            })
            .collect();
        granted.sort_by_key(|(_, had)| *had);
        let Refill::Smooth { tokens, interval } = self.quota.refill() else { panic!("a smooth quota") };
        let (tokens, interval) = (u128::from(tokens), u128::from(interval.get()) / 1000);
        let (capacity, mut over) = (u128::from(self.quota.capacity()), 0);
        // Each span from when one was asked for to when another was had: what was asked for and had in it, was granted in it.
        for (from, _) in &granted {
            let within = granted.iter().filter(|(asked, had)| asked >= from && had > from);
            for (count, (_, had)) in (1_u128..).zip(within) {
                let allowed = capacity + tokens * u128::from(had - from) / interval;
                over = over.max(count.saturating_sub(allowed));
            }
        }
        let mut errors = std::collections::BTreeMap::<&str, u64>::new();
        for event in &events {
            if let Event::Failed(_, what) = event {
                *errors.entry(what).or_default() += 1;
            }
        }
        for (error, count) in errors {
            eprintln!("{what}: {count} times: {error}");
        }
        let span = Duration::from_micros(now() - self.began);
        let failed = events.len() - granted.len();
        eprintln!(
            "{what}: {} granted in {span:?} of {}, {failed} errors, {over} over",
            granted.len(),
            self.quota
        );
        u64::try_from(over).expect("few")
    }
}

impl Drop for Hammer {
    fn drop(&mut self) {
        for (child, _) in &mut self.processes {
            // It may have ended.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn read(line: &str) -> Option<Event> {
    let mut words = line.splitn(3, ' ');
    match (words.next()?, words.next()?.parse().ok()?, words.next()?) {
        ("granted", asked, had) => Some(Event::Granted { asked, had: had.parse().ok()? }),
        ("failed", at, what) => Some(Event::Failed(at, what.to_owned())),
        _ => None,
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

/// One of the processes. Nothing to test where no test of faults has started it.
#[test]
fn process() {
    let Ok(told) = std::env::var("SLUICEGATE_HAMMER") else { return };
    let told: Vec<&str> = told.split('|').collect();
    let [url, prefix, quota, ahead] = told[..] else { panic!("four parts: {told:?}") };
    let quota: Quota = quota.parse().expect("a quota");
    let ahead = ahead.parse::<u64>().expect("seconds") * 1_000_000_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let settings = Settings::new(url).and_then(|settings| settings.prefix(prefix)).expect("an address");
        let store = Redis::open_on(settings, Ahead(TokioTime::new(), ahead));
        for _ in 0..2 {
            let store = store.clone();
            tokio::spawn(async move {
                let charge = Charge::new("hot", b"key", &quota);
                loop {
                    let asked = now();
                    let pause = match store.take(&[charge]).await {
                        Ok(verdict) if verdict.is_granted() => {
                            println!("granted {asked} {}", now());
                            continue;
                        }
                        Ok(_) => 1,
                        Err(error) => {
                            println!("failed {} {error}", now());
                            5
                        }
                    };
                    std::io::stdout().flush().expect("a parent that reads");
                    wait::until(wait::now() + Duration::from_millis(pause)).await;
                }
            });
        }
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        ended.await.expect("a thread that reads").expect("a pipe");
        std::process::exit(0);
    });
}
