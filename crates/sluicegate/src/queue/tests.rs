//! What a queue with policies tells, and when; in virtual time.

mod model;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use sluicegate_core::clock::Clock;

use super::*;
use crate::timer::{ManualTime, TokioTime};

const MS: u64 = 1_000_000;

type Told = Arc<Mutex<Vec<(u32, Refusal)>>>;

/// A queue that writes down what it sheds.
fn telling(settings: &Settings) -> (Queue<u32>, ManualTime, Told) {
    let (time, told) = (ManualTime::new(), Told::default());
    let theirs = Arc::clone(&told);
    let tell = move |item, why: Rejected| theirs.lock().unwrap().push((item, why.why()));
    (Queue::with(settings, time.clone(), tell), time, told)
}

fn pop_now(queue: &Queue<u32>) -> Poll<Option<u32>> {
    pin!(queue.pop()).poll(&mut Context::from_waker(Waker::noop()))
}

fn told(told: &Told) -> Vec<(u32, Refusal)> {
    std::mem::take(&mut *told.lock().unwrap())
}

#[test]
fn who_gives_way_is_told_in_the_push_that_takes_its_place() {
    let (queue, _, shed) = telling(&Settings::new(2).displacing_oldest());
    for item in 0..3 {
        queue.push(item).unwrap();
    }
    assert_eq!(told(&shed), [(0, Refusal::Displaced)]);
    assert_eq!((pop_now(&queue), pop_now(&queue)), (Poll::Ready(Some(1)), Poll::Ready(Some(2))));
}

#[test]
fn in_an_overload_the_newest_is_popped_first_and_who_waited_too_long_is_told() {
    let (queue, time, shed) = telling(&Settings::new(100).with_codel(Codel::default().newest_first()));
    for item in 0..4 {
        queue.push(item).unwrap();
    }
    time.set(200 * MS);
    assert_eq!(pop_now(&queue), Poll::Ready(Some(0)));
    // All waits of an interval and a half were long.
    time.set(400 * MS);
    queue.push(4).unwrap();
    queue.push(5).unwrap();
    assert!(queue.is_overloaded());
    assert_eq!(pop_now(&queue), Poll::Ready(Some(5)));
    assert_eq!(told(&shed), [1, 2, 3].map(|item| (item, Refusal::Overloaded)));
    assert_eq!(pop_now(&queue), Poll::Ready(Some(4)));
}

#[test]
fn bytes_are_bounded_and_keys_take_turns() {
    let (queue, _, shed) = telling(&Settings::new(10).with_bytes(100).unwrap().fair());
    let entry = |item, key, size| Entry::new(item).keyed(key).sized(size);
    queue.push_as(entry(0, 1, 60)).unwrap();
    let (_, why) = queue.push_as(entry(1, 1, 41)).unwrap_err();
    assert_eq!(
        (why.why(), why.to_string().as_str()),
        (Refusal::Full, "the queue is full: as many bytes wait as may")
    );
    let (_, why) = queue.push_as(entry(1, 1, 101)).unwrap_err();
    assert_eq!(why.why(), Refusal::TooLarge);
    queue.push_as(entry(2, 1, 20)).unwrap();
    queue.push_as(entry(3, 2, 20)).unwrap();
    assert_eq!(queue.waiting_bytes(), 100);
    assert_eq!([pop_now(&queue), pop_now(&queue)], [Poll::Ready(Some(0)), Poll::Ready(Some(3))]);
    assert!(told(&shed).is_empty());
}

