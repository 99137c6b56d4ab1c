//! Processes that all take from one key as fast as they can, and what they were granted when.

mod process;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use sluicegate::quota::{Quota, Refill};

use crate::server::eventually;
pub(crate) use process::{CALL, Kind, MANY, TASKS};

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
    /// So many tokens are held in advance.
    Holds(u64),
    /// There was an error.
    Failed(u64, String),
}

/// The processes, each with its number: the longest started first.
pub(crate) struct Hammer {
    processes: Vec<(usize, Child, JoinHandle<()>)>,
    started: usize,
    /// What the processes of these numbers have said.
    events: Arc<Mutex<Vec<(usize, Event)>>>,
    /// Where the store is, its prefix, and the quota.
    told: [String; 3],
    kind: Kind,
    quota: Quota,
    began: u64,
}

impl Hammer {
    /// Starts them on a quota, which must be smooth. The clock of one of them is an hour ahead.
    pub(crate) fn start(url: &str, prefix: &str, quota: &str) -> Self {
        Self::start_as(Kind::Plain, url, prefix, quota)
    }

    /// The same, asking in this way.
    pub(crate) fn start_as(kind: Kind, url: &str, prefix: &str, quota: &str) -> Self {
        let mut hammer = Self {
            processes: Vec::new(),
            started: 0,
            events: Arc::default(),
            told: [url, prefix, quota].map(str::to_owned),
            kind,
            quota: quota.parse().expect("a quota"),
            began: now(),
        };
        (0..PROCESSES).for_each(|_| hammer.start_one());
        hammer.granted_after(now());
        hammer
    }

    fn start_one(&mut self) {
        let number = self.started;
        self.started += 1;
        let ahead = if number == 0 { "3600" } else { "0" };
        let [url, prefix, quota] = &self.told;
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "hammer::process::run", "--nocapture"])
            .env("SLUICEGATE_HAMMER", [url, prefix, quota, ahead, &self.kind.to_string()].join("|"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program can be run");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let events = Arc::clone(&self.events);
        let reader = std::thread::spawn(move || {
            for event in lines.map_while(Result::ok).filter_map(|line| read(&line)) {
                events.lock().expect("no panic").push((number, event));
            }
        });
        self.processes.push((number, child, reader));
    }

    /// Kills one, by signal 9, and starts another. Says its number, and when it ended at the latest.
    pub(crate) fn kill_one(&mut self) -> (usize, u64) {
        let (number, mut child, reader) = self.processes.remove(0);
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
        let ended = now();
        reader.join().expect("a reader that ends");
        self.start_one();
        (number, ended)
    }

    /// The number of the one that is killed next.
    pub(crate) fn next(&self) -> usize {
        self.processes[0].0
    }

    /// How many tokens this one has said that it holds, last.
    pub(crate) fn holds(&self, number: usize) -> u64 {
        let said = |(of, event): &(usize, Event)| match event {
            Event::Holds(tokens) if *of == number => Some(*tokens),
            _ => None,
        };
        self.events.lock().expect("no panic").iter().rev().find_map(said).unwrap_or(0)
    }

    /// How many tokens this one was granted since.
    pub(crate) fn granted_to(&self, number: usize, since: u64) -> u64 {
        let is_it = |(of, event): &&(usize, Event)| matches!(event, Event::Granted { had, .. } if *of == number && *had >= since);
        self.events.lock().expect("no panic").iter().filter(is_it).count() as u64
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no panic").iter().map(|(_, event)| event.clone()).collect()
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

    /// Ends them, each with nothing left under way, and says when each token that was granted was asked for and had, in the order
    /// in which they were had.
    pub(crate) fn end(&mut self) -> Vec<(u64, u64)> {
        for (_, child, _) in &mut self.processes {
            // Its end is what they wait for.
            drop(child.stdin.take());
        }
        for (_, child, reader) in self.processes.drain(..) {
            let output = child.wait_with_output().expect("a child can be waited for");
            assert!(output.status.success());
            reader.join().expect("a reader that ends");
        }
        let mut granted: Vec<(u64, u64)> = self
            .events()
            .iter()
            .filter_map(|event| match event {
                Event::Granted { asked, had } => Some((*asked, *had)),
                _ => None,
            })
            .collect();
        granted.sort_by_key(|(_, had)| *had);
        granted
    }

    /// How many errors there were, and of which kinds, printed.
    #[expect(clippy::print_stderr, reason = "figures for people")]
    pub(crate) fn errors(&self, what: &str) -> u64 {
        let mut errors = std::collections::BTreeMap::<String, u64>::new();
        for event in self.events() {
            if let Event::Failed(_, what) = event {
                *errors.entry(what).or_default() += 1;
            }
        }
        for (error, count) in &errors {
            eprintln!("{what}: {count} times: {error}");
        }
        errors.values().sum()
    }

    /// Ends them, and says how many tokens beyond C + q·t/I were granted in any span, at the most.
    pub(crate) fn over(mut self, what: &str) -> u64 {
        self.over_late(what, Duration::ZERO)
    }

    /// The same, where a token may be used so much later than it was taken: beyond C + q·(t + late)/I.
    #[expect(clippy::print_stderr, reason = "figures for people")]
    pub(crate) fn over_late(&mut self, what: &str, late: Duration) -> u64 {
        let granted = self.end();
        let failed = self.errors(what);
        let [over, over_late] = over(&self.quota, &granted, [Duration::ZERO, late]);
        let span = Duration::from_micros(now() - self.began);
        let late =
            if late.is_zero() { String::new() } else { format!("; {over_late} over with {late:?} more") };
        eprintln!(
            "{what}: {} granted in {span:?} of {}, {failed} errors, {over} over{late}",
            granted.len(),
            self.quota
        );
        over_late
    }
}

/// How many tokens beyond C + q·(t + late)/I were granted in any span, at the most.
fn over<const N: usize>(quota: &Quota, granted: &[(u64, u64)], late: [Duration; N]) -> [u64; N] {
    let Refill::Smooth { tokens, interval } = quota.refill() else { panic!("a smooth quota") };
    let (tokens, interval) = (u128::from(tokens), u128::from(interval.get()) / 1000);
    let (capacity, mut over) = (u128::from(quota.capacity()), [0; N]);
    // Each span from when one was asked for to when another was had: what was asked for and had in it, was granted in it.
    for (from, _) in granted {
        let within = granted.iter().filter(|(asked, had)| asked >= from && had > from);
        for (count, (_, had)) in (1_u128..).zip(within) {
            for (over, late) in over.iter_mut().zip(late) {
                let allowed = capacity + tokens * (u128::from(had - from) + late.as_micros()) / interval;
                *over = count.saturating_sub(allowed).max(*over);
            }
        }
    }
    over.map(|over| u64::try_from(over).expect("few"))
}

impl Drop for Hammer {
    fn drop(&mut self) {
        for (_, child, _) in &mut self.processes {
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
        ("holds", _, tokens) => Some(Event::Holds(tokens.parse().ok()?)),
        ("failed", at, what) => Some(Event::Failed(at, what.to_owned())),
        _ => None,
    }
}
