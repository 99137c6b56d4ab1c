//! H8: a queue is long for bursts, and short for an overload.

use sluicegate_core::queue::{Codel, Settings};

use super::clients::{Crowd, Instants, Request};
use super::door::{Door, Gate, Open};
use super::play::play;
use super::service::{Servers, Work};
use super::{About, Axis, Bound, Experiment, Hand, MILLI, Measure, OURS, Peer, Reading, SECOND};
use crate::lab::numbers::{Numbers, quantile};

const SERVERS: usize = 8;
const WORK: u64 = 3 * MILLI;
/// At one instant: so many that a queue of 100 turns away as large a part of them as was published.
const BURST: usize = 223;
/// An overload is looked at from here on.
const FROM: u64 = 200 * MILLI;
const UNTIL: u64 = 10 * SECOND;
/// Milliseconds of work a request, for bursts that take longer.
const LONGER: [u64; 5] = [3, 4, 6, 8, 16];

const AWAY: &str = "turned away of a burst";
const WAIT: &str = "p99 of the wait at twice the load";
const USED: &str = "servers' time used at twice the load";
const SLOW: &str = "turned away of a burst that takes longer";

/// A burst, and an overload, in front of queues of several lengths.
#[derive(Clone, Copy, Debug)]
pub struct Burst;

impl Experiment for Burst {
    fn about(&self) -> About {
        About {
            name: "H8",
            title: "a queue for bursts that is none for overloads",
            published: "linkerd2-proxy, pull request 2449: in a load test a queue of 100 failed 51.51 % of the requests, one of 10,000 none",
            model: "8 servers of 3 ms. Burst: 223 at one instant, so many that a queue of 100 fails as large a part as was published; all are \
                    served within 84 ms, less than an interval of CoDel. 0 to 200 ms before it, by the seed, came one alone, so that it \
                    falls anywhere in an interval. Overload: clients come at random for 10 s, twice as many as can be served; looked at \
                    from 0.2 s on. Static limit and peers: 8 inside, as many in line as the axis says; ours has CoDel of 5, 10 and 100 ms \
                    as well, and 10,000 in line. Longer: the same burst with 3 to 16 ms of work each; what takes longer than an interval \
                    can be an overload to CoDel. Goals: nobody of the burst in any seed; 10 ms and one service",
        }
    }

    fn measures(&self) -> Vec<Measure> {
        let bound = Axis { name: "queue", unit: "places" };
        let most = (10 * MILLI + WORK) as f64 / 1e6;
        vec![
            Measure::new(AWAY, "%", bound)
                .goal(Bound::NoneAbove(0.0))
                .published(100.0, 51.51)
                .published(10_000.0, 0.0),
            Measure::new(WAIT, "ms", bound).goal(Bound::AtMost(most)).logarithmic(),
            Measure::new(USED, "%", bound).goal(Bound::AtLeast(98.0)),
            Measure::new(SLOW, "%", Axis { name: "served within", unit: "ms" }),
        ]
    }

    fn run(&self, seed: u64, peers: &[Peer<'_>]) -> Vec<Reading> {
        let mut readings = Vec::new();
        for queue in [100, 1000, 10_000] {
            let hand = Hand { limit: SERVERS as u32, queue };
            let mut one = |subject: &str, door: &dyn Fn() -> Box<dyn Door>| {
                let away = burst(seed, WORK, &mut *door());
                let (rate, work) = (2.0 * SERVERS as f64 * 1e9 / WORK as f64, Work::Always(WORK));
                let log = play(Servers::new(SERVERS), &mut Crowd::new(seed, rate, work), &mut *door(), UNTIL);
                let wait = quantile(&mut log.waits(FROM, UNTIL), 0.99) / 1e6;
                let values = [(AWAY, away), (WAIT, wait), (USED, 100.0 * log.used(FROM, UNTIL))];
                let x = queue as f64;
                readings.extend(values.map(|(measure, value)| Reading::new(measure, subject, x, value)));
            };
            one("none", &|| Box::new(Open));
            one("static limit", &|| Box::new(Gate::by_hand(hand)));
            for peer in peers {
                one(peer.name, &|| (peer.door)(hand));
            }
            if queue == 10_000 {
                one(OURS, &|| Box::new(codel()));
            }
        }
        for millis in LONGER {
            let takes = (BURST.div_ceil(SERVERS) as u64 * millis) as f64;
            readings.push(Reading::new(SLOW, OURS, takes, burst(seed, millis * MILLI, &mut codel())));
        }
        readings
    }
}

fn codel() -> Gate {
    Gate::of(&Settings::new(10_000).with_codel(Codel::default()), SERVERS as u32)
}

/// One alone, and then all at once, each with so much work: how many of a hundred are turned away.
fn burst(seed: u64, work: u64, door: &mut dyn Door) -> f64 {
    let instant = Numbers::of(seed, 8).next() % (200 * MILLI);
    let instants = std::iter::once(0).chain(std::iter::repeat_n(instant, BURST));
    let log = play(Servers::new(SERVERS), &mut Instants::new(instants, Request::new(work)), door, u64::MAX);
    100.0 * log.refused(0, u64::MAX) as f64 / (BURST + 1) as f64
}
