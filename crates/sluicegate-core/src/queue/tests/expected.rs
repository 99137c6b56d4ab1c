//! What is expected: how long a wait will be, who is hopeless, when to come back.

use proptest::prelude::*;

use super::*;
use crate::queue::reading::{MOST, UNKNOWN};

/// A queue whose servers have been busy for a while; each takes so long, and they are ready one after the other, evenly.
fn warm(settings: &Settings, servers: u64, service: u64) -> (Queue<u64>, u64) {
    let (mut queue, shed, gap) =
        (Queue::with(settings, servers as usize), &mut Vec::new(), service / servers);
    let mut now = 0;
    for n in 0..servers {
        now = n * gap;
        assert!(matches!(queue.offer(n, now, shed), Offer::Start(_)));
    }
    for n in servers..servers + 100 {
        assert!(matches!(queue.offer(n, now, shed), Offer::Wait(_)));
        now += gap;
        assert_eq!(queue.ready(now, shed), Some(n));
        queue.served(service);
    }
    (queue, now)
}

#[test]
fn with_steady_servers_the_wait_is_known_exactly() {
    for servers in [1, 4] {
        let (mut queue, now) = warm(&Settings::new(1000), servers, 20 * MS);
        let (gap, shed) = (20 * MS / servers, &mut Vec::new());
        let a_part = now + gap / 4;
        for ahead in 0..100 {
            let wait = nanos(queue.expected_wait(0, 0, a_part));
            assert_eq!(wait, (ahead + 1) * gap - gap / 4);
            let done = a_part + wait + 20 * MS;
            let refused = queue.offer(Entry::new(ahead).until(done - 1), a_part, shed);
            assert_eq!(refused, Offer::Refused(ahead, Refusal::Hopeless));
            assert!(matches!(queue.offer(Entry::new(ahead).until(done), a_part, shed), Offer::Wait(_)));
        }
    }
}

#[test]
fn what_is_ahead_is_counted_in_its_own_order() {
    let settings = Settings::new(1000).with_classes(&[3, 1]).unwrap().fair();
    let (mut queue, now) = warm(&settings, 1, MS);
    let expected = |queue: &Queue<u64>, class, key| {
        let wait = nanos(queue.expected_wait(class, key, now));
        assert_eq!(wait % MS, 0);
        wait / MS - 1
    };
    let shed = &mut Vec::new();
    for n in 0..100 {
        queue.offer(Entry::new(n).keyed(1).in_class(1), now, shed);
    }
    assert_eq!(expected(&queue, 1, 1), 100, "behind its own");
    assert_eq!(expected(&queue, 1, 2), 1, "behind one of the other key");
    assert_eq!(expected(&queue, 0, 1), 1, "and behind one of the other class, until that has had its turn");
    for n in 0..9 {
        queue.offer(Entry::new(n).keyed(7), now, shed);
    }
    assert_eq!(expected(&queue, 0, 7), 9 + 4, "ten of its class, a third as many of the other");
    assert_eq!(expected(&queue, 1, 1), 100 + 9);
    queue.come_back(0);
    assert_eq!(expected(&queue, 0, 7), 9 + 4 + 1);
}

#[test]
fn newest_first_nobody_is_ahead() {
    let settings = Settings::new(1000).with_codel(Codel::default().newest_first());
    let (mut queue, mut now) = warm(&settings, 1, MS);
    let shed = &mut Vec::new();
    for n in 0..400 {
        for of in 0..2 {
            queue.offer(2 * n + of, now, shed);
        }
        now += MS;
        queue.ready(now, shed);
    }
    assert!(queue.is_overloaded(now) && queue.waiting() > 0);
    assert_eq!(nanos(queue.expected_wait(0, 0, now)), MS);
}

#[test]
fn in_an_overload_nobody_is_served_who_has_waited_for_long() {
    let settings = Settings::new(1000).with_codel(Codel::default());
    let (mut queue, mut now) = warm(&settings, 1, MS);
    let shed = &mut Vec::new();
    for n in 0..400 {
        for of in 0..10 {
            queue.offer(10 * n + of, now, shed);
        }
        now += MS;
        queue.ready(now, shed);
    }
    assert!(queue.waiting() > 90);
    assert_eq!(nanos(queue.expected_wait(0, 0, now)), 11 * MS);
}

