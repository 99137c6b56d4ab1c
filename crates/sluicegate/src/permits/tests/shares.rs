//! Shares of the limit: a line for each partition.

use sluicegate_core::concurrency::{self, Fixed};

use super::*;

/// So many permits, of which partition 0 has this share.
fn shared(permits: u32, share: f64, line: usize) -> (Permits, ManualTime) {
    let time = ManualTime::new();
    let limit = concurrency::Settings::default().with_first(permits).unwrap();
    let limit = limit.with_shares(&[share]).unwrap();
    let settings = Settings::new(0, queue::Settings::new(line)).adaptive(limit, Fixed);
    (Permits::with(settings, time.clone()), time)
}

fn of(partition: usize) -> Who {
    Who { partition, ..Who::default() }
}

#[test]
fn a_place_that_is_kept_goes_to_who_it_is_kept_for_and_nobody_is_in_its_way() {
    let (permits, time) = shared(4, 0.5, 10);
    let mut held: Vec<_> = (0..4).map(|_| permits.try_enter_of(1).unwrap()).collect();
    let mut others: Vec<_> = (0..3).map(|_| permits.enter_as(of(1)).unwrap()).collect();
    let mut own: Vec<_> = (0..3).map(|_| permits.enter_as(of(0)).unwrap()).collect();
    // Two places are owed to partition 0, though the others came first.
    drop(held.pop());
    drop(held.pop());
    assert!(own[0].is_ready() && own[1].is_ready() && !others.iter().any(Enter::is_ready));
    // What is left over goes round.
    drop(held.pop());
    drop(held.pop());
    assert_eq!(permits.in_flight(), 4);
    let standing = permits.standing();
    assert_eq!(standing.partitions.len(), 2);
    assert_eq!((standing.partitions[0].guarantee, standing.partitions[1].guarantee), (2, 0));
    assert!(standing.partitions[0].in_flight >= 2, "{standing:?}");
    drop(own.drain(..).chain(others.drain(..)).collect::<Vec<_>>());
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
    drop(time);
}

/// A place is kept for who wanted it lately. If it then does not come, nobody ends and nobody arrives: who waits looks after it by itself.
#[test]
fn a_place_that_is_kept_in_vain_is_lent_though_nobody_moves() {
    let (permits, time) = shared(2, 1.0, 10);
    drop([permits.try_enter_of(0).unwrap(), permits.try_enter_of(0).unwrap()]);
    let mut waits = permits.enter_as(of(1)).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut poll = || Pin::new(&mut waits).poll(&mut Context::from_waker(&waker));
    let mut seconds = 0;
    let _permit = loop {
        if let Poll::Ready(asked) = poll() {
            break asked.unwrap();
        }
        assert_eq!(permits.in_flight(), 0, "both are kept");
        let at = time.next().expect("it sleeps until it may look");
        time.set(at);
        seconds += 1;
        assert!(seconds <= 3 && wakes.0.load(Ordering::Relaxed) >= seconds);
    };
    assert_eq!((permits.in_flight(), permits.waiting()), (1, 0));
}

#[test]
fn a_flood_of_one_partition_fills_its_own_line_alone() {
    let (permits, _time) = shared(2, 0.5, 3);
    let flood: Vec<_> = (0..20).map(|_| permits.enter_as(of(1))).collect();
    assert_eq!(flood.iter().filter(|asked| asked.is_err()).count(), 15);
    let own = permits.enter_as(of(0)).unwrap();
    assert_eq!(permits.waiting(), 4);
    drop(flood);
    assert!(own.is_ready());
}

