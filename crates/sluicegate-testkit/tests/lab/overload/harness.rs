//! Servers are as queueing theory has them, and nobody is lost at a door.

use std::time::Duration;

use sluicegate_core::concurrency::{Aimd, Knee, Settings as Limits};
use sluicegate_core::queue::{Codel, Settings};
use sluicegate_testkit::lab::overload::clients::{Clients, Crowd, Instants, Request};
use sluicegate_testkit::lab::overload::door::{Door, Gate, Open};
use sluicegate_testkit::lab::overload::play::{End, Log, play};
use sluicegate_testkit::lab::overload::service::{Servers, Work};
use sluicegate_testkit::lab::overload::{Hand, MILLI, SECOND};

/// One server, exponential times, at random: the mean wait is that of theory, times rho/(1 - rho).
#[test]
fn without_a_door_the_wait_is_that_of_theory() {
    let (work, rate) = (Work::Exponential(10 * MILLI), 70.0);
    let log = play(Servers::new(1), &mut Crowd::new(1, rate, work), &mut Open, 4000 * SECOND);
    let waits = log.waits(0, 3900 * SECOND);
    let mean = waits.iter().sum::<u64>() as f64 / waits.len() as f64 / 1e6;
    assert!((mean / (10.0 * 0.7 / 0.3) - 1.0).abs() < 0.05, "{mean} ms");
    assert!((log.used(0, 3900 * SECOND) / 0.7 - 1.0).abs() < 0.02, "{}", log.used(0, 3900 * SECOND));
}

#[test]
fn the_rate_changes_when_it_is_to() {
    let mut crowd = Crowd::new(3, 100.0, Work::Always(1)).then(SECOND, 1000.0).then(2 * SECOND, 10.0);
    let log = play(Servers::new(1), &mut crowd, &mut Open, 12 * SECOND);
    let came = |from, to| log.came(from * SECOND, to * SECOND).count();
    assert!((70..130).contains(&came(0, 1)), "{}", came(0, 1));
    assert!((900..1100).contains(&came(1, 2)), "{}", came(1, 2));
    assert!((70..130).contains(&came(2, 12)), "{}", came(2, 12));
}

fn doors() -> Vec<(&'static str, Box<dyn Door>)> {
    let codel = Settings::new(50).with_codel(Codel::default().newest_first()).fair();
    let aimd = Aimd::new(Duration::from_millis(30)).unwrap();
    vec![
        ("none", Box::new(Open)),
        ("by hand", Box::new(Gate::by_hand(Hand { limit: 3, queue: 20 }))),
        ("codel", Box::new(Gate::of(&codel, 2).telling())),
        ("knee", Box::new(Gate::new(&codel, Limits::default(), Knee::default()).telling())),
        ("aimd", Box::new(Gate::new(&Settings::new(0), Limits::default(), aimd))),
    ]
}

fn overload(door: &mut dyn Door, seed: u64) -> Log {
    let mut servers = Servers::new(2);
    servers.slower = vec![(3 * SECOND, 3.0)];
    servers.wire = MILLI;
    servers.refusal = MILLI / 10;
    // It ends, so that everything comes to an end.
    let mut crowd = Crowd::new(seed, 600.0, Work::Exponential(10 * MILLI)).patient(200 * MILLI);
    let all: Vec<_> = std::iter::from_fn(|| crowd.next()).take_while(|(at, _)| *at < 6 * SECOND).collect();
    let mut clients = Listed(all.into_iter(), 0);
    let log = play(servers, &mut clients, door, u64::MAX);
    assert_eq!(clients.1, log.records.len(), "each client is told once");
    log
}

struct Listed(std::vec::IntoIter<(u64, Request)>, usize);

impl Clients for Listed {
    fn next(&mut self) -> Option<(u64, Request)> {
        self.0.next()
    }

    fn told(&mut self, _: &Request, _: End, _: u64) -> Option<(u64, Request)> {
        self.1 += 1;
        None
    }
}

#[test]
fn at_each_door_everybody_comes_to_an_end_and_the_same_seed_to_the_same() {
    for ((name, mut door), (_, mut again)) in doors().into_iter().zip(doors()) {
        let log = overload(&mut *door, 5);
        for record in &log.records {
            let (at, _) = record.end.unwrap();
            assert!(at >= record.came && at - record.came <= 200 * MILLI, "{name}: {record:?}");
        }
        let ends = |log: &Log| log.records.iter().map(|it| it.end).collect::<Vec<_>>();
        assert_eq!(ends(&log), ends(&overload(&mut *again, 5)), "{name}");
    }
}

#[test]
fn who_is_let_in_by_hand_is_never_more_than_the_limit() {
    let mut gate = Gate::by_hand(Hand { limit: 3, queue: 20 });
    let mut clients = Instants::new(std::iter::repeat_n(0, 30), Request::new(10 * MILLI));
    let log = play(Servers::new(9), &mut clients, &mut gate, u64::MAX);
    assert_eq!(log.refused(0, 1), 7);
    assert_eq!(log.limits, [(0, 3)]);
    let mut waits = log.waits(0, 1);
    waits.sort_unstable();
    assert_eq!(waits.iter().filter(|wait| **wait == 0).count(), 3);
    assert_eq!(waits[22], 70 * MILLI, "three at a time");
}
