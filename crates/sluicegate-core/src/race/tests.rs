//! Every course that a small race can take.

use super::*;

fn nanos(n: u64) -> Duration {
    Duration::from_nanos(n)
}

/// Asks until there is nothing to do at this instant.
fn settle(race: &mut Race, now: u64) -> (Vec<usize>, Next) {
    let mut started = Vec::new();
    loop {
        match race.next(now) {
            Next::Start(number) => started.push(number),
            other => return (started, other),
        }
    }
}

#[test]
fn without_a_stagger_all_are_asked_at_once() {
    let mut race = Race::begin(Plan::first_of(3).unwrap(), 7);
    assert_eq!(settle(&mut race, 7), (vec![0, 1, 2], Next::Wait(None)));
    race.failed();
    race.failed();
    assert_eq!(race.next(8), Next::Wait(None), "one is left");
    race.failed();
    assert_eq!(race.next(9), Next::Over(End::Failed));
}

#[test]
fn one_more_is_asked_a_stagger_after_the_last_and_never_two_to_catch_up() {
    let mut race = Race::begin(Plan::first_of(4).unwrap().staggered(nanos(10)), 0);
    assert_eq!(settle(&mut race, 0), (vec![0], Next::Wait(Some(10))));
    assert_eq!(settle(&mut race, 9), (vec![], Next::Wait(Some(10))));
    // Looked at late.
    assert_eq!(settle(&mut race, 35), (vec![1], Next::Wait(Some(45))));
    race.failed();
    assert_eq!(settle(&mut race, 36), (vec![], Next::Wait(Some(45))), "one is under way");
    race.failed();
    assert_eq!(settle(&mut race, 37), (vec![2], Next::Wait(Some(47))), "nobody is");
    assert_eq!(settle(&mut race, 47), (vec![3], Next::Wait(None)));
}

#[test]
fn a_race_without_an_instant_minds_no_time_once_all_are_asked_that_a_stagger_keeps_back() {
    let whole = Plan::quorum(2, 2).unwrap();
    for (plan, minds) in [
        (whole, false),
        (whole.staggered(nanos(10)), false),
        (whole.at_most(nanos(10)), true),
        (whole.good_enough(1, nanos(10)).unwrap(), true),
    ] {
        let mut race = Race::begin(plan, 5);
        assert_eq!(race.minds_time(), plan != whole, "somebody is to be asked later, or it ends by itself");
        settle(&mut race, 5);
        assert_eq!(race.minds_time(), minds, "{plan:?}");
        race.succeeded();
        let differs = race.clone().next(5) != race.next(u64::MAX);
        assert_eq!(differs, minds, "{plan:?}");
    }
}

#[test]
fn a_quorum_asks_as_many_at_once_as_it_needs() {
    let mut race = Race::begin(Plan::quorum(2, 4).unwrap().staggered(nanos(10)), 0);
    assert_eq!(settle(&mut race, 0), (vec![0, 1], Next::Wait(Some(10))));
    race.succeeded();
    assert_eq!(settle(&mut race, 5), (vec![], Next::Wait(Some(10))));
    race.failed();
    assert_eq!(settle(&mut race, 6).0, [2]);
    race.failed();
    assert_eq!(settle(&mut race, 7).0, [3]);
    race.failed();
    assert_eq!(race.next(7), Next::Over(End::Failed), "one of two");
}

#[test]
fn from_an_instant_on_fewer_are_enough() {
    let plan = Plan::quorum(4, 4).unwrap().good_enough(2, nanos(20)).unwrap();
    let mut race = Race::begin(plan, 100);
    assert_eq!(settle(&mut race, 100).1, Next::Wait(None), "its instant alone changes nothing");
    race.succeeded();
    race.succeeded();
    assert_eq!(race.next(119), Next::Wait(Some(120)));
    let mut early = race.clone();
    assert_eq!(race.next(120), Next::Over(End::Enough));

    early.failed();
    assert_eq!(early.next(119), Next::Wait(Some(120)), "the fourth may still come");
    early.failed();
    assert_eq!(early.next(119), Next::Over(End::Enough), "there is nobody to wait for");

    let mut late = Race::begin(plan, 100);
    settle(&mut late, 100);
    late.succeeded();
    assert_eq!(late.next(130), Next::Wait(None), "one is too few, however late");
    late.succeeded();
    assert_eq!(late.next(140), Next::Over(End::Enough));
}

