//! A storm: jobs that are done, fail, panic, hang, wait too long, are cancelled, dropped or left alone, all at once.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::panic::resume_unwind;

use super::*;

const JOBS: u64 = 600;

/// What a job does, by its number.
fn kind(seed: u64, job: u64) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one((seed, job)) % 10
}

async fn act(kind: u64, time: TokioTime, job: Job) -> Result<u64, FailureOf<Here>> {
    match kind {
        0 | 1 => {}
        2 => time.sleep_for(3 * MS).await,
        3 => return Err(FailureOf::bug("as the test has it")),
        4 => resume_unwind(Box::new("as the test has it")),
        5 => pending().await,
        6 => {
            job.stop().stopped().await;
        }
        7 => {
            time.sleep_for(2 * MS).await;
            resume_unwind(Box::new("later, as the test has it"));
        }
        _ => {
            job.progress();
            time.sleep_for(20 * MS).await;
        }
    }
    Ok(kind)
}

async fn storm(seed: u64) -> Standing {
    let before = Handle::current().metrics().num_alive_tasks();
    let line = queue::Settings::new(20).with_codel(queue::Codel::default().newest_first()).fair();
    let settings = Settings::new(3, line).unwrap().with_longest(ms(60)).unwrap().with_stall(ms(40)).unwrap();
    let (workers, time) = started(settings).await;
    let (mut refused, mut dropped, mut answers) = (0, 0, Vec::new());
    for number in 0..JOBS {
        let kind = kind(seed, number);
        let job = Entry::new(move |job| act(kind, time, job)).keyed(number % 5);
        match workers.submit_as(job) {
            Err(_) => refused += 1,
            Ok(submitted) => match number % 7 {
                0 => drop(submitted),
                1 => submitted.detach(),
                2 => {
                    submitted.cancel();
                    answers.push(tokio::spawn(submitted));
                    dropped += 1;
                }
                _ => answers.push(tokio::spawn(submitted)),
            },
        }
        if number % 3 == 0 {
            time.sleep_for(MS * (kind + 1)).await;
        }
    }
    let drained = workers.drain(ms(30)).await;
    let mut heard = 0_u64;
    for answer in answers {
        // Each has one, and it comes.
        let answer = answer.await.unwrap();
        heard += 1;
        assert!(!matches!(answer, Ok(5..)) || matches!(answer, Ok(6 | 8 | 9)), "what hangs has no result");
    }
    let standing = workers.standing();
    assert_eq!((standing.refused, standing.admitted + standing.refused), (refused, JOBS));
    assert_eq!(standing.answered(), standing.admitted, "one answer each: {standing:?}");
    assert!(heard <= standing.admitted && dropped > 0);
    assert_eq!((standing.busy, standing.waiting, standing.leaking, drained.leaking), (0, 0, 0, 0));
    tasks_are(before).await;
    standing
}

#[tokio::test(start_paused = true)]
async fn in_a_storm_each_submitter_has_one_answer_and_no_task_is_left() {
    let mut counts = [0; 7];
    for seed in 0..5 {
        let Standing { done, failed, panicked, hung, expired, shed, cancelled, .. } = storm(seed).await;
        for (all, one) in counts.iter_mut().zip([done, failed, panicked, hung, expired, shed, cancelled]) {
            *all += one;
        }
    }
    // Or it was no storm.
    for (what, count) in
        ["done", "failed", "panicked", "hung", "expired", "shed", "cancelled"].into_iter().zip(counts)
    {
        assert!(count > 0, "no job was {what}");
    }
}