/// Who waited before there were shares knew of no time at which to look.
#[test]
fn who_waited_before_there_were_shares_is_lent_a_place_too() {
    let (permits, time) = fixed(2, queue::Settings::new(10));
    let mut held: Vec<_> = (0..2).map(|_| permits.try_enter().unwrap()).collect();
    let (mut one, mut two) = (permits.enter().unwrap(), permits.enter().unwrap());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let poll_two = |two: &mut Enter| Pin::new(two).poll(&mut Context::from_waker(&waker));
    assert!(poll(&mut one).is_pending() && poll_two(&mut two).is_pending());
    let limit = concurrency::Settings::default().with_limits(2, 2).unwrap().with_shares(&[0.5, 0.5]).unwrap();
    permits.apply(Settings::new(0, queue::Settings::new(10)).adaptive(limit, Fixed));
    assert!(permits.try_enter_of(1).is_none());
    let mut woken = 0;
    let mut polls_if_woken = |two: &mut Enter| {
        let wakes = wakes.0.load(Ordering::Relaxed);
        if wakes > std::mem::replace(&mut woken, wakes) { poll_two(two) } else { Poll::Pending }
    };
    assert!(polls_if_woken(&mut two).is_pending());
    held.clear();
    let Poll::Ready(Ok(_runs)) = poll(&mut one) else { panic!("it is its turn") };
    assert_eq!((permits.in_flight(), permits.waiting()), (1, 1), "one is kept");
    for second in 1..=3 {
        time.set(second * 1000 * MS);
        if polls_if_woken(&mut two).is_ready() {
            return;
        }
    }
    panic!("nobody woke it: {:?}", permits.standing());
}

/// Shares of four permits, by the partitions' names.
fn named(shares: &[(&str, f64)]) -> Settings {
    let parts: Vec<f64> = shares.iter().map(|(_, share)| *share).collect();
    let limit = concurrency::Settings::default().with_limits(4, 4).unwrap().with_shares(&parts).unwrap();
    let names = shares.iter().map(|(name, _)| (*name).to_owned()).collect();
    Settings::new(0, queue::Settings::new(10)).adaptive(limit, Fixed).with_names(names)
}

/// How many of each partition are in flight, and how many wait.
fn parts(permits: &Permits) -> Vec<(usize, usize)> {
    permits.standing().partitions.iter().map(|part| (part.in_flight, part.waiting)).collect()
}

/// Whatever number a name has, and however often that changes.
#[test]
fn a_partition_keeps_who_waits_and_who_is_in_flight_by_its_name() {
    let time = ManualTime::new();
    let permits = Permits::with(Settings::new(4, queue::Settings::new(10)), time.clone());
    let mut all: Vec<_> = (0..4).map(|_| permits.try_enter().unwrap()).collect();
    let mut crowd: Vec<_> = (0..5).map(|_| permits.enter().unwrap()).collect();
    permits.apply(named(&[("pay", 0.5)]));
    assert_eq!(parts(&permits), [(0, 0), (4, 5)], "of those nobody knows more");

    let mut own: Vec<_> = (0..3).map(|_| permits.enter_as(of(0)).unwrap()).collect();
    drop(all.split_off(2));
    assert_eq!(parts(&permits), [(2, 1), (2, 5)]);
    permits.apply(named(&[("ask", 0.25), ("pay", 0.5)]));
    assert_eq!(parts(&permits), [(0, 0), (2, 1), (2, 5)]);
    permits.apply(named(&[("ask", 0.5), ("pay", 0.25)]));
    permits.apply(named(&[("pay", 0.5), ("zoo", 0.5)]));
    assert_eq!(parts(&permits), [(2, 1), (0, 0), (2, 5)]);
    // Renamed, with the same shares.
    permits.apply(named(&[("ask", 0.5), ("pay", 0.5)]));
    assert_eq!(parts(&permits), [(0, 0), (2, 1), (2, 5)]);

    // One of its own comes back, and it is owed one.
    let Poll::Ready(Ok(first)) = poll(&mut own[0]) else { panic!("it has a permit") };
    drop(first);
    assert_eq!(parts(&permits), [(0, 0), (2, 0), (2, 5)]);
    // One who was there before all that.
    drop(all.pop());
    assert_eq!(parts(&permits), [(0, 0), (2, 0), (2, 4)]);
    // Who leaves, leaves the line that it is in by now.
    drop(crowd.pop());
    assert_eq!(parts(&permits), [(0, 0), (2, 0), (2, 3)]);

    permits.apply(named(&[("zoo", 1.0)]));
    assert_eq!(parts(&permits), [(0, 0), (4, 3)], "its name is gone");
    drop((all, own, crowd));
    assert_eq!(parts(&permits), [(0, 0), (0, 0)]);
}

