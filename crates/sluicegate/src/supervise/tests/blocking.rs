//! Work that nobody can stop: it is said so, fenced off and counted, and all goes on without.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use super::*;
use crate::timer::ManualTime;

/// Lets all that is due be done, and moves the time from event to event, no further than `until`, until it is `done`.
pub(super) async fn drive(time: &ManualTime, until: u64, done: impl Fn() -> bool) {
    loop {
        for _ in 0..100 {
            yield_now().await;
        }
        if done() {
            return;
        }
        if let Some(at) = time.next().filter(|at| *at <= until) {
            time.set(at);
        }
    }
}

/// Work on a thread goes on when its ward is cut off.
#[tokio::test]
async fn blocking_work_is_leaked_fenced_off_and_counted() {
    let (time, lines) = (ManualTime::new(), Lines::default());
    let mut steward = Steward::new(patient(), time.clone()).with_report(lines.listener());
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(Some(released)));
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&outcomes);
    let began = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&began);
    let spec = Spec::new("it").watched(Watching::new(rule(300)));
    let committed = steward.add(spec, move |ward: Ward<u64, ManualTime>| {
        let (released, outcomes, begins) = (Arc::clone(&released), Arc::clone(&seen), Arc::clone(&begins));
        async move {
            ward.token().commit(ward.generation() * 10).unwrap();
            if ward.generation() > 1 {
                ward.beater().beating(ms(100), pending::<()>()).await;
            }
            let (token, released) = (ward.token().clone(), released.lock().unwrap().take().unwrap());
            ward.blocking(move || {
                begins.store(true, Ordering::Release);
                released.recv().unwrap();
                outcomes.lock().unwrap().push((token.commit(99).is_ok(), token.publish(|| ()).is_ok()));
            })
            .await;
            Ok::<_, String>(())
        }
    });
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    drive(&time, 0, || began.load(Ordering::Acquire)).await;
    drive(&time, 600 * MILLI, || handle.counts().restarts == 1).await;
    assert_eq!(handle.counts(), Counts { restarts: 1, leaked: 1, leaking: 1 });
    let it = "ward `it`, generation";
    assert_eq!(
        lines.take(),
        [
            (0, format!("{it} 1: started")),
            (300, format!("{it} 1: gives no sign of life; it will be started again")),
            (400, format!("{it} 1: can't be stopped and is left running: 0 task, 1 blocking, 0 publishing")),
            (400, format!("{it} 2: started")),
        ]
    );
    drive(&time, 700 * MILLI, || committed.last() == Some(20)).await;

    // The zombie comes to.
    release.send(()).unwrap();
    drive(&time, 0, || handle.counts().leaking == 0).await;
    assert_eq!(*outcomes.lock().unwrap(), [(false, false)]);
    assert_eq!(
        (committed.last(), lines.texts().pop()),
        (Some(20), Some(format!("{it} 1: what was left running has ended")))
    );
    handle.shut_down();
    drive(&time, 2000 * MILLI, || run.is_finished()).await;
    assert_eq!(run.await.unwrap().unwrap(), Finished { shut_down: true, leaking: 0 });
}

/// A task that blocks its thread can't be aborted either. The steward goes on, on another thread, and its shutdown too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_that_blocks_its_thread_is_leaked() {
    let (time, lines) = (ManualTime::new(), Lines::default());
    let mut steward = Steward::new(patient(), time.clone()).with_report(lines.listener());
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let began = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&began);
    steward.add(Spec::new("it"), move |_: Ward<u64, ManualTime>| {
        let (released, begins) = (Arc::clone(&released), Arc::clone(&begins));
        async move {
            begins.store(true, Ordering::Release);
            let _ = released.lock().unwrap().recv();
            Ok::<_, String>(())
        }
    });
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    drive(&time, 0, || began.load(Ordering::Acquire)).await;
    handle.shut_down();
    drive(&time, 5000 * MILLI, || run.is_finished()).await;
    assert_eq!(run.await.unwrap().unwrap(), Finished { shut_down: true, leaking: 1 });
    let (at, last) = lines.take().pop().unwrap();
    assert_eq!(at, 1100, "grace and patience");
    assert!(last.ends_with("1 task, 0 blocking, 0 publishing"), "{last}");
    drop(release);
}

/// A publication that does not end keeps the next generation out, and nobody else.
#[tokio::test]
async fn nobody_is_started_beside_a_publication() {
    let (time, lines) = (ManualTime::new(), Lines::default());
    let mut steward = Steward::new(patient(), time.clone()).with_report(lines.listener());
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(Some(released)));
    let began = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&began);
    let spec = Spec::new("it").watched(Watching::new(rule(300)));
    let committed = steward.add(spec, move |ward: Ward<u64, ManualTime>| {
        let (released, begins) = (Arc::clone(&released), Arc::clone(&begins));
        async move {
            ward.token().commit(ward.generation()).unwrap();
            if ward.generation() == 1 {
                let (token, released) = (ward.token().clone(), released.lock().unwrap().take().unwrap());
                let publication = move || {
                    begins.store(true, Ordering::Release);
                    released.recv().unwrap();
                };
                ward.blocking(move || token.publish(publication).unwrap()).await;
            }
            ward.beater().beating(ms(100), pending::<()>()).await;
            Ok::<_, String>(())
        }
    });
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    drive(&time, 0, || began.load(Ordering::Acquire)).await;
    drive(&time, 5000 * MILLI, || handle.counts().leaked == 1).await;
    time.set(10_000 * MILLI);
    for _ in 0..1000 {
        yield_now().await;
    }
    assert_eq!((handle.counts().restarts, committed.last()), (0, Some(1)));
    assert!(lines.texts().pop().unwrap().ends_with("0 task, 1 blocking, 1 publishing"));
    release.send(()).unwrap();
    // The thread has still to end once the publication has.
    drive(&time, 10_000 * MILLI, || committed.last() == Some(2) && handle.counts().leaking == 0).await;
    handle.shut_down();
    drive(&time, 20_000 * MILLI, || run.is_finished()).await;
    assert_eq!(run.await.unwrap().unwrap(), Finished { shut_down: true, leaking: 0 });
}

/// A panic on the thread is the ward's, and work that is over is no leak.
#[tokio::test]
async fn blocking_work_that_ends_is_waited_for() {
    let (time, lines) = (ManualTime::new(), Lines::default());
    let mut steward = Steward::new(patient(), time.clone()).with_report(lines.listener());
    let spec = Spec::new("it").with_when(When::OnFailure);
    let committed = steward.add(spec, |ward: Ward<u64, ManualTime>| async move {
        let generation = ward.generation();
        let made = ward.blocking(move || if generation == 1 { panic!("on the thread") } else { 7 }).await;
        ward.token().commit(made).map_err(|_| "replaced")
    });
    assert_eq!(steward.run().await.unwrap(), Finished { shut_down: false, leaking: 0 });
    assert_eq!(committed.last(), Some(7));
    assert!(lines.texts()[1].contains("panicked: on the thread"));
}
