//! What is known of how long jobs take, and who lives.

use super::*;

/// A job that takes so long.
async fn takes(time: TokioTime, millis: u64) -> Nothing {
    time.sleep_for(millis * MS).await;
    Ok(())
}

/// A job that was stopped tells when that was, and not how long such jobs take.
#[tokio::test(start_paused = true)]
async fn who_is_stopped_does_not_tell_how_long_jobs_take() {
    // One of them is idle, so nothing is known from how often they are ready.
    let (workers, time) = started(settings(2, 10)).await;
    for _ in 0..20 {
        let expires = Entry::new(|_| pending::<Nothing>()).until(time.now() + 500 * MS);
        assert!(matches!(workers.submit_as(expires).unwrap().await, Err(JobError::Expired)));
        settle().await;
        let stops = workers.submit(|_| pending::<Nothing>()).unwrap();
        time.sleep_for(500 * MS).await;
        drop(stops);
        settle().await;
    }
    let all_busy = || [(); 2].map(|()| workers.submit(|_| pending::<Nothing>()).unwrap());
    let busy = all_busy();
    settle().await;
    let short = || workers.submit_as(Entry::new(move |_| takes(time, 1)).until(time.now() + 100 * MS));
    let waits = short().expect("nothing is known of such jobs");
    drop((busy, waits));
    settle().await;

    // What ended by itself tells, whatever its answer.
    for _ in 0..20 {
        let fails = workers.submit(move |_| async move {
            takes(time, 500).await?;
            Err::<(), _>(FailureOf::<Here>::bug("as the test has it").into_failure())
        });
        assert!(matches!(fails.unwrap().await, Err(JobError::Failed(_))));
        settle().await;
    }
    let _busy = all_busy();
    settle().await;
    assert_eq!(short().unwrap_err().why(), Refusal::Hopeless);
}

/// What a job leaves behind may say that it lives, for as long as it likes: that is no sign of the next one's life.
#[tokio::test(start_paused = true)]
async fn a_copy_of_a_job_that_has_ended_does_not_speak_for_the_next() {
    let (workers, time) = started(settings(1, 4).with_stall(ms(100)).unwrap()).await;
    let left = workers.submit(|job: Job| async move { Ok::<_, Failure>(job) }).unwrap().await.unwrap();
    let speaks = tokio::spawn(async move {
        loop {
            left.beat();
            left.progress();
            time.sleep_for(20 * MS).await;
        }
    });
    let hangs = workers.submit(|_| pending::<Nothing>()).unwrap();
    time.sleep_for(10_000 * MS).await;
    speaks.abort();
    assert!(hangs.is_answered(), "it is not noticed");
    assert!(matches!(hangs.await, Err(JobError::Hung)));
}

/// Whatever the settings of restarts say, and with their bound used up: the others' jobs go on.
#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_replaced_alone() {
    use sluicegate_core::restart::{Settings as Restarts, Strategy};
    for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
        let restarts = Restarts::default().with_strategy(strategy).with_intensity(1, ms(60_000)).unwrap();
        let settings = settings(3, 10).with_stall(ms(1000)).unwrap().with_restarts(restarts);
        let (workers, time) = started(settings).await;
        let long = || {
            workers.submit(move |job| async move {
                for _ in 0..60 {
                    time.sleep_for(500 * MS).await;
                    job.progress();
                }
                Ok::<_, Failure>(7)
            })
        };
        // Before the one and behind it.
        let first = long().unwrap();
        let hangs: Vec<_> = (0..5).map(|_| workers.submit(|_| pending::<Nothing>()).unwrap()).collect();
        let second = long().unwrap();
        for hang in hangs {
            assert!(matches!(hang.await, Err(JobError::Hung)));
        }
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (7, 7), "{strategy:?}");
        assert_eq!((workers.standing().hung, workers.standing().gone), (5, 0));
        workers.drain(ms(10_000)).await;
        assert_eq!(workers.standing().restarts, 5, "{strategy:?}");
    }
}
