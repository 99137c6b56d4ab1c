//! A class of items, and the turns of the keys in it.

use std::collections::{BTreeMap, BTreeSet};

use super::slots::Ends;

/// What one start costs a class of weight 1.
const STRIDE: u128 = 1 << 40;

/// How much room somebody takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) count: usize,
    /// 128 bits hold any number of any sizes, so what was added can be taken away again.
    pub(super) bytes: u128,
}

impl Room {
    pub(super) const fn plus(self, bytes: u64) -> Self {
        Self { count: self.count + 1, bytes: self.bytes + bytes as u128 }
    }

    pub(super) const fn minus(self, bytes: u64) -> Self {
        Self { count: self.count - 1, bytes: self.bytes - bytes as u128 }
    }

    pub(super) const fn fits(self, bound: Self) -> bool {
        self.count <= bound.count && self.bytes <= bound.bytes
    }
}

/// Makes a number of a room, for comparison: the larger of its shares of the two bounds. It keeps the bounds of the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure(pub(super) Room);

impl Measure {
    pub(super) fn of(self, room: Room) -> u128 {
        // Both shares over the product of the bounds.
        let by_count = (room.count as u128).saturating_mul(self.0.bytes);
        by_count.max(room.bytes.saturating_mul(self.0.count as u128))
    }
}

/// Those of one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) chain: Ends,
    pub(super) room: Room,
    /// Keys take turns in the order of this.
    turn: u64,
}

impl Flow {
    const fn new(turn: u64) -> Self {
        Self { chain: Ends::NONE, room: Room { count: 0, bytes: 0 }, turn }
    }
}

#[derive(Debug)]
pub(super) struct Class {
    pub(super) weight: u32,
    pub(super) room: Room,
    /// The virtual time at which it is next served: a class that is served waits for the longer, the less it weighs.
    pub(super) pass: u128,
    /// What a start costs it.
    stride: u128,
    flows: Flows,
}

#[derive(Debug)]
enum Flows {
    One(Flow),
    Fair(Box<Fair>),
}

/// A flow a key of which somebody waits, and no other: so there are never more flows than who wait.
#[derive(Debug, Default)]
struct Fair {
    flows: BTreeMap<u64, Flow>,
    /// The key of each turn.
    turns: BTreeMap<u64, u64>,
    next_turn: u64,
    /// Who has most, last.
    heaviest: BTreeSet<(u128, u64)>,
}

impl Class {
    pub(super) fn new(weight: u32, fair: bool) -> Self {
        let flows = if fair { Flows::Fair(Box::default()) } else { Flows::One(Flow::new(0)) };
        let stride = STRIDE / u128::from(weight);
        Self { weight, room: Room::default(), pass: 0, stride, flows }
    }

    /// The flow of a key, if it has any.
    pub(super) fn flow(&self, key: u64) -> Option<&Flow> {
        match &self.flows {
            Flows::One(flow) => Some(flow),
            Flows::Fair(fair) => fair.flows.get(&key),
        }
    }

    /// How many flows there are of which somebody waits.
    pub(super) fn flows(&self) -> usize {
        match &self.flows {
            Flows::One(flow) => usize::from(flow.room.count > 0),
            Flows::Fair(fair) => fair.flows.len(),
        }
    }

    /// Whether keys are told apart.
    pub(super) const fn is_fair(&self) -> bool {
        matches!(self.flows, Flows::Fair(_))
    }

    /// Whose turn it is.
    pub(super) fn next(&self) -> Option<&Flow> {
        match &self.flows {
            Flows::One(flow) => Some(flow),
            Flows::Fair(fair) => fair.turns.first_key_value().and_then(|(_, key)| fair.flows.get(key)),
        }
    }

    /// Keys with the room they take, who has most first; the only flow has whichever key.
    pub(super) fn heaviest(&self) -> impl Iterator<Item = (u64, &Flow)> {
        let (one, fair) = match &self.flows {
            Flows::One(flow) => (Some((0, flow)), None),
            Flows::Fair(fair) => (None, Some(fair)),
        };
        let many = fair.into_iter().flat_map(|fair| {
            fair.heaviest.iter().rev().filter_map(|&(_, key)| Some((key, fair.flows.get(&key)?)))
        });
        one.into_iter().chain(many)
    }

    /// Changes a key's flow, which is there as long as somebody waits in it.
    pub(super) fn change(&mut self, key: u64, measure: Measure, change: impl FnOnce(&mut Flow)) {
        match &mut self.flows {
            Flows::One(flow) => change(flow),
            Flows::Fair(fair) => fair.change(key, measure, change),
        }
    }

    /// Somebody of this class and key is served: the others come first now.
    #[inline]
    pub(super) fn served(&mut self, key: u64) {
        self.pass += self.stride;
        let Flows::Fair(fair) = &mut self.flows else { return };
        let Some(flow) = fair.flows.get_mut(&key) else { return };
        fair.turns.remove(&flow.turn);
        flow.turn = fair.next_turn;
        fair.turns.insert(flow.turn, key);
        fair.next_turn += 1;
    }
}

impl Fair {
    fn change(&mut self, key: u64, measure: Measure, change: impl FnOnce(&mut Flow)) {
        let Self { flows, turns, next_turn, heaviest } = self;
        let flow = flows.entry(key).or_insert_with(|| {
            let turn = *next_turn;
            *next_turn += 1;
            turns.insert(turn, key);
            Flow::new(turn)
        });
        heaviest.remove(&(measure.of(flow.room), key));
        change(flow);
        if flow.room.count > 0 {
            heaviest.insert((measure.of(flow.room), key));
        } else {
            turns.remove(&flow.turn);
            flows.remove(&key);
        }
    }
}
