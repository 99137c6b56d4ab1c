//! Hearing of others' life, beating beside work, and being admitted to publish.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::detector::{End, Life, Rule, Watching};
use sluicegate::fence::Fence;
use sluicegate::heartbeat::{Beater, pair};
use sluicegate::permits::{Permit, Permits};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};

const MILLI: u64 = 1_000_000;

/// Dead after 10 ns.
fn watching() -> Watching {
    Watching::new(Rule::timeout(Duration::from_nanos(10)).unwrap())
}

struct Heard {
    time: ManualTime,
    beater: Option<Beater<ManualTime>>,
}

impl Heard {
    fn is_as_found(&self) {
        assert_eq!(self.time.next(), None, "a sleep is left behind");
    }
}

/// Three looks in vain (the first sign of all wakes too), and what `last` makes happen is told.
fn changes(last: impl Fn(&mut Heard), wanted: Life) {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let time = ManualTime::new();
            let (beater, mut listener) = pair(&watching(), time.clone());
            (Heard { time, beater: Some(beater) }, async move { listener.changed().await })
        },
        |heard, step| {
            if step == 1 {
                heard.time.set(5);
                heard.beater.as_ref().unwrap().beat();
                return Turn::MustWake;
            }
            if step == 2 {
                heard.time.set(10);
                return Turn::MustWake;
            }
            last(heard);
            Turn::MustWake
        },
        |heard, left| {
            heard.is_as_found();
            if let Left::Output(life) = left {
                assert_eq!(*life, Some(wanted));
            }
        },
    );
    assert_eq!(seen.polls, 4);
}

#[test]
fn a_silence() {
    changes(|heard| heard.time.set(15), Life::Dead);
}

#[test]
fn an_end() {
    changes(|heard| heard.beater = None, Life::Ended(End::Gone));
}

fn first(happens: impl Fn(&mut Heard), wanted: Result<u64, End>) {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let time = ManualTime::new();
            let (beater, listener) = pair(&watching(), time.clone());
            (Heard { time, beater: Some(beater) }, async move { listener.first_beat().await })
        },
        |heard, step| {
            if step == 1 {
                heard.time.set(7);
                return Turn::MayWait;
            }
            happens(heard);
            Turn::MustWake
        },
        |heard, left| {
            heard.is_as_found();
            if let Left::Output(first) = left {
                assert_eq!(*first, wanted);
            }
        },
    );
    assert_eq!(seen.polls, 2);
}

#[test]
fn a_first_beat() {
    first(|heard| heard.beater.as_ref().unwrap().progress(), Ok(7));
}

#[test]
fn an_end_without_a_beat() {
    first(|heard| heard.beater = None, Err(End::Gone));
}

/// Work that waits for a permit, with beats beside it.
#[test]
fn beats_beside_work() {
    struct Work {
        time: ManualTime,
        permits: Permits,
        held: Option<Permit>,
    }
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let (time, permits) = (ManualTime::new(), Permits::new(1, 1));
            let (held, enter) = (permits.try_enter(), permits.enter().unwrap());
            let (beater, listener) = pair(&watching(), time.clone());
            let clock = time.clone();
            let work = async move {
                let permit = beater.beating(Duration::from_millis(1), enter).await;
                assert!(clock.now() - listener.last_beat().unwrap() < MILLI);
                permit
            };
            (Work { time, permits, held }, work)
        },
        |work, step| {
            match step {
                1..=3 => work.time.set(step as u64 * MILLI),
                _ => work.held = None,
            }
            Turn::MustWake
        },
        |work, left| {
            assert_eq!(work.time.next(), None, "a sleep is left behind");
            let others = usize::from(work.held.is_some());
            let own = usize::from(matches!(left, Left::Output(_)));
            assert_eq!((work.permits.in_flight(), work.permits.waiting()), (others + own, 0));
        },
    );
    assert_eq!(seen.polls, 5);
}

/// A publication on a thread, until it is told to end.
struct Publication {
    fence: Fence<u64>,
    ends: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Publication {
    fn end(&mut self) {
        let _ = self.ends.send(());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn an_admission() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let fence = Fence::new();
            let token = fence.try_admit().unwrap();
            let ((begins, begun), (ends, ended)) = (channel(), channel());
            let thread = std::thread::spawn(move || {
                let act = || {
                    begins.send(()).unwrap();
                    ended.recv().unwrap();
                };
                assert!(token.publish(act).is_ok());
            });
            begun.recv().unwrap();
            let theirs = fence.clone();
            let publication = Publication { fence, ends, thread: Some(thread) };
            (publication, async move { Arc::new(theirs.admit().await) })
        },
        |publication, step| {
            if step == 1 {
                return Turn::MayWait;
            }
            publication.end();
            Turn::MustWake
        },
        |publication, left| {
            let is_free = publication.thread.is_none();
            assert_eq!(publication.fence.is_free(), is_free);
            match left {
                Left::Output(token) => assert!(token.is_good() && token.generation() == 2),
                Left::Nothing => assert_eq!(publication.fence.generation(), 1),
                Left::Done => {}
            }
            publication.end();
        },
    );
    assert_eq!(seen.polls, 2);
}