#[test]
fn it_is_over_in_time_even_if_nobody_ever_answers() {
    let mut race = Race::begin(Plan::first_of(2).unwrap().at_most(nanos(50)), 10);
    assert_eq!(settle(&mut race, 10), (vec![0, 1], Next::Wait(Some(60))));
    assert_eq!(race.clone().next(60), Next::Over(End::TimeOver));
    race.succeeded();
    assert_eq!(race.next(60), Next::Over(End::Enough), "what is there is not thrown away");
}

#[test]
fn no_instant_overflows() {
    let forever = Duration::MAX;
    let plan = Plan::quorum(2, 3).unwrap().staggered(forever).at_most(forever);
    let mut race = Race::begin(plan.good_enough(1, forever).unwrap(), u64::MAX - 1);
    assert_eq!(settle(&mut race, u64::MAX - 1), (vec![0, 1], Next::Wait(Some(u64::MAX))));
}

/// Plays on from here in every way: each attempt under way may end well or badly, or time may pass. Checks what always holds.
fn play(race: &Race, now: u64, ended: &mut [usize; 3]) {
    let mut race = race.clone();
    let (_, next) = settle(&mut race, now);
    let Plan { attempts, enough, .. } = race.plan;
    let (good, bad) = (race.succeeded, race.failed);
    let least = race.plan.least();
    match next {
        Next::Over(end) => {
            match end {
                End::Enough => assert!(good >= least && good <= enough),
                End::Failed => assert!(attempts - bad < least, "others could have been enough"),
                End::TimeOver => assert!(now >= 4),
            }
            ended[end as usize] += 1;
        }
        Next::Wait(at) => {
            assert!(at.is_none_or(|at| at > now), "an instant that is over changes nothing");
            assert!(race.under_way() > 0 || at.is_some(), "somebody is waited for");
            assert!(race.under_way() + good >= race.enough(now).min(attempts - bad), "as many as are needed");
            if race.under_way() > 0 {
                let (mut well, mut badly) = (race.clone(), race.clone());
                well.succeeded();
                badly.failed();
                play(&well, now, ended);
                play(&badly, now, ended);
            }
            if now < 5 {
                play(&race, now + 1, ended);
            }
        }
        Next::Start(_) => unreachable!(),
    }
}

#[test]
fn whatever_comes_it_ends_for_a_reason_and_asks_as_many_as_it_needs() {
    let mut ended = [0; 3];
    for attempts in 1..=4 {
        for enough in 1..=attempts {
            for stagger in [0, 1, 3] {
                for fewer in 1..=enough {
                    let plan =
                        Plan::quorum(enough, attempts).unwrap().staggered(nanos(stagger)).at_most(nanos(4));
                    let plan = plan.good_enough(fewer, nanos(2)).unwrap();
                    play(&Race::begin(plan, 0), 0, &mut ended);
                }
            }
        }
    }
    assert!(ended.iter().all(|times| *times > 100), "{ended:?}");
}

#[test]
fn what_cannot_be_is_told_with_its_field() {
    let plan = Plan::quorum(2, 3).unwrap();
    let wrong =
        [Plan::first_of(0), Plan::quorum(0, 3), plan.good_enough(3, nanos(1)), plan.good_enough(0, nanos(1))];
    let fields = wrong.map(|plan| plan.unwrap_err().field());
    assert_eq!(fields, ["attempts", "enough", "fewer", "fewer"]);
}
