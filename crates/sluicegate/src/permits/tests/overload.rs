//! Ten times what a server can do, which stays as fast as it is and knows of nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use sluicegate_core::concurrency::{self, Knee};

use super::*;

/// How long the server takes for one; it works on one at a time.
const SERVICE: u64 = 10 * MS;
const SECOND: u64 = 1000 * MS;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    Done,
    /// A client has no more patience.
    Leaves(u64),
}

/// Notes who was woken.
struct Ring(u64, Arc<Mutex<Vec<u64>>>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

struct Report {
    /// Good answers a second, of the last half.
    goodput: f64,
    /// From arrival to answer, in nanoseconds, sorted; of the last half.
    took: Vec<u64>,
    standing: Standing,
}

/// `load` times what the server can do, for so many seconds.
fn live(settings: Settings, load: u64, seconds: u64, patience: u64) -> Report {
    let time = ManualTime::new();
    let permits = Permits::with(settings, time.clone());
    let woken = Arc::new(Mutex::new(Vec::new()));
    let mut events = BinaryHeap::from([Reverse((0, Event::Arrives))]);
    let (mut waiting, mut at_server) = (BTreeMap::new(), VecDeque::new());
    let (mut came, mut seed, mut took) = (0, 1_u64, Vec::new());
    let mut is_busy = false;
    let mut good = 0;
    while let Some(Reverse((now, event))) = events.pop().filter(|Reverse((now, _))| *now < seconds * SECOND) {
        time.set(now);
        match event {
            Event::Arrives => {
                // From half to one and a half times the gap, so that nothing runs in step.
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let gap = SERVICE / load;
                events.push(Reverse((now + gap / 2 + (seed >> 33) % gap, Event::Arrives)));
                came += 1;
                if let Ok(enter) = permits.enter_as(until(now + patience)) {
                    waiting.insert(came, (now, enter));
                    woken.lock().unwrap().push(came);
                }
            }
            Event::Done => {
                let (_, arrived, permit): (u64, u64, Option<Permit>) = at_server.pop_front().unwrap();
                is_busy = false;
                if let Some(permit) = permit {
                    permit.end(Outcome::Good);
                    if now > seconds * SECOND / 2 {
                        good += 1;
                        took.push(now - arrived);
                    }
                }
            }
            Event::Leaves(id) => {
                if let Some((_, _, permit)) = at_server.iter_mut().find(|(at, _, _)| *at == id)
                    && let Some(permit) = permit.take()
                {
                    // The server goes on working for nobody.
                    permit.end(Outcome::Dropped);
                }
            }
        }
        loop {
            let next = woken.lock().unwrap().pop();
            let Some(id) = next else { break };
            let Some((arrived, enter)) = waiting.get_mut(&id) else { continue };
            let waker = Waker::from(Arc::new(Ring(id, Arc::clone(&woken))));
            let arrived = *arrived;
            match Pin::new(enter).poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => continue,
                Poll::Ready(Ok(permit)) => {
                    at_server.push_back((id, arrived, Some(permit)));
                    events.push(Reverse((arrived + patience, Event::Leaves(id))));
                }
                Poll::Ready(Err(_)) => {}
            }
            waiting.remove(&id);
        }
        if !is_busy && !at_server.is_empty() {
            is_busy = true;
            events.push(Reverse((now + SERVICE, Event::Done)));
        }
        // The clients' own alarms.
        if let Some(at) = time.next().filter(|at| *at <= now) {
            time.set(at);
        }
    }
    took.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let goodput = f64::from(good) / (seconds as f64 / 2.0);
    Report { goodput, took, standing: permits.standing() }
}

fn knee(line: queue::Settings) -> Settings {
    Settings::new(0, line).adaptive(concurrency::Settings::default(), Knee::default())
}

#[test]
fn ten_times_the_load_is_answered_at_full_speed_and_soon() {
    let ms = Duration::from_millis;
    let codel = Codel::new(ms(5), ms(10), ms(100)).unwrap();
    let report = live(knee(queue::Settings::new(100).with_codel(codel)), 10, 20, SECOND);
    let p99 = report.took[report.took.len() * 99 / 100] / MS;
    assert!(report.goodput >= 95.0, "{} of 100 a second; {:?}", report.goodput, report.standing);
    assert!(p99 <= 45, "{p99} ms; {:?}", report.standing);
    assert!(report.standing.limit <= 3, "{:?}", report.standing);
}

/// The same without any control but a bound: most of the work is for clients that have left.
#[test]
fn a_bound_alone_works_for_who_has_left() {
    let report = live(Settings::new(1000, queue::Settings::new(100)), 10, 10, 500 * MS);
    assert!(report.goodput < 10.0, "{}", report.goodput);
}