#[test]
fn who_would_be_done_too_late_is_refused_at_once_and_told_when_to_come_back() {
    let (queue, time, _) = telling(&Settings::new(100));
    for at in 0..4 {
        queue.push(at).unwrap();
        time.set(u64::from(at + 1) * 10 * MS);
        assert_eq!(pop_now(&queue), Poll::Ready(Some(at)));
        queue.served(Duration::from_millis(10));
    }
    queue.push(9).unwrap();
    let (_, why) = queue.push_as(Entry::new(7).until(time.now() + 15 * MS)).unwrap_err();
    assert_eq!(why.why(), Refusal::Hopeless);
    assert!(why.retry_after().unwrap() < Duration::from_millis(100), "from the rate at which it drains");
    queue.push_as(Entry::new(7).until(time.now() + 100 * MS)).unwrap();
}

#[test]
fn a_deadline_that_passes_while_all_are_busy_is_told_by_the_alarm() {
    let (queue, time, shed) = telling(&Settings::new(10));
    queue.push_as(Entry::new(1).until(30 * MS)).unwrap();
    assert_eq!(time.next(), Some(30 * MS + 1));
    // One that is earlier has it look earlier, one that is later does not.
    queue.push_as(Entry::new(2).until(20 * MS)).unwrap();
    assert_eq!(time.next(), Some(20 * MS + 1));
    queue.push_as(Entry::new(3).until(40 * MS)).unwrap();
    assert_eq!(time.next(), Some(20 * MS + 1));
    for (at, item) in [(20 * MS + 1, 2), (30 * MS + 1, 1)] {
        time.set(at);
        assert_eq!(told(&shed), [(item, Refusal::Late)]);
    }
    assert_eq!(pop_now(&queue), Poll::Ready(Some(3)));
    // It finds nothing to look after, and ends; another begins with the next deadline.
    time.set(50 * MS);
    assert_eq!(time.next(), None);
    queue.push_as(Entry::new(4).until(60 * MS)).unwrap();
    assert_eq!(time.next(), Some(60 * MS + 1));
    drop(queue);
    assert_eq!(time.next(), None, "it ends with the queue");
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_ends_with_its_runtime_is_followed_by_another() {
    let (time, shed) = (TokioTime::new(), Told::default());
    let theirs = Arc::clone(&shed);
    let queue = Queue::with(&Settings::new(10), time, move |item, why| {
        theirs.lock().unwrap().push((item, why.why()));
    });
    let other = queue.clone();
    thread::spawn(move || {
        // Where there is no runtime there is no alarm.
        other.push_as(Entry::new(1).until(50 * MS)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { other.push_as(Entry::new(2).until(50 * MS)).unwrap() });
    })
    .join()
    .unwrap();
    time.sleep_for(60 * MS).await;
    assert!(told(&shed).is_empty(), "its alarm is gone");
    queue.push_as(Entry::new(3).until(90 * MS)).unwrap();
    assert_eq!(told(&shed), [(1, Refusal::Late), (2, Refusal::Late)]);
    time.sleep_for(40 * MS).await;
    assert_eq!(told(&shed), [(3, Refusal::Late)]);
}

#[test]
fn a_panic_of_who_is_told_loses_nothing() {
    let time = ManualTime::new();
    let shed = Told::default();
    let theirs = Arc::clone(&shed);
    let queue = Queue::with(&Settings::new(10), time.clone(), move |item, why| {
        theirs.lock().unwrap().push((item, why.why()));
        assert_ne!(item, 1, "as the test has it");
    });
    queue.push(3).unwrap();
    queue.push_as(Entry::new(1).until(5)).unwrap();
    queue.push_as(Entry::new(2).until(5)).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| time.set(6))).is_ok(), "nobody is there to have it");
    assert_eq!((told(&shed), queue.panics()), (vec![(1, Refusal::Late), (2, Refusal::Late)], 1));

    // With the alarm out of the way, in a push.
    let (time, shed) = (TokioTime::new(), Told::default());
    let theirs = Arc::clone(&shed);
    let queue = Queue::with(&Settings::new(1).displacing_oldest(), time, move |item, why| {
        theirs.lock().unwrap().push((item, why.why()));
        panic!("as the test has it");
    });
    queue.push_as(Entry::new(3).until(0)).unwrap_err();
    queue.push(4).unwrap();
    queue.push(5).unwrap();
    assert_eq!((told(&shed), queue.panics()), (vec![(4, Refusal::Displaced)], 1));
    assert_eq!(pop_now(&queue), Poll::Ready(Some(5)), "it was admitted all the same");
}

