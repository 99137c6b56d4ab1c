//! H6: a line that stands is an overload, and who is served has not waited for longer than the line may stand.

use sluicegate_core::concurrency::{self, Knee};
use sluicegate_core::queue::{Codel, Settings};

use super::clients::Crowd;
use super::door::{Door, Gate, Open};
use super::play::play;
use super::service::{Servers, Work};
use super::{About, Axis, Bound, Experiment, Hand, MILLI, Measure, OURS, Peer, Reading, SECOND};
use crate::lab::numbers::quantile;

const SERVERS: usize = 16;
const WORK: u64 = 10 * MILLI;
/// It is looked at from here on: the interval in which the overload begins is over, and one that was in it from its beginning.
const FROM: u64 = 200 * MILLI;
const UNTIL: u64 = 5 * SECOND;
/// A limit that is found out is looked at from here on.
const LEARNED: u64 = 20 * SECOND;

const WAIT: &str = "p99 of the wait";
const USED: &str = "servers' time used";
const AWAY: &str = "turned away";

/// Overloads in front of a known number of servers, and of one that is found out.
#[derive(Clone, Copy, Debug)]
pub struct Standing;

impl Experiment for Standing {
    fn about(&self) -> About {
        About {
            name: "H6",
            title: "the wait of who is served in an overload",
            published: "folly's CoDel: overloaded if the shortest wait of 100 ms is more than 5 ms, and then nobody who has waited for \
                        more than 10 ms is served",
            model: "16 servers, 10 ms each, exponential; clients come at random for 5 s and wait for ever; looked at from 0.2 s on. The \
                    wait ends when a server begins. Static limit and peers: 16 inside, 100 in line. Ours: CoDel of 5, 10 and 100 ms, \
                    16 inside, as many in line as come. Adaptive: the limit starts at 10 and is found out; looked at from 20 to 25 s. \
                    Goals: 10 ms and one service; 98 % of the servers' time",
        }
    }

    fn measures(&self) -> Vec<Measure> {
        let load = Axis { name: "load", unit: "times what the servers can do" };
        let most = (10 * MILLI + WORK) as f64 / 1e6;
        vec![
            Measure::new(WAIT, "ms", load).goal(Bound::AtMost(most)).logarithmic(),
            Measure::new(USED, "%", load).goal(Bound::AtLeast(98.0)),
            Measure::new(AWAY, "%", load),
        ]
    }

    fn run(&self, seed: u64, peers: &[Peer<'_>]) -> Vec<Reading> {
        let hand = Hand { limit: SERVERS as u32, queue: 100 };
        let codel = Settings::new(1_000_000).with_codel(Codel::default());
        let newest = Settings::new(1_000_000).with_codel(Codel::default().newest_first());
        let mut readings = Vec::new();
        for load in [2.0, 4.0, 10.0] {
            let mut one = |subject: &str, mut door: Box<dyn Door>, from| {
                let rate = load * SERVERS as f64 * SECOND as f64 / WORK as f64;
                let mut crowd = Crowd::new(seed, rate, Work::Exponential(WORK));
                let until = from - FROM + UNTIL;
                let log = play(Servers::new(SERVERS), &mut crowd, &mut *door, until);
                let wait = quantile(&mut log.waits(from, until), 0.99) / 1e6;
                let away = log.refused(from, until) as f64 / log.came(from, until).count() as f64;
                let values = [(WAIT, wait), (USED, 100.0 * log.used(from, until)), (AWAY, 100.0 * away)];
                readings.extend(values.map(|(measure, value)| Reading::new(measure, subject, load, value)));
            };
            one("none", Box::new(Open), FROM);
            one("static limit", Box::new(Gate::by_hand(hand)), FROM);
            for peer in peers {
                one(peer.name, (peer.door)(hand), FROM);
            }
            one(OURS, Box::new(Gate::of(&codel, hand.limit)), FROM);
            one("ours, newest first", Box::new(Gate::of(&newest, hand.limit)), FROM);
            let learning = concurrency::Settings::default();
            one("ours, adaptive", Box::new(Gate::new(&codel, learning, Knee::default())), LEARNED);
        }
        readings
    }
}
