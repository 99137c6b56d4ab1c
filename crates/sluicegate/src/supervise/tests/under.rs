//! Stewards as wards of others: they stop with them, in order and in time, and what they leave behind is told above.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use sluicegate_core::clock::Clock;

use super::blocking::drive;
use super::*;
use crate::timer::ManualTime;

/// What happened, with the milliseconds.
type Log = Arc<Mutex<Vec<(u64, &'static str)>>>;

/// Three, of which the second does not stop; with far more grace than the ward above has.
fn lower(time: TokioTime, log: &Log) -> Steward {
    let mut lower = Steward::new(patient().with_grace(ms(60_000)), time);
    for (name, stops) in [("a", true), ("b", false), ("c", true)] {
        let log = Arc::clone(log);
        lower.add(Spec::new(name), move |ward: Ward<()>| {
            let log = Arc::clone(&log);
            async move {
                ward.stop().stopped().await;
                log.lock().unwrap().push((time.now() / MILLI, name));
                if !stops {
                    pending::<()>().await;
                }
                ward.token().commit(()).map_err(|_| "too late")
            }
        });
    }
    lower
}

#[tokio::test(start_paused = true)]
async fn a_steward_under_a_ward_stops_in_order_within_the_time_of_the_ward() {
    let (time, lines, log) = (TokioTime::new(), Lines::default(), Log::default());
    let mut upper = Steward::new(patient(), time).with_report(lines.listener());
    let theirs = Arc::clone(&log);
    upper.add(Spec::new("below"), move |ward: Ward<()>| {
        let log = Arc::clone(&theirs);
        async move {
            assert_eq!(ward.time_left(), None);
            let finished = lower(time, &log).run_under(&ward).await.unwrap();
            assert_eq!(finished, Finished { shut_down: true, leaking: 0 });
            assert!(ward.time_left().unwrap() >= ms(120), "an eighth is left for what comes after");
            log.lock().unwrap().push((time.now() / MILLI, "after"));
            Ok::<_, String>(())
        }
    });
    let handle = upper.handle();
    let run = tokio::spawn(upper.run());
    time.sleep_for(10 * MILLI).await;
    handle.closed().await;
    assert_eq!(run.await.unwrap().unwrap(), Finished { shut_down: true, leaking: 0 });
    let log = log.lock().unwrap();
    let names: Vec<&str> = log.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["c", "b", "a", "after"]);
    assert!(log[3].0 < 10 + 875, "{log:?}");
    assert!(lines.texts().contains(&"ward `below`, generation 1: done; as it was to".to_owned()));
}

/// A thread that nobody can stop is the upper ward's too, as long as it runs.
#[tokio::test]
async fn what_a_steward_under_a_ward_leaves_running_is_told_above() {
    for fails in [false, true] {
        let (time, lines) = (ManualTime::new(), Lines::default());
        let mut upper = Steward::new(patient(), time.clone()).with_report(lines.listener());
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let began = Arc::new(AtomicBool::new(false));
        let (begins, clock) = (Arc::clone(&began), time.clone());
        upper.add(Spec::new("below"), move |ward: Ward<(), ManualTime>| {
            let (released, begins, clock) = (Arc::clone(&released), Arc::clone(&begins), clock.clone());
            async move {
                let mut lower = Steward::new(patient(), clock);
                lower.add(Spec::new("blocks"), move |ward: Ward<(), ManualTime>| {
                    let (released, begins) = (Arc::clone(&released), Arc::clone(&begins));
                    async move {
                        ward.blocking(move || {
                            begins.store(true, Ordering::Release);
                            let _ = released.lock().unwrap().recv();
                        })
                        .await;
                        Ok::<_, String>(())
                    }
                });
                let mut run = Box::pin(lower.run_under(&ward));
                let stop = ward.stop();
                if fails && stop.run(run.as_mut()).await.is_err() {
                    // It is dropped, as it is with a ward that is cut off.
                    return Err("on purpose".into());
                }
                run.await.map(drop).map_err(Box::<dyn Error + Send + Sync>::from)
            }
        });
        let handle = upper.handle();
        let run = tokio::spawn(upper.run());
        drive(&time, 0, || began.load(Ordering::Acquire)).await;
        handle.shut_down();
        drive(&time, 5000 * MILLI, || run.is_finished()).await;
        assert_eq!(run.await.unwrap().unwrap(), Finished { shut_down: true, leaking: 1 });
        let texts = lines.texts();
        let told = "ward `below`, generation 1: can't be stopped and is left running: 0 task, 1 blocking, 0 publishing";
        assert!(texts.iter().any(|text| text == told), "{texts:?}");
        assert!(time.now() <= 1100 * MILLI, "one grace and one patience: {}", time.now());
        drop(release);
    }
}

