//! Who gives way at the bound.

use super::class::{Flow, Room};
use super::slots::Chain;
use super::waiting::Waiting;

/// So many keys are looked at, those that have most; among them who has most is found again after each that goes. So an item that
/// many would have to make room for may be refused though there is one more key that has more than its own.
const LOOKED_AT: usize = 16;

/// A flow that somebody was taken from, or is to be added to.
struct Touched {
    class: usize,
    key: u64,
    /// What would be left.
    room: Room,
    /// Who would go next.
    next: Option<usize>,
}

impl<T> Waiting<T> {
    /// Who must go so that one of this class and key, of so many bytes, may wait within `bound`. None if it is who must not come:
    /// then nobody else is to go for it.
    ///
    /// Whoever has most gives way: the class that takes most room for its weight, in it the key that takes most, in it who came
    /// last, or first if `oldest`. So nobody who has less than its share is turned away for one who has more. O(gone + log
    /// waiting).
    pub(super) fn make_room(
        &self,
        class: usize,
        key: u64,
        bytes: u64,
        bound: Room,
        oldest: bool,
    ) -> Option<Vec<usize>> {
        let mut room = self.room.plus(bytes);
        if room.fits(bound) {
            return Some(Vec::new());
        }
        let tells_apart = self.classes.len() > 1 || self.classes[class].is_fair();
        if u128::from(bytes) > bound.bytes || !(oldest || tells_apart) {
            return None;
        }
        let mut rooms: Vec<Room> = self.classes.iter().map(|class| class.room).collect();
        rooms[class] = rooms[class].plus(bytes);
        let touch = |class: usize, key: u64, flow: Option<&Flow>| {
            let next = flow.and_then(|flow| if oldest { flow.chain.first() } else { flow.chain.last() });
            Touched { class, key, room: flow.map_or_else(Room::default, |flow| flow.room), next }
        };
        // The newcomer's own flow is the first of these.
        let own = self.classes[class].flow(key);
        let mut touched = vec![touch(class, key, own)];
        touched[0].room = touched[0].room.plus(bytes);
        let mut gone = Vec::new();
        while !room.fits(bound) {
            let of_class = |at: usize| self.measure.of(rooms[at]) / u128::from(self.classes[at].weight);
            // Among equals the newcomer's class, and its own key.
            let heaviest = (0..rooms.len()).max_by_key(|&at| (of_class(at), at == class))?;
            let fair = self.classes[heaviest].is_fair();
            let known =
                |key: u64| touched.iter().any(|one| one.class == heaviest && (one.key == key || !fair));
            let another = self.classes[heaviest].heaviest().find(|&(key, _)| !known(key));
            if let Some((key, flow)) = another.filter(|_| touched.len() < LOOKED_AT) {
                touched.push(touch(heaviest, key, Some(flow)));
            }
            let flows = (0..touched.len()).filter(|&at| touched[at].class == heaviest);
            let most =
                flows.max_by_key(|&at| (self.measure.of(touched[at].room), at == 0, touched[at].key))?;
            if most == 0 && !oldest {
                return None;
            }
            let victim = touched[most].next?;
            let size = self.slots.get(victim)?.entry.size;
            touched[most].next = if oldest {
                self.slots.after(Chain::Kind, victim)
            } else {
                self.slots.before(Chain::Kind, victim)
            };
            touched[most].room = touched[most].room.minus(size);
            rooms[heaviest] = rooms[heaviest].minus(size);
            room = room.minus(size);
            gone.push(victim);
        }
        Some(gone)
    }
}
