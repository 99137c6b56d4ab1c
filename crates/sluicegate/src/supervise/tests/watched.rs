//! Chores that hang.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use tokio::sync::Notify;

use super::blocking::drive;
use super::*;
use crate::timer::ManualTime;

/// In its first life it does this; after that nothing, until it is to end.
struct Once<F> {
    first: Arc<F>,
    lives: Arc<AtomicUsize>,
    end: Arc<Notify>,
}

impl<F, A> Chore for Once<F>
where
    F: Fn(Pulse) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send,
{
    fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        self.work_watched(Pulse::unheard())
    }

    fn work_watched(&self, pulse: Pulse) -> impl Future<Output = ()> + Send + 'static {
        let (first, lives) = (Arc::clone(&self.first), Arc::clone(&self.lives));
        let end = Arc::clone(&self.end);
        async move {
            if lives.fetch_add(1, Ordering::Relaxed) == 0 {
                first(pulse).await;
            }
            end.notified().await;
        }
    }

    fn finish(&self) {
        self.end.notify_one();
    }
}

fn once<F>(first: F) -> Once<F> {
    Once { first: Arc::new(first), lives: Arc::default(), end: Arc::default() }
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_end_is_a_hang_and_waiting_for_somebody_is_none() {
    let (time, lines) = (TokioTime::new(), Lines::default());
    let mut steward = Steward::new(patient(), time).with_report(lines.listener());
    let hangs = once(move |pulse: Pulse| async move {
        // A unit each 700 ms is in time, and so is a rest of an hour.
        for _ in 0..5 {
            pulse.works();
            time.sleep_for(700 * MILLI).await;
        }
        pulse.rests();
        time.sleep_for(3_600_000 * MILLI).await;
        pulse.works();
        pending().await
    });
    steward.keep_watched("hangs", ms(1000), hangs);
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    time.sleep_for(2 * 3_600_000 * MILLI).await;
    let lines = lines.take();
    let texts: Vec<&str> = lines.iter().map(|(_, text)| text.as_str()).collect();
    let [_, (at, hung), (_, again)] = lines.as_slice() else { panic!("{texts:?}") };
    assert!(hung.starts_with("ward `hangs`, generation 1: makes no progress"), "{hung}");
    assert_eq!(again, "ward `hangs`, generation 2: started");
    let begun = 3500 + 3_600_000;
    assert!((begun + 1000..=begun + 1251).contains(at), "{at}");
    handle.shut_down();
    assert_eq!(run.await.unwrap().unwrap().leaking, 0);
}

/// Its thread is blocked: nobody stops that, but it is told, and others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_chore_that_blocks_its_thread_is_told_of_and_the_next_begins() {
    let (time, lines) = (ManualTime::new(), Lines::default());
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let mut steward = Steward::new(patient(), time.clone()).with_report(lines.listener());
    let blocks = once(move |_: Pulse| {
        let held = Arc::clone(&held);
        async move {
            let _ = held.lock().unwrap().recv();
        }
    });
    let lives = Arc::clone(&blocks.lives);
    steward.keep_watched("blocks", ms(1000), blocks);
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    // The time moves only where somebody sleeps: once the first has its thread that is the steward alone.
    drive(&time, 0, || lives.load(Ordering::Relaxed) == 1).await;
    drive(&time, 10_000 * MILLI, || lives.load(Ordering::Relaxed) == 2).await;
    let texts = lines.texts();
    assert!(texts.iter().any(|text| text.contains("no sign")), "{texts:?}");
    assert_eq!((handle.counts().leaked, handle.counts().leaking), (1, 1));
    drop(release);
    drive(&time, 0, || handle.counts().leaking == 0).await;
    // Nobody is cut off: at its end the next does what it is to, and that takes no time.
    handle.shut_down();
    drive(&time, 0, || run.is_finished()).await;
    assert_eq!(run.await.unwrap().unwrap(), Finished { shut_down: true, leaking: 0 });
}
