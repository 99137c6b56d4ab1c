//! A steward, dropped wherever it waits: nobody publishes from then on, and no task stays.

use std::future::pending;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use sluicegate::detector::{Rule, Watching};
use sluicegate::fence::Token;
use sluicegate::restart::{Backoff, Settings, Strategy};
use sluicegate::supervise::{Escalated, Finished, Handle, Spec, Steward, Ward};
use sluicegate::timer::{ManualTime, Timer};
use sluicegate_testkit::drops::{Drops, Left, Turn};
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

const MILLI: u64 = 1_000_000;

struct House {
    time: ManualTime,
    handle: Handle,
    tokens: Arc<Mutex<Vec<Token<u64>>>>,
    run: Option<JoinHandle<Result<Finished, Escalated>>>,
}

/// Three wards: one fails soon, one hangs, one stops only when it is cut off.
fn house(strategy: Strategy) -> (House, impl Future<Output = Result<Finished, Escalated>>) {
    let (time, tokens) = (ManualTime::new(), Arc::new(Mutex::new(Vec::new())));
    let settings = Settings::default()
        .with_strategy(strategy)
        .with_intensity(100, Duration::from_secs(1))
        .unwrap()
        .with_backoff(Backoff::new(Duration::from_millis(2), Duration::from_millis(2)).unwrap())
        .with_grace(Duration::from_millis(6))
        .with_patience(Duration::from_millis(2));
    let mut steward = Steward::new(settings, time.clone()).with_seed(1);
    for who in 0..3 {
        let watching = Watching::new(Rule::timeout(Duration::from_millis(5)).unwrap());
        let (time, tokens) = (time.clone(), Arc::clone(&tokens));
        steward.add(Spec::new("it").watched(watching), move |ward: Ward<u64, ManualTime>| {
            let (time, tokens) = (time.clone(), Arc::clone(&tokens));
            async move {
                tokens.lock().unwrap().push(ward.token().clone());
                match who {
                    0 => time.sleep_for(3 * MILLI).await,
                    1 => pending().await,
                    _ => ward.beater().beating(Duration::from_millis(1), pending()).await,
                }
                Err::<(), _>("on purpose")
            }
        });
    }
    let handle = steward.handle();
    (House { time, handle, tokens, run: None }, steward.run())
}

async fn dropped_anywhere(strategy: Strategy) {
    let before = Runtime::current().metrics().num_alive_tasks();
    let seen = Drops::new()
        .run(
            || house(strategy),
            async |house, step| {
                house.time.set(step as u64 * MILLI);
                if step == 20 {
                    house.handle.shut_down();
                }
                for _ in 0..20 {
                    yield_now().await;
                }
                if step == 20 { Turn::MustWake } else { Turn::MayWait }
            },
            |house, left| {
                let tokens = house.tokens.lock().unwrap();
                assert!(tokens.iter().all(|token| token.commit(7).is_err() && token.publish(|| ()).is_err()));
                if let Left::Output(finished) = left {
                    assert!(tokens.len() > 6, "nobody was started again");
                    assert_eq!(*finished.as_ref().unwrap(), Finished { shut_down: true, leaking: 0 });
                }
            },
        )
        .await;
    assert!(seen.polls > 10, "{seen:?}");
    // Aborted tasks are dropped when the runtime comes to it.
    while Runtime::current().metrics().num_alive_tasks() > before {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_steward_one_for_one() {
    dropped_anywhere(Strategy::OneForOne).await;
}

#[tokio::test]
async fn a_steward_all_for_one() {
    dropped_anywhere(Strategy::OneForAll).await;
}

/// What has begun goes on, and is waited for; what has not never does.
#[tokio::test]
async fn blocking_work() {
    let mut steward = Steward::new(Settings::default(), ManualTime::new());
    let (hands, handed) = oneshot::channel();
    let hands = Mutex::new(Some(hands));
    steward.add(Spec::new("it"), move |ward: Ward<(), ManualTime>| {
        let hands = hands.lock().unwrap().take().unwrap();
        async move {
            let ward = Arc::new(ward);
            let _ = hands.send(Arc::clone(&ward));
            ward.stop().stopped().await;
            Ok::<_, String>(())
        }
    });
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    let ward = handed.await.unwrap();
    Drops::new()
        .at_most(100_000)
        .run(
            || {
                let (release, released) = channel::<()>();
                let ward = Arc::clone(&ward);
                let work = async move { ward.blocking(move || released.recv().is_err()).await };
                (Some(release), work)
            },
            async |release, step| {
                if step == 2 {
                    *release = None;
                }
                // A thread ends in its own time.
                for _ in 0..10 {
                    yield_now().await;
                }
                Turn::MayWait
            },
            |release, left| {
                *release = None;
                if let Left::Output(was_released) = left {
                    assert!(*was_released);
                }
            },
        )
        .await;
    handle.shut_down();
    // It ends by itself once all of them have, so none leaks.
    assert_eq!(run.await.unwrap().unwrap(), Finished { shut_down: true, leaking: 0 });
}

/// Waiting for the end of a steward, which comes all the same.
#[tokio::test]
async fn its_end() {
    let seen = Drops::new()
        .keeping_no_waker()
        .run(
            || {
                let (mut house, run) = house(Strategy::OneForOne);
                let handle = house.handle.clone();
                // It runs from its first poll on.
                let mut run = Box::pin(run);
                assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                house.run = Some(tokio::spawn(run));
                (house, async move { handle.closed().await })
            },
            async |house, step| {
                house.time.set(step as u64 * MILLI);
                for _ in 0..20 {
                    yield_now().await;
                }
                let has_ended = house.run.as_ref().is_none_or(JoinHandle::is_finished);
                if has_ended && step > 1 { Turn::MustWake } else { Turn::MayWait }
            },
            |house, left| {
                if !matches!(left, Left::Nothing) {
                    let tokens = house.tokens.lock().unwrap();
                    assert!(tokens.len() >= 3 && tokens.iter().all(|token| token.commit(7).is_err()));
                }
            },
        )
        .await;
    assert!(seen.polls > 1);
}