struct Loud;

impl Wake for Loud {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new("as the test has it"))
    }
}

/// Writes down how many hold it as it is woken.
#[derive(Default)]
struct Held(Mutex<Vec<usize>>);

impl Wake for Held {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().push(Arc::strong_count(&self));
    }
}

/// A clone is foreign code, and may come back to the queue: under the lock it would wait for itself. So nobody's waker is cloned there.
#[test]
fn a_waker_is_taken_and_not_cloned() {
    let queue = Queue::new(2);
    let (mut first, mut second) = (Box::pin(queue.pop()), Box::pin(queue.pop()));
    let [one, two] = [Arc::new(Held::default()), Arc::new(Held::default())];
    let poll = |pop: &mut Pin<Box<Pop<'_, u32>>>, held: &Arc<Held>| {
        pop.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(held))))
    };
    let told = |held: &Held| std::mem::take(&mut *held.0.lock().unwrap());
    assert!(poll(&mut first, &one).is_pending() && poll(&mut second, &two).is_pending());
    queue.push(1).unwrap();
    assert_eq!((told(&one), told(&two)), (vec![2], vec![]), "the test's, and the one that is woken");
    queue.close();
    assert_eq!(told(&two), [2]);
    // Who is polled anew is told anew: the last item may be left to it.
    assert!(poll(&mut second, &two).is_pending());
    assert_eq!(poll(&mut first, &one), Poll::Ready(Some(1)));
    assert_eq!(told(&two), [2]);
    assert_eq!(poll(&mut second, &two), Poll::Ready(None));
    assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 1));
}

/// The last item of a closed queue: whoever takes it wakes the others, to their end.
#[test]
fn a_panic_in_a_pop_leaves_the_item_to_the_next() {
    let queue = Queue::new(2);
    let (mut first, mut second) = (Box::pin(queue.pop()), Box::pin(queue.pop()));
    let loud = Waker::from(Arc::new(Loud));
    let noop = || Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut noop()).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&loud)).is_pending());
    queue.push(1).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| queue.close())).is_err(), "it wakes both");
    // Woken, it waits anew: the item may still come to it.
    assert!(second.as_mut().poll(&mut Context::from_waker(&loud)).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| first.as_mut().poll(&mut noop()))).is_err());
    assert_eq!(second.as_mut().poll(&mut noop()), Poll::Ready(Some(1)));
    assert_eq!(pop_now(&queue), Poll::Ready(None));
}

