//! Permits and queues: the exact bound, first come first served, and nothing lost by a future that is dropped.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use sluicegate::permits::Permits;
use sluicegate::queue::{Queue, Refusal};

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn is_ready<F: Future + Unpin>(future: &mut F) -> bool {
    poll(future).is_ready()
}

#[test]
fn of_200_at_once_on_one_permit_and_a_queue_of_10_189_are_refused() {
    let permits = Permits::new(1, 10);
    let admitted: Vec<_> = (0..200).filter_map(|_| permits.enter().ok()).collect();
    assert_eq!((admitted.len(), permits.in_flight(), permits.waiting()), (11, 1, 10));
    drop(admitted);
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0), "dropped anywhere, nothing is lost");
}

#[test]
fn a_queue_of_none_admits_only_who_can_start() {
    let permits = Permits::new(1, 0);
    let first = permits.enter().unwrap();
    assert_eq!(permits.enter().unwrap_err().why(), Refusal::Full);
    drop(first);
    assert!(permits.enter().is_ok());
}

#[test]
fn permits_go_to_who_waited_longest_and_nobody_barges() {
    let permits = Permits::new(1, 3);
    let Poll::Ready(Ok(held)) = poll(&mut permits.enter().unwrap()) else { panic!("free") };
    let mut line: Vec<_> = (0..3).map(|_| permits.enter().unwrap()).collect();
    assert!(line.iter_mut().all(|enter| !is_ready(enter)));
    drop(held);
    assert!(permits.try_enter().is_none(), "it has gone to the first in line");
    let Poll::Ready(Ok(held)) = poll(&mut line[0]) else { panic!("handed over") };
    assert!(!is_ready(&mut line[1]));

    // The second leaves; the third is next.
    let mut third = line.pop().unwrap();
    drop(line);
    drop(held);
    assert!(is_ready(&mut third));
}

#[test]
fn a_permit_handed_to_a_future_that_is_dropped_goes_on() {
    let permits = Permits::new(1, 2);
    let Poll::Ready(Ok(held)) = poll(&mut permits.enter().unwrap()) else { panic!("free") };
    let (mut first, mut second) = (permits.enter().unwrap(), permits.enter().unwrap());
    assert!(!is_ready(&mut first) && !is_ready(&mut second));
    drop(held);
    assert!(first.is_ready() && !second.is_ready());
    drop(first);
    assert!(second.is_ready());
    drop(second);
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
}

#[test]
fn permits_that_become_fewer_come_back_until_there_are_as_many_as_there_should_be() {
    let permits = Permits::new(3, 1);
    let mut held: Vec<_> = (0..3).filter_map(|_| permits.try_enter()).collect();
    let mut waiting = permits.enter().unwrap();
    permits.resize(1, 2);
    held.truncate(1);
    assert_eq!((permits.in_flight(), permits.concurrency()), (1, 1));
    assert!(!is_ready(&mut waiting) && permits.try_enter().is_none());
    let (_second, third) = (permits.enter().unwrap(), permits.enter());
    assert_eq!(third.unwrap_err().why(), Refusal::Full, "the bound is the new one");
    drop(held);
    assert!(waiting.is_ready());
    assert_eq!((permits.in_flight(), permits.waiting()), (1, 1));
}

#[test]
fn permits_that_become_more_go_to_who_waits() {
    let permits = Permits::new(1, 3);
    let held = permits.try_enter().unwrap();
    let mut line: Vec<_> = (0..3).map(|_| permits.enter().unwrap()).collect();
    assert!(line.iter_mut().all(|enter| !is_ready(enter)));
    permits.resize(3, 3);
    assert!(line[0].is_ready() && line[1].is_ready() && !line[2].is_ready());
    permits.resize(usize::MAX, 0);
    assert!(line[2].is_ready());
    drop((held, line));
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
    permits.resize(1, 0);
    let (first, second) = (permits.try_enter(), permits.try_enter());
    assert!(first.is_some() && second.is_none());
}

#[test]
fn closed_permits_serve_who_waits_and_refuse_the_rest() {
    let permits = Permits::new(1, 5);
    let held = permits.enter().unwrap();
    let waits = permits.enter().unwrap();
    permits.close();
    let refused = permits.enter().unwrap_err();
    assert_eq!((refused.why(), refused.retry_after()), (Refusal::Closed, None));
    drop(held);
    assert!(waits.is_ready());
}

#[test]
fn a_queue_of_none_is_a_rendezvous() {
    let queue = Queue::new(0);
    assert_eq!(queue.push(1).unwrap_err().0, 1);
    let mut worker = queue.pop();
    assert!(!is_ready(&mut worker));
    queue.push(2).unwrap();
    assert_eq!(queue.push(3).unwrap_err().1.why(), Refusal::Full, "one worker, one item");
    assert_eq!(poll(&mut worker), Poll::Ready(Some(2)));
}

