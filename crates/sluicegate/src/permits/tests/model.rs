//! The shell beside a list: whatever is done, each who asks has one fate, and nobody waits while a permit is free.

use std::collections::VecDeque;

use proptest::prelude::*;
use sluicegate_core::concurrency::{self, Aimd, Knee};
use std::time::Duration;

use super::*;

/// What is done next; numbers pick among those that are there.
#[derive(Clone, Copy, Debug)]
enum Op {
    Enter {
        key: u64,
        class: usize,
        bytes: u64,
        within: Option<u64>,
        begun_within: Option<u64>,
        partition: usize,
    },
    TryEnter(usize),
    Poll(usize),
    /// Drops a future.
    Quit(usize),
    End(usize, Outcome),
    Pass(u64),
    Resize(usize, usize),
    /// Other settings: a fixed number, or one that is found out, with shares or without.
    Apply(u8, u8),
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    let (within, begun_within) = (prop::option::of(0_u64..60), prop::option::of(0_u64..60));
    let enter = (0_u64..4, 0_usize..3, 0_u64..6, within, begun_within, 0_usize..3);
    let enter = enter.prop_map(|(key, class, bytes, within, begun_within, partition)| Op::Enter {
        key,
        class,
        bytes,
        within,
        begun_within,
        partition,
    });
    let outcome = prop_oneof![Just(Outcome::Good), Just(Outcome::Dropped), Just(Outcome::Cancelled)];
    prop_oneof![
        8 => enter,
        1 => (0_usize..3).prop_map(Op::TryEnter),
        6 => (0_usize..100).prop_map(Op::Poll),
        2 => (0_usize..100).prop_map(Op::Quit),
        6 => (0_usize..100, outcome).prop_map(|(at, outcome)| Op::End(at, outcome)),
        3 => (0_u64..40).prop_map(Op::Pass),
        1 => (0_usize..4, 0_usize..6).prop_map(|(concurrency, bound)| Op::Resize(concurrency, bound)),
        1 => (0_u8..4, 0_u8..6).prop_map(|(which, line)| Op::Apply(which, line)),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let closes = prop_oneof![3 => Just(None), 1 => Just(Some(Op::Close))];
    (prop::collection::vec(op(), 0..120), closes, prop::collection::vec(op(), 0..30))
        .prop_map(|(first, close, then)| first.into_iter().chain(close).chain(then).collect())
}

/// A future, and whether who polled it was woken since.
struct Asks {
    enter: Enter,
    /// Until when there is any use in it.
    until: u64,
    wakes: Arc<Wakes>,
    /// How often it was woken when it was last polled, if it has to wait.
    seen: Option<usize>,
}

impl Asks {
    fn of(enter: Enter, until: u64) -> Self {
        Self { enter, until, wakes: Arc::default(), seen: None }
    }

    fn poll(&mut self) -> Asked {
        self.seen = Some(self.wakes.0.load(Ordering::Relaxed));
        let waker = Waker::from(Arc::clone(&self.wakes));
        Pin::new(&mut self.enter).poll(&mut Context::from_waker(&waker))
    }

    /// Whoever was not polled yet need not be.
    fn is_woken(&self) -> bool {
        self.seen.is_none_or(|seen| self.wakes.0.load(Ordering::Relaxed) > seen)
    }
}

/// What there is of permits, by whoever plays.
struct Play {
    permits: Permits,
    time: ManualTime,
    futures: Vec<Asks>,
    held: Vec<Permit>,
    asked: u64,
    refused: u64,
    quit_waiting: u64,
    started: u64,
}

impl Play {
    fn new(permits: Permits, time: ManualTime) -> Self {
        let (futures, held) = (Vec::new(), Vec::new());
        Self { permits, time, futures, held, asked: 0, refused: 0, quit_waiting: 0, started: 0 }
    }

