//! A storm: wards that panic, fail, hang, stall, leave tasks behind and block threads, all at once, for as long as the bound on
//! restarts lets them.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::runtime::Handle as Runtime;

use super::blocking::drive;
use super::*;
use crate::timer::{ManualTime, Timer};

const WARDS: u64 = 12;
/// So many restarts, in such a span of milliseconds.
const MOST: usize = 200;
const WITHIN: u64 = 2000;

/// What happened, in its order: starts, and what was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happened {
    Started {
        ward: u64,
        generation: u64,
        at: u64,
    },
    Published {
        ward: u64,
        generation: u64,
    },
    /// It was done, and nobody had asked it to end.
    Done {
        ward: u64,
    },
}

/// One in four runs once, one in four until it is done.
fn when(ward: u64) -> When {
    match ward % 4 {
        1 => When::OnFailure,
        2 => When::Never,
        _ => When::Always,
    }
}

#[derive(Clone, Default)]
struct World {
    happened: Arc<Mutex<Vec<Happened>>>,
    /// Publications that were refused.
    refused: Arc<AtomicU64>,
    /// What releases threads that block; none of them holds it, so that a test which fails ends.
    blocked: std::sync::Weak<Mutex<Vec<Sender<()>>>>,
    /// Threads that have been asked for, and those that have begun.
    asked: Arc<AtomicU64>,
    begun: Arc<AtomicU64>,
}

