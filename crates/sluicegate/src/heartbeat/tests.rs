//! Signs as they are given and heard, in virtual time.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc as Shared;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Wake, Waker};

use sluicegate_core::detector::{Life, Phi, Rule};
use tokio::sync::mpsc;

use super::*;
use crate::timer::{ManualTime, TokioTime};

const MILLI: u64 = 1_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn rule(millis: u64) -> Rule {
    Rule::timeout(ms(millis)).unwrap()
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_last_sign_is_seen_with_the_end() {
    let time = ManualTime::new();
    let (beater, mut listener) = pair(&Watching::new(rule(10)), time.clone());
    assert_eq!(listener.last_beat(), None);
    beater.beat();
    time.set(7);
    beater.progress();
    drop(beater);
    assert_eq!(listener.look(), Life::Ended(End::Gone));
    assert_eq!((listener.last_beat(), listener.work()), (Some(7), Work::At(7)));
}

#[test]
fn a_panic_is_told_apart_from_an_end() {
    let (beater, mut listener) = pair(&Watching::new(rule(10)), ManualTime::new());
    let panics = catch_unwind(AssertUnwindSafe(move || {
        beater.beat();
        panic!("on purpose");
    }));
    assert!(panics.is_err());
    assert_eq!(listener.look(), Life::Ended(End::Panicked));
}

#[test]
fn any_clock_s_reading_is_a_reading() {
    let time = ManualTime::new();
    let (beater, listener) = pair(&Watching::new(rule(10)), time.clone());
    time.set(u64::MAX);
    beater.progress();
    assert_eq!((listener.last_beat(), listener.work()), (Some(LATEST), Work::At(LATEST)));
}

#[test]
fn the_first_beat_wakes_who_waits_for_it_and_so_does_an_end() {
    let time = ManualTime::new();
    for beats in [true, false] {
        let (beater, listener) = pair(&Watching::new(rule(10)), time.clone());
        let mut first = pin!(listener.first_beat());
        let wakes = Shared::new(Wakes::default());
        let waker = Waker::from(Shared::clone(&wakes));
        assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        if beats {
            beater.rest();
            assert_eq!(poll(first), Poll::Ready(Ok(0)), "to rest is a sign of life");
        } else {
            drop(beater);
            assert_eq!(poll(first), Poll::Ready(Err(End::Gone)));
        }
        assert_eq!(wakes.0.load(Relaxed), 1);
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Shared<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A pulse while blocked on the consumer proves scheduling, not progress; and a channel that is closed is always ready, so that a
/// steward who selects on it believes a dead ward healthy, and spins.
#[tokio::test(start_paused = true)]
async fn pitfall_39_a_pulse_is_not_progress_and_an_end_is_heard_once() {
    let time = TokioTime::new();
    let watching = Watching::new(rule(300)).with_progress(rule(1000));
    let (beater, mut listener) = pair(&watching, time);
    // The consumer takes two results, and then nothing more.
    let (results, mut taken) = mpsc::channel(1);
    let ward = tokio::spawn(async move {
        for result in 0.. {
            beater.progress();
            let _ = beater.beating(ms(100), results.send(result)).await;
        }
    });
    listener.first_beat().await.unwrap();
    assert_eq!((taken.recv().await, taken.recv().await), (Some(0), Some(1)));
    let before = time.now();
    assert_eq!(listener.changed().await, Some(Life::Stalled), "it beats as well as ever");
    let stalled_after = time.now() - before;
    assert!((1000 * MILLI..1002 * MILLI).contains(&stalled_after), "{stalled_after}");
    assert!(time.now() - listener.last_beat().unwrap() <= 101 * MILLI);

    assert_eq!(taken.recv().await, Some(2));
    assert_eq!(listener.changed().await, Some(Life::Alive), "it gets on again");

    ward.abort();
    assert!(ward.await.unwrap_err().is_cancelled());
    // As soon as it is asked, and not at some timeout.
    let at = time.now();
    assert_eq!(listener.changed().await, Some(Life::Ended(End::Gone)));
    assert_eq!(time.now(), at);
    for _ in 0..3 {
        assert_eq!(
            listener.changed().await,
            None,
            "an end is no sign of life, however often it is asked for"
        );
        assert_eq!(listener.look(), Life::Ended(End::Gone));
    }
}

#[tokio::test(start_paused = true)]
async fn a_silence_is_told_at_its_instant_and_the_dead_may_rise() {
    let time = TokioTime::new();
    let (beater, mut listener) = pair(&Watching::new(rule(300)), time);
    tokio::spawn(async move {
        beater.beat();
        time.sleep_for(250 * MILLI).await;
        beater.beat();
        time.sleep_for(1000 * MILLI).await;
        beater.beat();
        pending::<()>().await;
    });
    listener.first_beat().await.unwrap();
    assert_eq!(listener.changed().await, Some(Life::Dead));
    assert!((550 * MILLI..552 * MILLI).contains(&time.now()), "{}", time.now());
    assert_eq!(listener.changed().await, Some(Life::Alive));
    assert!(time.now() < 1600 * MILLI);
    assert_eq!(listener.changed().await, Some(Life::Dead));
}

/// By phi, the listener has to see each sign, whenever it is asked to look.
#[tokio::test(start_paused = true)]
async fn a_listener_by_phi_learns_each_interval() {
    let time = TokioTime::new();
    let phi = Phi::new(ms(200)).unwrap().with_pause(Duration::ZERO).unwrap();
    let phi = phi.with_least_deviation(ms(4)).unwrap().with_window(50).unwrap();
    let (beater, mut listener) = pair(&Watching::new(Rule::Phi(phi)), time);
    tokio::spawn(async move {
        for _ in 0..100 {
            beater.beat();
            time.sleep_for(100 * MILLI).await;
        }
        pending::<()>().await;
    });
    assert_eq!(listener.changed().await, Some(Life::Dead));
    let silence = time.now() - listener.last_beat().unwrap();
    // Its beats come each 100 or 101 ms, twice as fast as it was told at first.
    assert!((115 * MILLI..135 * MILLI).contains(&silence), "{silence}");
    assert!(listener.phi().unwrap() >= 8.0);
}

#[tokio::test(start_paused = true)]
async fn what_is_done_while_it_beats_is_handed_on() {
    let time = TokioTime::new();
    let (beater, listener) = pair(&Watching::new(rule(300)), time);
    let sleeps = async {
        time.sleep_for(950 * MILLI).await;
        7
    };
    assert_eq!(beater.beating(ms(100), sleeps).await, 7);
    let silence = time.now() - listener.last_beat().unwrap();
    assert!(silence <= 101 * MILLI, "{silence}");
    assert_eq!(beater.beating(Duration::ZERO, async { 8 }).await, 8);
}

/// Always ready, so that each poll of it uses up the cooperative budget of its task.
async fn hot(mut items: mpsc::UnboundedReceiver<()>) {
    while items.recv().await.is_some() {}
}

/// So many items that a thousand polls don't take them all.
fn full() -> mpsc::UnboundedReceiver<()> {
    let (gives, items) = mpsc::unbounded_channel();
    (0..300_000).for_each(|_| gives.send(()).unwrap());
    // What has a sender never ends.
    std::mem::forget(gives);
    items
}

#[tokio::test(start_paused = true)]
async fn work_that_leaves_no_budget_does_not_starve_its_own_beats() {
    let (beater, mut listener) = pair(&Watching::new(rule(300)), TokioTime::new());
    let worker = tokio::spawn(async move { beater.beating(ms(100), hot(full())).await });
    listener.first_beat().await.unwrap();
    for _ in 0..100 {
        // What is ready goes on meanwhile.
        tokio::time::advance(ms(10)).await;
        tokio::task::yield_now().await;
        assert_eq!(listener.look(), Life::Alive);
    }
    worker.abort();
}

#[tokio::test(start_paused = true)]
async fn who_listens_beside_such_work_hears_a_silence() {
    let (beater, mut listener) = pair(&Watching::new(rule(300)), TokioTime::new());
    let listens = tokio::spawn(async move {
        let mut busy = pin!(hot(full()));
        let mut changed = pin!(listener.changed());
        poll_fn(|context| match busy.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => changed.as_mut().poll(context),
        })
        .await
    });
    for _ in 0..100 {
        tokio::time::advance(ms(10)).await;
        tokio::task::yield_now().await;
    }
    assert!(listens.is_finished(), "it is still not heard");
    assert_eq!(listens.await.unwrap(), Some(Life::Dead));
    drop(beater);
}