/// Told to go by its sibling's failure, its chores are not at their end: the next generation goes on with them.
#[tokio::test(start_paused = true)]
async fn a_chore_under_a_ward_goes_on_when_the_ward_s_sibling_fails() {
    let time = TokioTime::new();
    let mut upper = Steward::new(patient().with_strategy(Strategy::OneForAll), time);
    let (store, upkeep) = Leased::new(Memory::new(), time, lease::Settings::default());
    let lives = Arc::new(AtomicU64::new(0));
    let lived = Arc::clone(&lives);
    upper.add(Spec::new("below"), move |ward: Ward<()>| {
        let (upkeep, lives) = (upkeep.clone(), Arc::clone(&lived));
        async move {
            lives.fetch_add(1, Ordering::Relaxed);
            let mut lower = Steward::new(patient(), time);
            lower.keep("leases", upkeep);
            lower.run_under(&ward).await.map(drop)
        }
    });
    upper.add(Spec::new("fails"), move |ward: Ward<()>| async move {
        time.sleep_for(5 * MILLI).await;
        if ward.generation() == 1 {
            return Err("on purpose");
        }
        ward.stop().stopped().await;
        Ok(())
    });
    let handle = upper.handle();
    let run = tokio::spawn(upper.run());
    time.sleep_for(100 * MILLI).await;
    assert_eq!((handle.counts().restarts, lives.load(Ordering::Relaxed)), (2, 2), "it has not ended again");
    handle.closed().await;
    assert_eq!(run.await.unwrap().unwrap().leaking, 0);
    drop(store);
}

/// A ward that tells itself to stop has no time from above, and need not: those below have their own grace.
#[tokio::test(start_paused = true)]
async fn a_steward_under_a_ward_that_stops_itself_has_its_own_grace() {
    let (time, log) = (TokioTime::new(), Log::default());
    let mut upper = Steward::new(patient(), time);
    let theirs = Arc::clone(&log);
    upper.add(Spec::new("below").with_when(When::Never), move |ward: Ward<()>| {
        let log = Arc::clone(&theirs);
        async move {
            let mut lower = Steward::new(patient(), time);
            lower.add(Spec::new("slow"), move |ward: Ward<()>| {
                let log = Arc::clone(&log);
                async move {
                    ward.stop().stopped().await;
                    log.lock().unwrap().push((nanos(ward.time_left().unwrap()) / MILLI, "told"));
                    time.sleep_for(500 * MILLI).await;
                    log.lock().unwrap().push((time.now() / MILLI, "done"));
                    Ok::<_, String>(())
                }
            });
            let stop = ward.stop().clone();
            tokio::spawn(async move {
                time.sleep_for(10 * MILLI).await;
                stop.cancel();
            });
            let finished = lower.run_under(&ward).await.unwrap();
            assert_eq!((finished, ward.time_left()), (Finished { shut_down: true, leaking: 0 }, None));
            Ok::<_, String>(())
        }
    });
    assert!(!upper.run().await.unwrap().shut_down, "it was done by itself");
    let log = log.lock().unwrap();
    let [(left, "told"), (done, "done")] = log[..] else { panic!("{log:?}") };
    assert!(left > 990 && (510..515).contains(&done), "{log:?}");
}