impl World {
    fn publish(&self, token: &Token<u64>, ward: u64) {
        let generation = token.generation();
        let happened = || self.happened.lock().unwrap().push(Happened::Published { ward, generation });
        if token.publish(happened).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn thread(&self) -> Receiver<()> {
        let (release, released) = channel();
        self.blocked.upgrade().unwrap().lock().unwrap().push(release);
        self.asked.fetch_add(1, Ordering::AcqRel);
        released
    }
}

/// A number that is the same for the same ward and generation.
fn number(seed: u64, ward: u64, generation: u64) -> u64 {
    let mut x =
        seed ^ ward.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ generation.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    for _ in 0..3 {
        x ^= x >> 30;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
    }
    x
}

/// One life of a ward: it works, leaves somebody behind who goes on publishing, and goes wrong.
async fn live(
    ward: Ward<u64, ManualTime>,
    who: u64,
    seed: u64,
    time: ManualTime,
    world: World,
) -> Result<(), String> {
    let random = number(seed, who, ward.generation());
    // A task that nobody looks after: it publishes for as long as it can, and a while longer.
    let (token, left_behind, sleeper) = (ward.token().clone(), world.clone(), time.clone());
    tokio::spawn(async move {
        let mut more = 5;
        while more > 0 {
            left_behind.publish(&token, who);
            more -= u32::from(!token.is_good());
            sleeper.sleep_for(20 * MILLI).await;
        }
    });
    for _ in 0..random % 7 {
        ward.beater().progress();
        world.publish(ward.token(), who);
        time.sleep_for(30 * MILLI).await;
    }
    match random / 7 % 6 {
        // Without the message that a panic prints.
        0 => std::panic::resume_unwind(Box::new("on purpose")),
        1 => Err("on purpose".to_owned()),
        2 => {
            if ward.stop().cause().is_none() {
                world.happened.lock().unwrap().push(Happened::Done { ward: who });
            }
            Ok(())
        }
        3 => pending().await,
        4 => {
            ward.beater().beating(ms(50), pending::<()>()).await;
            Ok(())
        }
        // The first ward owns work that blocks; the others hang instead.
        _ if who == 0 => {
            let (token, released, waits) = (ward.token().clone(), world.thread(), world.clone());
            ward.blocking(move || {
                waits.begun.fetch_add(1, Ordering::AcqRel);
                let _ = released.recv();
                waits.publish(&token, 0);
            })
            .await;
            Ok(())
        }
        _ => pending().await,
    }
}

async fn storm(strategy: Strategy, seed: u64) {
    let (time, blocked) = (ManualTime::new(), Arc::default());
    let world = World { blocked: Arc::downgrade(&blocked), ..World::default() };
    let settings = patient()
        .with_strategy(strategy)
        .with_intensity(u32::try_from(MOST).unwrap(), ms(WITHIN))
        .unwrap()
        .with_backoff(Backoff::new(ms(4), ms(64)).unwrap());
    let happened = Arc::clone(&world.happened);
    let leaks = Arc::new(AtomicU64::new(0));
    let leaked = Arc::clone(&leaks);
    let mut steward = Steward::new(settings, time.clone()).with_seed(seed).with_report(move |report| {
        match report.event() {
            Event::Started => {
                let (ward, generation) = (report.ward().parse().unwrap(), report.generation());
                let at = report.at() / MILLI;
                happened.lock().unwrap().push(Happened::Started { ward, generation, at });
            }
            Event::Leaked { .. } => {
                leaked.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    });
    let before = Runtime::current().metrics().num_alive_tasks();
    for who in 0..WARDS {
        let watching = Watching::new(rule(100)).with_progress(rule(200));
        let (time, world) = (time.clone(), world.clone());
        let spec = Spec::new(&who.to_string()).watched(watching).with_when(when(who));
        steward.add(spec, move |ward| live(ward, who, seed, time.clone(), world.clone()));
    }
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    // Virtual time waits for real threads to begin.
    for step in 1..=600 {
        drive(&time, 0, || world.asked.load(Ordering::Acquire) == world.begun.load(Ordering::Acquire)).await;
        time.set(step * 10 * MILLI);
    }
    drive(&time, 0, || world.asked.load(Ordering::Acquire) == world.begun.load(Ordering::Acquire)).await;
    assert!(!run.is_finished(), "it is within the bound");
    handle.shut_down();
    drive(&time, 60_000 * MILLI, || run.is_finished()).await;
    let finished = run.await.unwrap().unwrap();

    // What is left is what can't be stopped, and what wards have left behind, which ends by itself.
    let counts = handle.counts();
    assert_eq!((finished.leaking, counts.leaked), (counts.leaking, leaks.load(Ordering::Relaxed)));
    assert!(counts.leaked >= 1 && counts.restarts > 100, "no storm: {counts:?}");
    let published = world.happened.lock().unwrap().len();
    blocked.lock().unwrap().clear();
    drive(&time, 120_000 * MILLI, || Runtime::current().metrics().num_alive_tasks() == before).await;
    let happened = std::mem::take(&mut *world.happened.lock().unwrap());
    assert_eq!(happened.len(), published, "nobody publishes after the shutdown");
    assert!(world.refused.load(Ordering::Relaxed) > 100, "nobody tried");
    audit(&happened, strategy);
}

/// No zombie publishes, and no span has more restarts than it may.
fn audit(happened: &[Happened], strategy: Strategy) {
    let mut lives = BTreeMap::new();
    let (mut restarts, mut done) = (Vec::new(), Vec::new());
    for event in happened {
        match *event {
            Happened::Started { ward, generation, at } => {
                assert_eq!(lives.insert(ward, generation).unwrap_or(0) + 1, generation);
                assert!(generation == 1 || when(ward) != When::Never, "never again");
                assert!(
                    when(ward) != When::OnFailure || !done.contains(&ward),
                    "once it is done, it stays so"
                );
                if generation > 1 {
                    restarts.push(at);
                }
            }
            Happened::Done { ward } => done.push(ward),
            Happened::Published { ward, generation } => {
                assert_eq!(lives[&ward], generation, "published by one who was replaced");
            }
        }
    }
    assert!(!done.is_empty(), "nobody was ever done");
    if strategy == Strategy::OneForAll {
        restarts.dedup();
    }
    for (first, at) in restarts.iter().enumerate() {
        let near = restarts[first..].iter().filter(|then| **then < at + WITHIN).count();
        assert!(near <= MOST, "{near} restarts from {at} on");
    }
}

#[tokio::test]
async fn a_storm_one_for_one() {
    storm(Strategy::OneForOne, 7).await;
}

#[tokio::test]
async fn a_storm_all_for_one() {
    storm(Strategy::OneForAll, 11).await;
}

/// The bound is exact: the last restart that is allowed is made, and the next is not.
#[tokio::test(start_paused = true)]
async fn a_storm_ends_at_the_bound_and_not_before() {
    for most in [0_u32, 1, 5, 50] {
        let (time, lines) = (TokioTime::new(), Lines::default());
        let settings =
            Settings::default().with_intensity(most, ms(10_000)).unwrap().with_backoff(Backoff::NONE);
        let mut steward = Steward::new(settings, time).with_report(lines.listener());
        for who in 0..5_u64 {
            steward.add(Spec::new("it"), move |_: Ward<()>| async move {
                time.sleep_for((who + 3) * MILLI).await;
                Err::<(), _>("on purpose")
            });
        }
        let handle = steward.handle();
        assert!(steward.run().await.is_err());
        assert_eq!(handle.counts().restarts, u64::from(most));
        let last = lines.texts().pop().unwrap();
        assert!(last.ends_with("too many restarts: all wards are stopped"), "{last}");
    }
}