/// So many of a partition, one after the other, that are good after so many milliseconds.
fn good(permits: &Permits, time: &ManualTime, partition: usize, [requests, took]: [u64; 2]) {
    for _ in 0..requests {
        let permit = permits.try_enter_of(partition).unwrap();
        time.advance(Duration::from_millis(took));
        permit.end(Outcome::Good);
    }
}

/// Why those of each partition are turned away who want an answer in two seconds, and would wait.
fn in_two_seconds(permits: &Permits, time: &ManualTime) -> Vec<Option<Refusal>> {
    let partitions = 0..permits.standing().partitions.len();
    let held: Vec<_> = partitions.clone().cycle().take(20).map(|at| permits.try_enter_of(at)).collect();
    assert_eq!(held.iter().flatten().count(), permits.concurrency());
    let deadline = time.now() + 2000 * MS;
    let ask = |partition| permits.enter_as(Who { partition, deadline, ..Who::default() });
    partitions.map(|partition| ask(partition).err().map(|rejected| rejected.why())).collect()
}

/// Else what takes little time would be refused because what has its number now takes much.
#[test]
fn who_was_in_flight_teaches_its_own_partition_whatever_number_that_has_now() {
    let time = ManualTime::new();
    let permits = Permits::with(named(&[("pay", 0.5), ("report", 0.5)]), time.clone());
    good(&permits, &time, 0, [10, 10]);
    let reports = [1, 1].map(|report| permits.try_enter_of(report).unwrap());
    permits.apply(named(&[("ask", 0.25), ("pay", 0.5), ("report", 0.25)]));
    // In the time of "ask" as well.
    permits.apply(named(&[("ask", 0.25), ("best", 0.25), ("pay", 0.25), ("report", 0.25)]));
    good(&permits, &time, 2, [10, 10]);
    time.advance(Duration::from_secs(5));
    reports.into_iter().for_each(|report| report.end(Outcome::Good));

    assert_eq!(in_two_seconds(&permits, &time), [None, None, None, Some(Refusal::Hopeless), None]);
    let is_long = |partition, ms| permits.is_long(partition, Duration::from_millis(ms), Duration::ZERO);
    assert_eq!(
        [is_long(2, 10), is_long(2, 9), is_long(3, 5100), is_long(3, 5099)],
        [true, false, true, false]
    );
}

/// Else each who was late would count until the next good answer, however short a time it has waited.
#[test]
fn what_a_good_answer_takes_is_known_after_other_shares_too() {
    let time = ManualTime::new();
    let permits = Permits::with(named(&[("pay", 0.5)]), time.clone());
    good(&permits, &time, 0, [10, 10]);
    good(&permits, &time, 1, [10, 20]);
    // From what takes no longer on, in milliseconds.
    let usual = |partition| {
        (0..100)
            .find(|ms| permits.is_long(partition, Duration::from_millis(*ms), Duration::ZERO))
            .expect("it is long")
    };
    assert_eq!([usual(0), usual(1)], [10, 20]);
    permits.apply(named(&[("ask", 0.25), ("pay", 0.5)]));
    assert_eq!([usual(0), usual(1), usual(2)], [0, 10, 20], "of the first nothing is known");
    // Who had a share is with everybody else, of whom it is known.
    permits.apply(named(&[("ask", 0.25)]));
    assert_eq!([usual(0), usual(1)], [0, 20]);
}

#[test]
fn what_a_good_answer_takes_is_known_of_whom_alone_it_was_known() {
    let time = ManualTime::new();
    let permits = Permits::with(named(&[("pay", 0.5)]), time.clone());
    good(&permits, &time, 0, [10, 10]);
    permits.apply(named(&[]));
    assert!(!permits.is_long(0, Duration::from_millis(9), Duration::ZERO));
}

#[test]
fn who_was_in_flight_before_there_were_shares_teaches_everybody_elses() {
    let (permits, time) = fixed(4, queue::Settings::new(10));
    let before = [permits.try_enter().unwrap(), permits.try_enter().unwrap()];
    permits.apply(named(&[("pay", 0.5)]));
    time.advance(Duration::from_secs(5));
    before.into_iter().for_each(|permit| permit.end(Outcome::Good));
    assert!(permits.is_long(0, Duration::ZERO, Duration::ZERO), "nothing is known of it");
    assert!(!permits.is_long(1, Duration::from_millis(4999), Duration::ZERO));
    assert_eq!(in_two_seconds(&permits, &time), [None, Some(Refusal::Hopeless)]);
}

