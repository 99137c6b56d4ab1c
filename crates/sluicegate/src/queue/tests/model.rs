//! Whatever happens to a queue, beside a list of who waits.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;

use proptest::prelude::*;

use super::*;
use crate::queue::state::Worker;

#[derive(Clone, Debug)]
enum Op {
    /// Of this size, wanted for so long, and to begin within so long.
    Push(u64, Option<u64>, Option<u64>),
    /// A worker comes, and is polled once.
    Pop,
    /// The worker there is polled again, or gives up.
    Poll(usize),
    GiveUp(usize),
    /// Who was pushed there is taken back.
    Cancel(usize),
    CancelAll,
    Advance(u64),
    Close,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..30_u64, prop::option::of(0..20_u64), prop::option::weighted(0.3, 0..20_u64))
            .prop_map(|(size, wanted, begins)| Op::Push(size, wanted, begins)),
        4 => Just(Op::Pop),
        4 => (0..4_usize).prop_map(Op::Poll),
        2 => (0..4_usize).prop_map(Op::GiveUp),
        2 => (0..60_usize).prop_map(Op::Cancel),
        1 => Just(Op::CancelAll),
        4 => (0..10_u64).prop_map(Op::Advance),
        1 => Just(Op::Close),
    ];
    prop::collection::vec(op, 1..80)
}

struct Item {
    size: u64,
    deadline: u64,
    begun_by: u64,
    ticket: Option<Ticket>,
    /// Whether a worker had it and left it: it may stand above the bounds, and before all others.
    came_back: bool,
}

/// What was admitted and has no fate yet: who waits, and who is on its way to a worker.
#[derive(Default)]
struct World {
    alive: BTreeMap<u32, Item>,
    closed: bool,
}

impl World {
    fn leaves(&mut self, item: u32) -> Item {
        self.alive.remove(&item).expect("each comes out once")
    }

    /// A worker that asks now gets it: nobody's who is late by then.
    fn begins(&mut self, item: u32, now: u64) {
        let item = self.leaves(item);
        assert!(item.deadline.min(item.begun_by) >= now, "nobody begins what is late");
    }

    fn sheds(&mut self, shed: Vec<(u32, Refusal)>, now: u64, displaces: bool) {
        for (item, why) in shed {
            let item = self.leaves(item);
            match why {
                Refusal::Late => assert!(item.deadline < now),
                Refusal::TooLong => assert!(item.begun_by < now),
                Refusal::Displaced => assert!(displaces && !item.came_back),
                other => panic!("nobody is shed for being {other:?}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn each_comes_out_once_and_the_bounds_hold(
        ops in ops(),
        (bound, bytes, displaces) in (0..5_usize, 20..60_u64, any::<bool>()),
    ) {
        let settings = Settings::new(bound).with_bytes(bytes).unwrap();
        let settings = if displaces { settings.displacing_oldest() } else { settings };
        let (queue, time, shed) = telling(&settings);
        let (mut world, mut pops, mut next) = (World::default(), VecDeque::<Pin<Box<Pop<'_, u32>>>>::new(), 0_u32);
        let poll = |pop: &mut Pin<Box<Pop<'_, u32>>>| pop.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        for op in ops {
            let (before, idle) = (queue.len(), queue.shared.lock().machine.idle());
            let bytes_before = queue.waiting_bytes();
            match op {
                Op::Push(size, wanted, begins) => {
                    let [deadline, begun_by] =
                        [wanted, begins].map(|within| within.map_or(u64::MAX, |within| time.now() + within));
                    let item = Item { size, deadline, begun_by, ticket: None, came_back: false };
                    match queue.push_as(Entry::new(next).sized(size).until(deadline).begun_by(begun_by)) {
                        Ok(ticket) => {
                            prop_assert!(!world.closed);
                            prop_assert_eq!(ticket.is_none(), idle > 0, "a worker that waits has it at once");
                            world.alive.insert(next, Item { ticket, ..item });
                        }
                        Err((back, why)) => {
                            prop_assert_eq!(back, next);
                            match why.why() {
                                Refusal::Closed => prop_assert!(world.closed),
                                Refusal::TooLarge => prop_assert!(size > bytes && idle == 0),
                                Refusal::Full => prop_assert!(
                                    idle == 0 && (before >= bound || bytes_before + size > bytes),
                                    "there was room"
                                ),
                                Refusal::Hopeless => prop_assert!(deadline < u64::MAX),
                                Refusal::TooLong => prop_assert!(begun_by < u64::MAX && idle == 0),
                                other => panic!("nobody is refused for being {other:?}"),
                            }
                        }
                    }
                    next += 1;
                }
                Op::Pop if pops.len() < 4 => {
                    let mut pop = Box::pin(queue.pop());
                    match poll(&mut pop) {
                        Poll::Ready(Some(item)) => world.begins(item, time.now()),
                        Poll::Ready(None) => prop_assert!(world.closed && queue.is_empty()),
                        Poll::Pending => pops.push_back(pop),
                    }
                }
                Op::Poll(at) => {
                    if let Some(Poll::Ready(got)) = pops.get_mut(at).map(poll) {
                        pops.remove(at);
                        match got {
                            Some(item) => drop(world.leaves(item)),
                            None => prop_assert!(world.closed && queue.is_empty()),
                        }
                    }
                }
                Op::GiveUp(at) => {
                    pops.remove(at);
                    // What was on its way to it may wait now.
                    for item in world.alive.values_mut().filter(|item| item.ticket.is_none()) {
                        item.came_back = true;
                    }
                }
                Op::Cancel(item) => {
                    let item = u32::try_from(item).unwrap();
                    if let Some(ticket) = world.alive.get(&item).and_then(|item| item.ticket)
                        && let Some(back) = queue.cancel(ticket)
                    {
                        prop_assert_eq!(back, item);
                        world.leaves(item);
                    }
                }
                Op::CancelAll => {
                    for item in queue.cancel_all() {
                        world.leaves(item);
                    }
                }
                Op::Advance(by) => time.advance(Duration::from_nanos(by)),
                Op::Close => {
                    queue.close();
                    world.closed = true;
                }
                Op::Pop => {}
            }
            world.sheds(told(&shed), time.now(), displaces);
            let (waiting, idle) = (queue.len(), queue.shared.lock().machine.idle());
            prop_assert!(waiting == 0 || idle == 0, "nobody waits while a worker does");
            let in_vain = world.alive.values().filter(|item| item.deadline.min(item.begun_by) < time.now());
            let is_handed = |worker: &Worker<u32>| worker.item.is_some();
            let on_their_way =
                queue.shared.lock().workers.values().filter(|worker| is_handed(worker)).count();
            prop_assert!(in_vain.count() <= on_their_way, "who waits in vain is told at once");
            let returned = world.alive.values().filter(|item| item.came_back);
            let (count, size) = returned.fold((0, 0), |(count, size), item| (count + 1, size + item.size));
            prop_assert!(waiting <= bound + count && queue.waiting_bytes() <= bytes + size);
        }
        // What is left comes out at the end.
        queue.close();
        drop(pops);
        while let Poll::Ready(Some(item)) = pop_now(&queue) {
            world.leaves(item);
        }
        world.sheds(told(&shed), time.now(), displaces);
        prop_assert!(world.alive.is_empty(), "nothing is lost");
        time.advance(Duration::from_nanos(100));
        prop_assert_eq!(time.next(), None, "nor does an alarm sleep for nobody");
    }
}