#[test]
fn who_was_slow_once_is_asked_again() {
    let (mut queue, mut now) = warm(&Settings::new(10), 1, 10_000 * MS);
    let shed = &mut Vec::new();
    let soon = |now: u64| Entry::new(0).until(now + 100 * MS);
    assert_eq!(queue.offer(soon(now), now, shed), Offer::Refused(0, Refusal::Hopeless));
    for _ in 0..2000 {
        now += MS;
        queue.ready(now, shed);
        queue.served(MS);
        if queue.idle() > 0 {
            assert!(matches!(queue.offer(soon(now), now, shed), Offer::Start(_)));
        }
        queue.offer(soon(now), now, shed);
    }
    assert!(matches!(queue.offer(soon(now), now, shed), Offer::Wait(_)), "its numbers are those of now");
}

#[test]
fn a_server_that_takes_longer_than_ever_shows_before_it_is_ready() {
    let (mut queue, now) = warm(&Settings::new(1), 1, MS);
    queue.set_bound(0);
    assert_eq!(queue.retry_after(now), Some(Duration::from_millis(1)));
    assert_eq!(queue.retry_after(now + 500 * MS), Some(Duration::from_millis(500)));
    assert_eq!(queue.retry_after(now + 500_000 * MS), Some(MOST));
    assert!(queue.expected_wait(0, 0, now + 1000 * MS) == Duration::ZERO, "it may be ready at once");
}

#[test]
fn while_nothing_is_known_nobody_is_hopeless() {
    let mut queue = Queue::with_idle(10, 1);
    assert_eq!(queue.retry_after(0), Some(Duration::ZERO));
    assert_eq!(queue.offer_now(1), Offer::Start(1));
    for n in 0..9 {
        queue.joins(Entry::new(n).until(0));
    }
    assert_eq!((queue.retry_after(0), queue.expected_wait(0, 0, 0)), (Some(UNKNOWN), Duration::ZERO));
}

#[test]
fn the_first_worker_to_come_has_not_been_busy_until_then() {
    let (mut queue, shed) = (Queue::new(10), &mut Vec::new());
    for n in 0..4 {
        queue.offer(n, 1000 * MS, shed);
    }
    queue.ready(5000 * MS, shed);
    assert_eq!(queue.retry_after(5000 * MS), Some(UNKNOWN));
    queue.ready(5007 * MS, shed);
    assert_eq!(queue.expected_wait(0, 0, 5007 * MS), Duration::from_millis(3 * 7));
    while queue.idle() == 0 {
        queue.ready(5014 * MS, shed);
    }
    assert!(queue.leave());
    queue.ready(9000 * MS, shed);
    assert_eq!(queue.drain.longest(), 7 * MS, "nor who had left");
}

proptest! {
    /// Who comes back as told finds room, and an idle server where they all keep their pace, if nobody else came: with services that
    /// are not the same, but none longer than the longest lately.
    #[test]
    fn to_come_back_as_told_is_never_early(
        bound in 0_usize..20,
        servers in 1_usize..5,
        services in prop::collection::vec(1_u64..100, 60..200),
        even in any::<bool>(),
    ) {
        let (mut queue, shed) = (Queue::with(&Settings::new(bound), servers), &mut Vec::new());
        let mut busy = std::collections::BinaryHeap::new();
        let (mut now, mut services) = (0, services.into_iter());
        let service = |services: &mut std::vec::IntoIter<u64>| {
            services.next().map(|ms| if even { 50 * MS } else { ms * MS })
        };
        // As many as may come all the time, until what is known of services is at an end.
        loop {
            let full = loop {
                match queue.offer((), now, shed) {
                    Offer::Start(()) => match service(&mut services) {
                        Some(takes) => busy.push(std::cmp::Reverse(now + takes)),
                        None => break true,
                    },
                    Offer::Wait(_) => {}
                    Offer::Refused((), why) => {
                        prop_assert_eq!(why, Refusal::Full);
                        break false;
                    }
                }
            };
            if full {
                break;
            }
            let back = now + nanos(queue.retry_after(now).unwrap());
            let first = busy.peek().unwrap().0;
            if even {
                prop_assert!(queue.drain.gap(now).is_none() || first <= back, "{first} {back}");
            }
            now = busy.pop().unwrap().0;
            if queue.ready(now, shed).is_some() {
                match service(&mut services) {
                    Some(takes) => busy.push(std::cmp::Reverse(now + takes)),
                    None => break,
                }
            }
        }
        // Nobody else comes.
        if busy.is_empty() || queue.idle() > 0 {
            return Ok(());
        }
        let longest = queue.drain.longest();
        let back = now + nanos(queue.retry_after(now).unwrap());
        let next = now + longest;
        prop_assert!(back >= next);
        queue.ready(next, shed);
        prop_assert!(!matches!(queue.offer((), back, shed), Offer::Refused(..)));
    }
}