/// A counter never falls.
#[test]
fn what_was_counted_outlives_a_change() {
    let time = ManualTime::new();
    let permits = Permits::with(named(&[("ask", 0.25), ("pay", 0.5)]), time.clone());
    let count = |partition: usize| drop(permits.try_enter_of(partition).unwrap());
    // Who asks at once has waited too: for no time.
    [0, 1, 2].into_iter().for_each(|partition| drop(permits.enter_as(of(partition)).unwrap()));
    let seen = permits.standing().waits.count();
    assert_eq!(seen, 3);
    for settings in [
        named(&[("pay", 0.5)]),
        named(&[]),
        named(&[("zoo", 0.5)]),
        Settings::new(4, queue::Settings::new(10)),
        named(&[("ask", 0.5), ("pay", 0.5)]),
    ] {
        permits.apply(settings);
        count(0);
        assert_eq!(permits.standing().waits.count(), seen);
    }
}

/// Who goes by the shares of before tells its partition by its number then.
#[test]
fn who_asks_by_shares_of_before_is_of_the_partition_that_was_meant() {
    let permits = Permits::with(named(&[("pay", 0.5)]), ManualTime::new());
    let before = permits.numbered_by(vec!["pay".to_owned()]);
    permits.apply(named(&[("ask", 0.25), ("pay", 0.5)]));
    let mut held = vec![before.try_enter_spare_of(0).unwrap()];
    assert_eq!(parts(&permits), [(0, 0), (1, 0), (0, 0)]);
    held.push(before.try_enter_of(1).unwrap());
    assert_eq!(parts(&permits), [(0, 0), (1, 0), (1, 0)], "that had no share, and was everybody else's");
    held.extend([permits.try_enter_of(2).unwrap(), permits.try_enter_of(1).unwrap()]);
    let waits = before.enter_as(of(0)).unwrap();
    assert_eq!(parts(&permits), [(0, 0), (2, 1), (2, 0)]);
    permits.apply(named(&[("ask", 0.25)]));
    let too = before.enter_as(of(0)).unwrap();
    assert_eq!(parts(&permits), [(0, 0), (4, 2)], "it has none any more");
    drop((waits, too));
}

/// Where partitions have no names, a number is all that is known of one.
#[test]
fn partitions_without_names_are_told_by_their_numbers() {
    let (permits, _time) = shared(4, 0.5, 10);
    let before = permits.numbered_by(vec!["pay".to_owned()]);
    let _held = [before.try_enter_of(0).unwrap(), before.try_enter_of(1).unwrap()];
    assert_eq!(parts(&permits), [(1, 0), (1, 0)]);
    let (fixed, _time) = fixed(1, queue::Settings::new(0));
    assert!(fixed.numbered_by(vec!["pay".to_owned()]).try_enter_of(7).is_some());
}

/// What a good answer takes is known of each partition, over a change too, and by whom it was served before that.
#[test]
fn what_is_learned_of_a_partition_stays_with_it() {
    let time = ManualTime::new();
    let permits = Permits::with(named(&[("pay", 0.5)]), time.clone());
    let serve = |permit: Permit, millis| {
        time.advance(Duration::from_millis(millis));
        permit.end(Outcome::Good);
    };
    serve(permits.try_enter_of(0).unwrap(), 1000);
    let held = permits.try_enter_of(0).unwrap();
    permits.apply(named(&[("ask", 0.25), ("pay", 0.5)]));
    let is_long =
        |partition, had| permits.is_long(partition, Duration::from_millis(had), Duration::from_millis(10));
    assert!(!is_long(1, 999) && is_long(1, 1000), "as it was");
    assert!(is_long(0, 10) && is_long(2, 10), "nothing is known of the others");
    serve(held, 3000);
    assert!(!is_long(1, 1999) && is_long(1, 2000), "the mean of both");
    assert!(is_long(0, 10) && is_long(2, 10));
}
