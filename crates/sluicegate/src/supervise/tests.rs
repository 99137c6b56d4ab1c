//! Stewards and wards, in virtual time.

mod blocking;
mod h12;
mod storm;

use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use sluicegate_core::detector::{Life, Rule};
use sluicegate_core::restart::{Backoff, Strategy};
use tokio::task::yield_now;

use super::*;
use crate::fence::Token;

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
    fn listener(&self) -> impl FnMut(&Report) + Send + 'static {
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
        ["ward `c`, generation 1: done; as it was to", "ward `a`, generation 1: done; as it was to"],
        "the second was cut off"
    );
    assert!((110..115).contains(&told[0].0), "{told:?}");
    // 900 ms were left for two, so 450 for it.
    assert!((660..670).contains(&told[1].0), "{told:?}");
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