#[test]
fn what_a_worker_leaves_keeps_its_deadline_and_its_size() {
    let (queue, time, shed) = telling(&Settings::new(10));
    {
        let mut pop = pin!(queue.pop());
        assert!(pop.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        queue.push_as(Entry::new(1).until(10).sized(5)).unwrap();
        assert_eq!(queue.len(), 0, "it is on its way");
    }
    assert_eq!((queue.len(), queue.waiting_bytes()), (1, 5));
    time.set(11);
    assert_eq!(told(&shed), [(1, Refusal::Late)], "by an alarm that began when it came back");
}

#[test]
fn what_is_taken_back_is_not_told() {
    let (queue, time, shed) = telling(&Settings::new(10));
    let ticket = queue.push_as(Entry::new(1).until(5)).unwrap().unwrap();
    for item in 2..5 {
        queue.push_as(Entry::new(item).until(7)).unwrap();
    }
    assert_eq!((queue.cancel(ticket), queue.cancel(ticket)), (Some(1), None));
    assert_eq!((queue.cancel_all(), queue.len()), (vec![2, 3, 4], 0));
    assert_eq!(time.next(), None, "the alarm has nothing to look after");
    time.set(100);
    assert!(told(&shed).is_empty());
}

/// Who pushes or pops has not shed anybody: another's panic is no matter of theirs.
#[test]
fn a_panic_of_who_is_told_reaches_neither_who_pushes_nor_who_pops() {
    let tell = |_, _| resume_unwind(Box::new("as the test has it"));
    let queue = Queue::with(&Settings::new(1).displacing_oldest(), TokioTime::new(), tell);
    queue.push(1).unwrap();
    queue.push(2).unwrap();
    assert_eq!((pop_now(&queue), queue.panics()), (Poll::Ready(Some(2)), 1));

    let time = ManualTime::new();
    let codel = Settings::new(100).with_codel(Codel::default().newest_first());
    let queue = Queue::with(&codel, time.clone(), tell);
    (0..4).for_each(|item| queue.push(item).unwrap());
    time.set(200 * MS);
    assert_eq!(pop_now(&queue), Poll::Ready(Some(0)));
    time.set(400 * MS);
    queue.push(4).unwrap();
    queue.push(5).unwrap();
    assert_eq!(pop_now(&queue), Poll::Ready(Some(5)), "in which three are shed");
    assert_eq!(pop_now(&queue), Poll::Ready(Some(4)));
}

/// Looking at the length and pushing then is two steps: between them another may take the place, and the push blocks its handler.
#[test]
fn pitfall_37_asking_for_room_and_taking_it_is_one_step() {
    const BOUND: usize = 8;
    for _ in 0..200 {
        let queue = Queue::new(BOUND);
        let push = || {
            // Each answers at once, whatever the others do meanwhile.
            (0..BOUND).filter(|item| match queue.push(*item) {
                Ok(()) => true,
                Err((back, why)) => {
                    assert_eq!((back, why.why(), why.waiting()), (*item, Refusal::Full, BOUND));
                    false
                }
            })
        };
        let admitted: usize = thread::scope(|scope| {
            let pushers: [_; 3] = std::array::from_fn(|_| scope.spawn(|| push().count()));
            pushers.into_iter().map(|pusher| pusher.join().unwrap()).sum()
        });
        assert_eq!((admitted, queue.len()), (BOUND, BOUND), "never more, and no place is left over");
    }
}

#[test]
fn begun_by_is_told_by_the_alarm() {
    let (queue, time, shed) = telling(&Settings::new(10));
    queue.push_as(Entry::new(1).begun_by(30 * MS)).unwrap();
    time.set(31 * MS);
    assert_eq!(told(&shed), [(1, Refusal::TooLong)]);
}

#[test]
fn what_comes_back_keeps_begun_by() {
    let (queue, time, shed) = telling(&Settings::new(10));
    {
        let mut pop = pin!(queue.pop());
        assert!(pop.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        queue.push_as(Entry::new(1).begun_by(10)).unwrap();
    }
    time.set(11);
    assert_eq!(pop_now(&queue), Poll::Pending);
    assert_eq!(told(&shed), [(1, Refusal::TooLong)]);
}

#[test]
fn an_item_that_its_worker_does_not_take_up_is_counted_while_it_lies_there() {
    let (queue, time, _) = telling(&Settings::new(2));
    let mut context = Context::from_waker(Waker::noop());
    let mut forgotten = Box::pin(queue.pop());
    assert!(forgotten.as_mut().poll(&mut context).is_pending());
    time.set(500 * MS);
    queue.push(1).unwrap();
    queue.push(2).unwrap();
    for (now, untaken) in [(500, 0), (599, 0), (600, 1), (9_000, 1)] {
        time.set(now * MS);
        assert_eq!((queue.untaken(), queue.len()), (untaken, 1), "at {now} ms");
    }
    assert_eq!(forgotten.as_mut().poll(&mut context), Poll::Ready(Some(1)));
    assert_eq!(queue.untaken(), 0);
}
