//! Stewards and wards, in virtual time.
//!
//! Longer than other files: each test is one short story of a steward and its wards, and all use the same few helpers.

mod blocking;
mod h12;
mod storm;
mod under;
mod watched;

use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use sluicegate_core::detector::Life;
use sluicegate_core::restart::{Backoff, Strategy};
use tokio::task::yield_now;

use super::*;
use crate::fence::Token;
use crate::lease::{self, Leased};
use crate::memory::Memory;

const MILLI: u64 = 1_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn rule(millis: u64) -> Rule {
    Rule::timeout(ms(millis)).unwrap()
}

/// Up to 1000 restarts, without a pause.
fn patient() -> Settings {
    Settings::default()
        .with_intensity(1000, ms(1000))
        .unwrap()
        .with_backoff(Backoff::NONE)
        .with_grace(ms(1000))
        .with_patience(ms(100))
}

/// Reports as lines, with their instants in milliseconds.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(u64, String)>>>);

impl Lines {
    fn listener(&self) -> impl FnMut(Report) + Send + 'static {
        let lines = self.clone();
        move |report| lines.0.lock().unwrap().push((report.at() / MILLI, report.to_string()))
    }

    fn take(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn texts(&self) -> Vec<String> {
        self.take().into_iter().map(|(_, text)| text).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_to_fail_is_told_apart_and_the_next_goes_on_where_it_was() {
    let (time, lines) = (TokioTime::new(), Lines::default());
    let mut steward = Steward::new(patient(), time).with_report(lines.listener());
    let watching = Watching::new(rule(300)).with_progress(rule(2000));
    let spec = Spec::new("it").watched(watching).with_when(When::OnFailure);
    let committed = steward.add(spec, move |ward: Ward<Vec<u64>>| async move {
        let generation = ward.generation();
        let mut position = ward.position().unwrap_or_default();
        position.push(generation);
        ward.token().commit(position).unwrap();
        ward.beater().progress();
        match generation {
            1 => panic!("on purpose"),
            2 => return Err("no disk"),
            3 => pending::<()>().await,
            // Alive, and gets nothing done.
            4 => ward.beater().beating(ms(100), pending::<()>()).await,
            // Rests, which is no hang.
            _ => {
                ward.beater().rest();
                ward.beater().beating(ms(100), time.sleep_for(5000 * MILLI)).await;
            }
        }
        Ok(())
    });
    let handle = steward.handle();
    assert_eq!(steward.run().await.unwrap(), Finished { shut_down: false, leaking: 0 });
    assert_eq!(committed.last().unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(handle.counts(), Counts { restarts: 4, leaked: 0, leaking: 0 });
    let told = lines.take();
    let ended: Vec<&str> =
        told.iter().map(|(_, text)| text.as_str()).filter(|text| !text.ends_with("started")).collect();
    let again = "it will be started again";
    assert_eq!(
        ended,
        [
            format!("ward `it`, generation 1: panicked: on purpose; {again}"),
            format!("ward `it`, generation 2: failed: no disk; {again}"),
            format!("ward `it`, generation 3: gives no sign of life; {again}"),
            format!("ward `it`, generation 4: makes no progress; {again}"),
            "ward `it`, generation 5: done; it stays so".to_owned(),
        ]
    );
    let at: Vec<u64> =
        told.iter().filter(|(_, text)| !text.ends_with("started")).map(|(at, _)| *at).collect();
    assert!(at[..2] == [0, 0] && (300..303).contains(&at[2]) && (2300..2310).contains(&at[3]), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn an_early_end_is_a_failure_and_too_many_are_handed_upwards() {
    let time = TokioTime::new();
    let settings = Settings::default().with_intensity(2, ms(1000)).unwrap().with_backoff(Backoff::NONE);
    let lives = Arc::new(AtomicU64::new(0));
    let lived = Arc::clone(&lives);
    // A steward as the ward of another.
    let mut upper = Steward::new(settings, time);
    upper.add(Spec::new("steward"), move |_: Ward<()>| {
        let lives = Arc::clone(&lived);
        async move {
            let mut lower = Steward::new(settings, time);
            lower.add(Spec::new("ward"), move |_: Ward<()>| {
                lives.fetch_add(1, Ordering::Relaxed);
                async { Ok::<_, Escalated>(()) }
            });
            lower.run().await.map(drop)
        }
    });
    let lines = Lines::default();
    let escalated = upper.with_report(lines.listener()).run().await.unwrap_err();
    assert_eq!((escalated.ward(), escalated.leaking()), ("steward", 0));
    assert_eq!(lives.load(Ordering::Relaxed), 9, "three lives each, three times");
    let last = lines.texts();
    let [.., last, gave_up] = last.as_slice() else { panic!("{last:?}") };
    assert!(last.contains("too many restarts, the last of them for `ward`"), "{last}");
    assert!(last.ends_with("that is one too many"), "{last}");
    assert_eq!(gave_up, "ward `steward`, generation 3: too many restarts: all wards are stopped");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_goes_backwards_and_lets_each_finish_within_the_grace_time() {
    let (time, lines) = (TokioTime::new(), Lines::default());
    let mut steward = Steward::new(patient(), time).with_report(lines.listener());
    for (name, finishes) in [("a", Some(100)), ("b", None), ("c", Some(100))] {
        steward.add(Spec::new(name), move |ward: Ward<()>| async move {
            ward.stop().stopped().await;
            match finishes {
                Some(millis) => time.sleep_for(millis * MILLI).await,
                None => pending().await,
            }
            // What it had still to say is heard.
            ward.token().commit(()).map_err(|_| "too late")
        });
    }
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    time.sleep_for(10 * MILLI).await;
    handle.shut_down();
    assert_eq!(run.await.unwrap().unwrap(), Finished { shut_down: true, leaking: 0 });
    let told: Vec<(u64, String)> =
        lines.take().into_iter().filter(|(_, text)| !text.ends_with("started")).collect();
    let texts: Vec<&str> = told.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "ward `c`, generation 1: done; as it was to",
            "ward `b`, generation 1: has not ended in time, and is cut off",
            "ward `a`, generation 1: done; as it was to"
        ],
    );
    assert!((110..115).contains(&told[0].0), "{told:?}");
    // 900 ms were left for two, so 450 for it.
    assert!((555..570).contains(&told[1].0) && (660..670).contains(&told[2].0), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_end_of_a_steward_finds_everybody_cut_off() {
    for abort in [false, true] {
        let mut steward = Steward::new(patient(), TokioTime::new());
        let (hands, handed) = tokio::sync::oneshot::channel();
        let hands = Mutex::new(Some(hands));
        steward.add(Spec::new("it"), move |ward: Ward<u64>| {
            let _ = hands.lock().unwrap().take().unwrap().send(ward.token().clone());
            pending::<Result<(), String>>()
        });
        let handle = steward.handle();
        let run = tokio::spawn(steward.run());
        let token = handed.await.unwrap();
        if abort {
            run.abort();
        }
        handle.closed().await;
        assert!(token.commit(1).is_err());
        // It does not run any more.
        handle.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_for_one_start_anew_together() {
    let time = TokioTime::new();
    let mut steward = Steward::new(patient().with_strategy(Strategy::OneForAll), time);
    let log = Arc::new(Mutex::new(Vec::new()));
    for name in ["a", "b", "c"] {
        let log = Arc::clone(&log);
        steward.add(Spec::new(name), move |ward: Ward<()>| {
            let log = Arc::clone(&log);
            async move {
                log.lock().unwrap().push(format!("{name}{}", ward.generation()));
                if name == "b" && ward.generation() == 1 {
                    yield_now().await;
                    return Err("on purpose");
                }
                ward.stop().stopped().await;
                log.lock().unwrap().push(format!("{name}{} stops", ward.generation()));
                Ok(())
            }
        });
    }
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    time.sleep_for(10 * MILLI).await;
    assert_eq!(*log.lock().unwrap(), ["a1", "b1", "c1", "c1 stops", "a1 stops", "a2", "b2", "c2"]);
    assert_eq!(handle.counts().restarts, 3, "generations; one restart by the bound");
    handle.shut_down();
    run.await.unwrap().unwrap();
}

/// One that is never started again is stopped with the others and stays so, and what its work holds is let go.
#[tokio::test(start_paused = true)]
async fn all_for_one_leaves_out_who_is_never_started_again() {
    let time = TokioTime::new();
    let mut steward = Steward::new(patient().with_strategy(Strategy::OneForAll), time);
    let (held, lives) = (Arc::new(()), Arc::new(AtomicU64::new(0)));
    let (holds, lived) = (Arc::clone(&held), Arc::clone(&lives));
    steward.add(Spec::new("once").with_when(When::Never), move |_: Ward<()>| {
        let _holds = &holds;
        lived.fetch_add(1, Ordering::Relaxed);
        pending::<Result<(), String>>()
    });
    steward.add(Spec::new("fails"), |ward: Ward<()>| async move {
        yield_now().await;
        if ward.generation() < 3 { Err("on purpose") } else { pending().await }
    });
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    time.sleep_for(5000 * MILLI).await;
    assert_eq!((handle.counts().restarts, lives.load(Ordering::Relaxed)), (2, 1));
    assert_eq!(Arc::strong_count(&held), 1, "its work is kept for nobody");
    handle.closed().await;
    assert!(run.await.unwrap().unwrap().shut_down);
}

#[tokio::test(start_paused = true)]
async fn a_chore_goes_on_in_its_next_life_when_a_sibling_fails() {
    let (time, lines) = (TokioTime::new(), Lines::default());
    let settings = patient().with_strategy(Strategy::OneForAll);
    let mut steward = Steward::new(settings, time).with_report(lines.listener());
    let (store, upkeep) = Leased::new(Memory::new(), time, lease::Settings::default());
    steward.keep("leases", upkeep);
    steward.add(Spec::new("fails"), |ward: Ward<()>| async move {
        yield_now().await;
        if ward.generation() == 1 {
            return Err("on purpose");
        }
        ward.stop().stopped().await;
        Ok(())
    });
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    time.sleep_for(10 * MILLI).await;
    let texts = lines.texts();
    let last = texts.iter().rfind(|text| text.starts_with("ward `leases`")).unwrap();
    assert_eq!(last, "ward `leases`, generation 2: started", "{texts:?}");
    handle.shut_down();
    assert_eq!(run.await.unwrap().unwrap(), Finished { shut_down: true, leaking: 0 });
    let texts = lines.texts();
    assert!(texts.contains(&"ward `leases`, generation 2: done; as it was to".to_owned()), "{texts:?}");
    drop(store);
}

#[tokio::test(start_paused = true)]
async fn a_chore_of_a_steward_that_gives_up_goes_on_with_the_next_one() {
    let time = TokioTime::new();
    let (store, upkeep) = Leased::new(Memory::new(), time, lease::Settings::default());
    let mut steward = Steward::new(patient().with_intensity(0, ms(1000)).unwrap(), time);
    steward.keep("leases", upkeep.clone());
    steward.add(Spec::new("fails"), |_: Ward<()>| async { Err("on purpose") });
    steward.run().await.unwrap_err();

    let mut next = Steward::new(patient(), time);
    next.keep("leases", upkeep);
    let run = tokio::spawn(next.run());
    time.sleep_for(10 * MILLI).await;
    assert!(!run.is_finished());
    drop(store);
    assert!(!run.await.unwrap().unwrap().shut_down);
}

/// What it has handed to a task of its own goes on, and publishes nothing.
#[tokio::test(start_paused = true)]
async fn what_a_ward_leaves_behind_can_t_publish() {
    let time = TokioTime::new();
    let mut steward = Steward::new(patient(), time);
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&outcomes);
    let committed = steward.add(Spec::new("it"), move |ward: Ward<u64>| {
        let outcomes = Arc::clone(&seen);
        async move {
            let generation = ward.generation();
            let token = ward.token().clone();
            tokio::spawn(async move {
                time.sleep_for(50 * MILLI).await;
                let committed = token.commit(generation).is_ok();
                let published = token.publish(|| ()).is_ok();
                outcomes.lock().unwrap().push((generation, committed, published));
            });
            time.sleep_for(20 * MILLI).await;
            if generation < 4 { Err("on purpose") } else { pending().await }
        }
    });
    let run = tokio::spawn(steward.run());
    time.sleep_for(1000 * MILLI).await;
    assert_eq!(
        *outcomes.lock().unwrap(),
        [(1, false, false), (2, false, false), (3, false, false), (4, true, true)]
    );
    assert_eq!(committed.last(), Some(4));
    run.abort();
    assert!(run.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_steward_that_is_dropped_cuts_off_all() {
    let time = TokioTime::new();
    let mut steward = Steward::new(patient(), time);
    let (held, tokens) = (Arc::new(()), Arc::new(Mutex::new(Vec::new())));
    for name in ["a", "b"] {
        let (held, tokens) = (Arc::clone(&held), Arc::clone(&tokens));
        steward.add(Spec::new(name), move |ward: Ward<u64>| {
            let (held, tokens) = (Arc::clone(&held), Arc::clone(&tokens));
            async move {
                tokens.lock().unwrap().push(ward.token().clone());
                let _held = held;
                pending::<Result<(), String>>().await
            }
        });
    }
    {
        let mut run = std::pin::pin!(steward.run());
        for _ in 0..5 {
            assert!(
                std::future::poll_fn(|context| std::task::Poll::Ready(run.as_mut().poll(context)))
                    .await
                    .is_pending()
            );
            yield_now().await;
        }
        assert!(tokens.lock().unwrap().iter().all(Token::is_good) && tokens.lock().unwrap().len() == 2);
    }
    assert!(tokens.lock().unwrap().iter().all(|token| token.commit(1).is_err()), "at once");
    // The tasks are dropped when the runtime comes to it.
    while Arc::strong_count(&held) > 1 {
        yield_now().await;
    }
}

struct Loud;

impl std::task::Wake for Loud {
    fn wake(self: Arc<Self>) {
        std::panic::resume_unwind(Box::new("as the test has it"))
    }
}

/// Who waits for its stop is foreign, and panics as it hears of it.
#[tokio::test(start_paused = true)]
async fn a_ward_that_panics_at_its_stop_leaves_the_others_no_gate_open() {
    let mut steward = Steward::new(patient(), TokioTime::new());
    let tokens = Arc::new(Mutex::new(Vec::new()));
    for name in ["a", "b"] {
        let tokens = Arc::clone(&tokens);
        steward.add(Spec::new(name), move |ward: Ward<u64>| {
            let tokens = Arc::clone(&tokens);
            async move {
                tokens.lock().unwrap().push((ward.token().clone(), ward.stop().clone()));
                let mut stopped = std::pin::pin!(ward.stop().stopped());
                let loud = std::task::Waker::from(Arc::new(Loud));
                assert!(stopped.as_mut().poll(&mut std::task::Context::from_waker(&loud)).is_pending());
                pending::<Result<(), String>>().await
            }
        });
    }
    let mut run = Box::pin(steward.run());
    for _ in 0..5 {
        let poll = |context: &mut std::task::Context<'_>| std::task::Poll::Ready(run.as_mut().poll(context));
        assert!(std::future::poll_fn(poll).await.is_pending());
        yield_now().await;
    }
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(run)));
    let tokens = std::mem::take(&mut *tokens.lock().unwrap());
    assert_eq!(tokens.len(), 2);
    for (token, stop) in tokens {
        assert!(token.commit(1).is_err() && stop.cause().is_some());
    }
    assert!(died.is_ok(), "it is no matter of who drops the steward");
}

/// A ward that gives its heart away can't be heard any more, and is not taken for alive because of that.
#[tokio::test(start_paused = true)]
async fn a_ward_without_a_heart_is_soon_taken_for_dead() {
    let (time, lines) = (TokioTime::new(), Lines::default());
    let mut steward = Steward::new(patient(), time).with_report(lines.listener());
    let spec = Spec::new("it").watched(Watching::new(rule(300)));
    steward.add(spec, |ward: Ward<()>| async move {
        ward.beater().beat();
        drop(ward);
        pending::<Result<(), String>>().await
    });
    let run = tokio::spawn(steward.run());
    time.sleep_for(1000 * MILLI).await;
    run.abort();
    let told = lines.take();
    assert!(told.iter().filter(|(_, text)| text.contains("no sign of life")).count() == 3, "{told:?}");
}

#[test]
fn causes_as_text() {
    let told = |cause: Cause| Event::Ended { cause, next: Next::Restart(7) }.to_string();
    assert_eq!(told(Cause::Hung(Life::Stalled)), "makes no progress; it will be started again");
    assert_eq!(told(Cause::Cancelled), "cancelled; it will be started again");
    let leaked = Event::Leaked { task: true, blocking: 2, publishing: false }.to_string();
    assert_eq!(leaked, "can't be stopped and is left running: 1 task, 2 blocking, 0 publishing");
}