    fn go(&mut self, op: Op) {
        match op {
            Op::Enter { key, class, bytes, within, begun_within, partition } => {
                let now = self.permits.shared.at().unwrap_or(0);
                let at = |within: Option<u64>| within.map_or(u64::MAX, |within| now + within * MS);
                let who =
                    Who { key, class, deadline: at(within), begun_by: at(begun_within), bytes, partition };
                self.asked += 1;
                match self.permits.enter_as(who) {
                    Ok(enter) => self.futures.push(Asks::of(enter, who.deadline.min(who.begun_by))),
                    Err(_) => self.refused += 1,
                }
            }
            Op::TryEnter(partition) => {
                let permit = self.permits.try_enter_of(partition);
                self.asked += u64::from(permit.is_some());
                self.started += u64::from(permit.is_some());
                self.held.extend(permit);
            }
            Op::Poll(_) | Op::Quit(_) if self.futures.is_empty() => {}
            Op::Poll(at) => {
                let at = at % self.futures.len();
                match self.futures[at].poll() {
                    Poll::Pending => {}
                    Poll::Ready(asked) => {
                        drop(self.futures.swap_remove(at));
                        match asked {
                            Ok(permit) => {
                                self.started += 1;
                                self.held.push(permit);
                            }
                            Err(_) => self.refused += 1,
                        }
                    }
                }
            }
            Op::Quit(at) => {
                let future = self.futures.swap_remove(at % self.futures.len());
                self.gone(future.enter);
            }
            Op::End(..) if self.held.is_empty() => {}
            Op::End(at, outcome) => self.held.swap_remove(at % self.held.len()).end(outcome),
            Op::Pass(millis) => self.time.advance(Duration::from_millis(millis)),
            Op::Resize(concurrency, bound) => self.permits.resize(concurrency, bound),
            Op::Apply(which, line) => self.permits.apply(settings(which, lines(line, 5))),
            Op::Close => self.permits.close(),
        }
    }

    /// A future goes unpolled: it waited, or was handed a permit, or was shed.
    fn gone(&mut self, mut future: Enter) {
        if !future.is_ready() {
            self.quit_waiting += 1;
            return;
        }
        match poll(&mut future) {
            Poll::Ready(Ok(permit)) => {
                self.started += 1;
                drop(permit);
            }
            Poll::Ready(Err(_)) => self.refused += 1,
            Poll::Pending => panic!("it said that it is ready"),
        }
    }

    fn ready(&self) -> usize {
        self.futures.iter().filter(|asks| asks.enter.is_ready()).count()
    }

    fn is_right(&self) -> Result<(), TestCaseError> {
        let standing = self.permits.standing();
        let waits = self.futures.len() - self.ready();
        prop_assert_eq!(standing.waiting, waits, "who waits is who was told nothing");
        prop_assert!(standing.in_flight >= self.held.len());
        prop_assert!(standing.in_flight <= self.held.len() + self.ready(), "on their way");
        let now = self.permits.shared.at();
        for asks in &self.futures {
            let was_told = asks.enter.is_ready() || now.is_some_and(|now| asks.until < now);
            prop_assert!(!was_told || asks.is_woken(), "who was polled is woken, also at its time");
        }
        Ok(())
    }