/// Three levels. The middle one is to stop within a minute, and all below know that, when the one above is to stop at once.
#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_hastened_in_the_middle_reaches_all_below() {
    let (time, lines, log) = (TokioTime::new(), Lines::default(), Log::default());
    let mut upper = Steward::new(patient(), time).with_report(lines.listener());
    let (theirs, middles) = (Arc::clone(&log), Arc::new(OnceLock::new()));
    let sets = Arc::clone(&middles);
    upper.add(Spec::new("middle"), move |ward: Ward<()>| {
        let (log, sets) = (Arc::clone(&theirs), Arc::clone(&sets));
        async move {
            let mut middle = Steward::new(patient().with_grace(ms(60_000)), time);
            middle.add(Spec::new("below"), move |ward: Ward<()>| {
                let log = Arc::clone(&log);
                async move {
                    let finished = lower(time, &log).run_under(&ward).await.unwrap();
                    log.lock().unwrap().push((time.now() / MILLI, "after"));
                    assert!(finished.shut_down && ward.time_left().unwrap() > Duration::ZERO);
                    Ok::<_, String>(())
                }
            });
            sets.set(middle.handle()).unwrap();
            middle.run_under(&ward).await.map(drop)
        }
    });
    let handle = upper.handle();
    let run = tokio::spawn(upper.run());
    time.sleep_for(10 * MILLI).await;
    middles.get().unwrap().shut_down();
    time.sleep_for(10 * MILLI).await;
    handle.closed().await;
    assert_eq!(run.await.unwrap().unwrap(), Finished { shut_down: true, leaking: 0 });
    let log = log.lock().unwrap();
    let names: Vec<&str> = log.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["c", "b", "a", "after"], "in order, and nobody cut off but who does not stop");
    assert!(log[3].0 < 20 + 875, "{log:?}");
    assert!(lines.texts().contains(&"ward `middle`, generation 1: done; as it was to".to_owned()));
}

/// Told first to go because of a sibling's failure, and while it does, for good: then what it keeps is to finish.
#[tokio::test(start_paused = true)]
async fn a_chore_finishes_when_all_is_shut_down_while_a_sibling_s_failure_is_dealt_with() {
    for by_itself in [false, true] {
        let time = TokioTime::new();
        let mut upper = Steward::new(patient().with_strategy(Strategy::OneForAll), time);
        let (finished, lowers) = (Arc::new(AtomicBool::new(false)), Arc::new(OnceLock::new()));
        let (finishes, sets) = (Arc::clone(&finished), Arc::clone(&lowers));
        upper.add(Spec::new("below"), move |ward: Ward<()>| {
            let (finishes, sets) = (Arc::clone(&finishes), Arc::clone(&sets));
            async move {
                let mut lower = Steward::new(patient(), time);
                lower.keep("chore", Finishes(finishes));
                // It is stopped first, and takes some time.
                lower.add(Spec::new("slow"), move |ward: Ward<()>| async move {
                    ward.stop().stopped().await;
                    time.sleep_for(100 * MILLI).await;
                    Ok::<_, String>(())
                });
                let _ = sets.set(lower.handle());
                lower.run_under(&ward).await.map(drop)
            }
        });
        upper.add(Spec::new("fails"), move |_: Ward<()>| async move {
            time.sleep_for(5 * MILLI).await;
            Err("on purpose")
        });
        let handle = upper.handle();
        let run = tokio::spawn(upper.run());
        time.sleep_for(50 * MILLI).await;
        if by_itself {
            lowers.get().unwrap().shut_down();
            time.sleep_for(100 * MILLI).await;
            assert!(finished.load(Ordering::Acquire));
        }
        handle.closed().await;
        assert!(run.await.unwrap().unwrap().shut_down);
        assert!(finished.load(Ordering::Acquire));
    }
}

/// Does nothing, and knows whether it was to finish.
struct Finishes(Arc<AtomicBool>);

impl Chore for Finishes {
    fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        let finished = Arc::clone(&self.0);
        std::future::poll_fn(move |_| match finished.load(Ordering::Acquire) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        })
    }

    fn finish(&self) {
        self.0.store(true, Ordering::Release);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_steward_that_was_not_polled_yet_finds_it_ended() {
    let make = || {
        let mut steward = Steward::new(patient(), TokioTime::new());
        steward.add(Spec::new("it"), |_: Ward<()>| pending::<Result<(), String>>());
        steward
    };
    let steward = make();
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    handle.closed().await;
    assert!(run.is_finished());
    assert!(run.await.unwrap().unwrap().shut_down);

    // Dropped, it has ended as well.
    let steward = make();
    let handle = steward.handle();
    drop(steward.run());
    handle.closed().await;

    // One that does not run is not waited for, and never starts anybody.
    let steward = make();
    let handle = steward.handle();
    handle.closed().await;
    assert_eq!(steward.run().await.unwrap(), Finished { shut_down: true, leaking: 0 });
}