#[test]
fn an_item_handed_to_a_worker_that_is_dropped_is_next_for_another() {
    let queue = Queue::new(2);
    let (mut first, mut second) = (queue.pop(), queue.pop());
    assert!(!is_ready(&mut first) && !is_ready(&mut second));
    queue.push(1).unwrap();
    drop(first);
    queue.push(2).unwrap();
    assert_eq!(poll(&mut second), Poll::Ready(Some(1)), "the oldest first");
    assert_eq!(poll(&mut queue.pop()), Poll::Ready(Some(2)));

    // Without another worker it waits, first in line.
    let mut alone = queue.pop();
    assert!(!is_ready(&mut alone));
    queue.push(3).unwrap();
    queue.push(4).unwrap();
    drop(alone);
    assert_eq!(
        (poll(&mut queue.pop()), poll(&mut queue.pop())),
        (Poll::Ready(Some(3)), Poll::Ready(Some(4)))
    );
    assert!(queue.is_empty());
}

#[test]
fn a_worker_that_was_dropped_is_not_counted_as_idle() {
    let queue = Queue::new(0);
    let mut worker = queue.pop();
    assert!(!is_ready(&mut worker));
    drop(worker);
    assert!(queue.push(1).is_err());
}

#[test]
fn a_closed_queue_is_emptied_and_then_ends() {
    let queue = Queue::new(2);
    queue.push(1).unwrap();
    queue.close();
    assert_eq!(queue.push(2).unwrap_err().1.why(), Refusal::Closed);
    assert_eq!((poll(&mut queue.pop()), poll(&mut queue.pop())), (Poll::Ready(Some(1)), Poll::Ready(None)));
}

#[test]
fn an_item_on_its_way_when_the_queue_closes_is_not_left_behind() {
    let queue = Queue::new(0);
    let (mut first, mut second) = (queue.pop(), queue.pop());
    assert!(!is_ready(&mut first) && !is_ready(&mut second));
    queue.push(1).unwrap();
    queue.close();
    assert!(!is_ready(&mut second), "the first may still leave it");
    drop(first);
    assert_eq!(poll(&mut second), Poll::Ready(Some(1)));
    assert_eq!(poll(&mut queue.pop()), Poll::Ready(None));
}

#[tokio::test]
async fn workers_that_wait_end_when_the_queue_closes() {
    let queue = Queue::<u8>::new(1);
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.pop().await })
        })
        .collect();
    tokio::task::yield_now().await;
    queue.close();
    for worker in workers {
        assert_eq!(worker.await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn producers_and_workers_on_threads_lose_and_double_nothing() {
    const EACH: u64 = 20_000;
    let queue = Queue::new(8);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let (mut sum, mut count) = (0, 0);
                while let Some(item) = queue.pop().await {
                    (sum, count) = (sum + item, count + 1);
                }
                (sum, count)
            })
        })
        .collect();
    let producers: Vec<_> = (0..4)
        .map(|producer| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for item in 0..EACH {
                    let mut item = producer * EACH + item;
                    while let Err((back, why)) = queue.push(item) {
                        assert!(why.waiting() == 8, "{why}");
                        item = back;
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.unwrap();
    }
    queue.close();
    let (mut sum, mut count) = (0, 0);
    for worker in workers {
        let (items, number) = worker.await.unwrap();
        (sum, count) = (sum + items, count + number);
    }
    let all = 4 * EACH;
    assert_eq!((count, sum), (all, all * (all - 1) / 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_on_threads_that_give_up_lose_and_double_nothing() {
    const EACH: u64 = 5_000;
    let queue = Queue::new(2);
    let workers: Vec<_> = (0..4_u64)
        .map(|worker| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let (mut sum, mut count, mut turn) = (0, 0, worker);
                loop {
                    turn += 1;
                    let mut pop = queue.pop();
                    let item = if turn % 2 == 0 {
                        // Gives up soon, sometimes after it was handed an item.
                        let first = poll(&mut pop);
                        tokio::task::yield_now().await;
                        let Poll::Ready(item) = first else { continue };
                        item
                    } else {
                        pop.await
                    };
                    let Some(item) = item else { return (sum, count) };
                    (sum, count) = (sum + item, count + 1);
                }
            })
        })
        .collect();
    let producers: Vec<_> = (0..2)
        .map(|producer| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for item in 0..EACH {
                    let mut item = producer * EACH + item;
                    while let Err((back, _)) = queue.push(item) {
                        item = back;
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.unwrap();
    }
    queue.close();
    let (mut sum, mut count) = (0, 0);
    for worker in workers {
        let (items, number) = worker.await.unwrap();
        (sum, count) = (sum + items, count + number);
    }
    let all = 2 * EACH;
    assert_eq!((count, sum), (all, all * (all - 1) / 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn permits_under_threads_that_give_up_are_never_exceeded_nor_lost() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (permits, inside) = (Permits::new(3, 5), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let (permits, inside) = (permits.clone(), Arc::clone(&inside));
            tokio::spawn(async move {
                for round in 0..2_000 {
                    let Ok(mut enter) = permits.enter() else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    if (round + task) % 3 == 0 {
                        // Gives up, sometimes after it was handed a permit.
                        let _ = is_ready(&mut enter);
                        continue;
                    }
                    let permit = enter.await.unwrap();
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
}