    /// All leave, and all is as it was.
    fn ends(mut self) -> Result<(), TestCaseError> {
        while let Some(future) = self.futures.pop() {
            self.gone(future.enter);
        }
        self.held.clear();
        let standing = self.permits.standing();
        prop_assert_eq!((standing.in_flight, standing.waiting, standing.waiting_bytes), (0, 0, 0));
        prop_assert_eq!(self.asked, self.started + self.refused + self.quit_waiting, "one fate each");
        prop_assert_eq!(standing.refused.all(), self.refused);
        Ok(())
    }
}

fn settings(which: u8, line: queue::Settings) -> Settings {
    let limit = concurrency::Settings::default().with_limits(1, 20).unwrap().with_first(2).unwrap();
    let settings = Settings::new(2, line);
    match which {
        0 => settings,
        1 => settings.adaptive(limit, Knee::default()),
        2 => settings.adaptive(limit.with_shares(&[0.5]).unwrap(), Knee::default()),
        _ => {
            let aimd = Aimd::new(Duration::from_millis(20)).unwrap();
            settings.adaptive(limit.with_shares(&[0.3, 0.7]).unwrap(), aimd)
        }
    }
}

fn lines(which: u8, bound: usize) -> queue::Settings {
    let settings = queue::Settings::new(bound);
    match which {
        0 => settings,
        1 => settings.with_codel(Codel::default()),
        2 => settings.with_codel(Codel::default().newest_first()).with_bytes(10).unwrap().fair(),
        3 => settings.displacing_oldest(),
        4 => settings.with_wait_of(2.0).unwrap(),
        _ => settings.with_classes(&[3, 1]).unwrap().fair().with_bytes(8).unwrap(),
    }
}

proptest! {
    /// Without policies it is a plain list.
    #[test]
    fn first_come_first_served_is_a_list(
        concurrency in 0_usize..3, bound in 0_usize..5, ops in prop::collection::vec((0_u8..4, 0_usize..100), 0..200),
    ) {
        let permits = Permits::new(concurrency, bound);
        let (mut line, mut running) = (VecDeque::<(u32, Enter)>::new(), Vec::<(u32, Permit)>::new());
        let (mut model, mut inside) = (VecDeque::<u32>::new(), Vec::<u32>::new());
        for (n, (op, pick)) in (0_u32..).zip(ops) {
            match op {
                0 | 1 => match permits.enter() {
                    Ok(enter) => {
                        if enter.is_ready() {
                            prop_assert!(inside.len() < concurrency);
                            inside.push(n);
                        } else {
                            prop_assert!(inside.len() >= concurrency && model.len() < bound);
                            model.push_back(n);
                        }
                        line.push_back((n, enter));
                    }
                    Err(rejected) => {
                        prop_assert_eq!(rejected.waiting(), bound);
                        prop_assert!(inside.len() >= concurrency && model.len() == bound);
                    }
                },
                2 if !running.is_empty() => {
                    let (ended, permit) = running.swap_remove(pick % running.len());
                    drop(permit);
                    inside.retain(|one| *one != ended);
                    inside.extend(model.pop_front());
                }
                3 if !line.is_empty() => {
                    let (left, future) = line.remove(pick % line.len()).unwrap();
                    drop(future);
                    if inside.contains(&left) {
                        inside.retain(|one| *one != left);
                        inside.extend(model.pop_front());
                    }
                    model.retain(|one| *one != left);
                }
                _ => {}
            }
            for at in (0..line.len()).rev() {
                let is_inside = inside.contains(&line[at].0);
                match poll(&mut line[at].1) {
                    Poll::Ready(asked) => {
                        prop_assert!(is_inside, "{} has barged in", line[at].0);
                        running.push((line.remove(at).unwrap().0, asked.unwrap()));
                    }
                    Poll::Pending => prop_assert!(!is_inside),
                }
            }
            prop_assert_eq!((permits.in_flight(), permits.waiting()), (inside.len(), model.len()));
        }
    }

    /// Whatever the settings, and however they change under way.
    #[test]
    fn the_limit_is_exact_and_nobody_waits_for_a_free_place(
        which in 0_u8..4, line in 0_u8..6, bound in 0_usize..6, ops in ops(),
    ) {
        let time = ManualTime::new();
        let permits = Permits::with(settings(which, lines(line, bound)), time.clone());
        let mut play = Play::new(permits.clone(), time);
        for op in ops {
            let before = permits.standing();
            play.go(op);
            play.is_right()?;
            let standing = permits.standing();
            let fits = standing.in_flight <= standing.limit;
            prop_assert!(fits || standing.in_flight <= before.in_flight, "{standing:?}");
            let is_free = standing.in_flight < standing.limit;
            if standing.partitions.len() == 1 {
                prop_assert!(!is_free || standing.waiting == 0, "{standing:?}");
                prop_assert!(standing.waiting <= permits.queue().max(before.waiting), "{standing:?}");
            }
            for partition in &standing.partitions {
                let owed = partition.in_flight < partition.guarantee;
                prop_assert!(!(owed && is_free) || partition.waiting == 0, "{standing:?}");
            }
        }
        play.ends()?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Without a clock, where the free ones are one number beside the line.
    #[test]
    fn without_a_clock_nobody_waits_for_a_free_place_either(bound in 0_usize..6, ops in ops()) {
        let permits = Permits::new(2, bound);
        let mut play = Play::new(permits.clone(), ManualTime::new());
        for op in ops {
            let op = match op {
                // Nothing is ever found out, so there is one partition.
                Op::Enter { key, class, bytes, within, begun_within, .. } => {
                    Op::Enter { key, class, bytes, within, begun_within, partition: 0 }
                }
                Op::Pass(_) => Op::TryEnter(0),
                other => other,
            };
            let before = permits.standing();
            play.go(op);
            play.is_right()?;
            let standing = permits.standing();
            let fits = standing.in_flight <= standing.limit;
            prop_assert!(fits || standing.in_flight <= before.in_flight, "{standing:?}");
            prop_assert!(standing.in_flight >= standing.limit || standing.waiting == 0, "{standing:?}");
            prop_assert!(standing.waiting <= permits.queue().max(before.waiting), "{standing:?}");
        }
        play.ends()?;
    }
}
