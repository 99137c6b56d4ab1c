//! Free lists behind locks: one for threads with a number each, where others bring back what came from there, and one for all where
//! those change what they have too much or too little of.
//!
//! Longer than other files: a list, the room it takes of the shelf and its counts change in one step, under one lock.

use std::array;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluicegate_core::pool::{Borrowed, Class, Room, Settings, Shelf};

use super::Counts;
use super::buffer::Buffer;
use crate::wake::hushed;

/// A buffer with what belongs to it. Made once with it, so that lists and guards hand on one pointer.
pub(super) struct Node<B> {
    pub(super) buffer: B,
    /// The number of its pool.
    pub(super) pool: u64,
    /// What it is to have room for again when it comes back: what it was made with, or has grown to.
    pub(super) asked: usize,
    /// How much it had when it came back, and the class that is for: asked under no lock, since it is foreign code.
    pub(super) room: usize,
    pub(super) class: usize,
    /// Where it is looked for: the lists of who took it, or had it last. While it is kept that is a circle, which ends with the pool: then
    /// nothing is kept.
    pub(super) home: Arc<Lists<B>>,
}

/// Buffers that are kept no longer. Dropped under no lock, one by one: that one panics is no matter of the others, nor of whoever happens to
/// free them, which may be a thread that ends.
pub(super) struct Unused<B: Buffer>(pub(super) Vec<Box<Node<B>>>);

impl<B: Buffer> Drop for Unused<B> {
    fn drop(&mut self) {
        for node in self.0.drain(..) {
            hushed(|| drop(node));
        }
    }
}

/// Locked in this order: a number's, then what is common.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Foreign code never runs under it, so no panic can leave it half changed: rooms are asked before, and buffers dropped after.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread counts of its own buffers. Nobody else writes it.
#[repr(align(64))]
pub(super) struct Tally {
    pub(super) hits: AtomicU64,
    pub(super) returned: AtomicU64,
    /// How many are there now, by class. All have their class's size.
    pub(super) kept: [AtomicUsize; Settings::MOST_CLASSES],
}

/// What is common to all threads.
pub(super) struct Common<B> {
    /// No other pool of the process has or had it.
    pub(super) number: u64,
    pub(super) settings: Settings,
    /// By class.
    shelves: Vec<Mutex<Stack<B>>>,
    /// How often somebody has asked for a trim.
    trims: AtomicU64,
    /// Nobody takes from it any more.
    closed: AtomicBool,
}

struct Stack<B> {
    shelf: Shelf,
    buffers: Vec<Box<Node<B>>>,
    /// The fewest that were here since the last look.
    fewest: usize,
}

/// How many buffers change hands at once: so few that all threads' lists together are a part of what is kept, in count and in bytes.
fn batch(class: Class) -> usize {
    (class.most.min(class.most_bytes / class.size) / 64).clamp(1, 8)
}

/// A list has room for so many batches at the most, and borrows room for half of that.
const LIST: usize = 4;

/// The lists of a thread's number, which others come to only with what they got from here.
#[repr(align(64))]
pub(super) struct Lists<B> {
    pub(super) common: Arc<Common<B>>,
    own: Mutex<Own<B>>,
}

struct Own<B> {
    /// By class.
    lists: Vec<List<B>>,
    counts: Counts,
    /// Of those threads that have this number, which are several where all numbers are taken, and of those that took nothing so far.
    tallies: Vec<Arc<Tally>>,
}

/// What is kept of a class in one place.
struct List<B> {
    /// How many change hands at once.
    batch: usize,
    borrowed: Borrowed,
    buffers: Vec<Box<Node<B>>>,
    fewest: usize,
}

/// What a thread has of a class, which no lock guards.
pub(super) struct Seats<B> {
    /// All have the class's size.
    pub(super) buffers: Vec<Box<Node<B>>>,
    /// So many may be here: room for so many of the class's size is borrowed, used or not.
    pub(super) seats: usize,
    pub(super) fewest: usize,
    pub(super) size: usize,
    /// So many seats there may be.
    pub(super) most: usize,
}

impl<B: Buffer> Lists<B> {
    pub(super) fn new(common: Arc<Common<B>>) -> Self {
        let lists = common.settings.classes().iter().map(|class| List::new(*class)).collect();
        Self { common, own: Mutex::new(Own { lists, counts: Counts::default(), tallies: Vec::new() }) }
    }

    /// A buffer of this class, if there is one.
    pub(super) fn take(self: &Arc<Self>, class: usize) -> Option<Box<Node<B>>> {
        let mut own = lock(&self.own);
        let taken = own.take(self, class)?;
        // Else the room of those that never come back would stay here.
        own.lists[class].settle(&self.common, class);
        Some(taken)
    }

    /// One was made instead of one that was there, and was not fit.
    pub(super) fn made_instead(&self) {
        lock(&self.own).counts.misses += 1;
    }

    /// One was made that no class is for.
    pub(super) fn made_oversize(&self) {
        lock(&self.own).counts.oversize += 1;
    }

    /// One does not come back.
    pub(super) fn kept_by_user(&self) {
        lock(&self.own).counts.detached += 1;
    }

    /// A buffer comes back that fits no class, or is of no use else.
    pub(super) fn unfit(&self) {
        let counts = &mut lock(&self.own).counts;
        counts.returned += 1;
        counts.unfit += 1;
    }

    /// A buffer of this class comes back, empty. Hands it out again if there is no room for it.
    pub(super) fn put(&self, kept: Box<Node<B>>) -> Option<Box<Node<B>>> {
        let mut own = lock(&self.own);
        let Own { lists, counts, .. } = &mut *own;
        counts.returned += 1;
        let class = kept.class;
        let list = &mut lists[class];
        if self.common.is_closed() || !list.has_room(&self.common, class, kept.room) {
            counts.full += 1;
            return Some(kept);
        }
        list.buffers.push(kept);
        list.settle(&self.common, class);
        None
    }

    /// A thread that has none of this class takes one, and up to so many more for next time as it has seats for, or may have.
    pub(super) fn supply(self: &Arc<Self>, seats: &mut Seats<B>, class: usize) -> Option<Box<Node<B>>> {
        let mut own = lock(&self.own);
        let taken = own.take(self, class)?;
        let here = &mut own.lists[class];
        while seats.buffers.len() + 1 < seats.most
            && let Some(node) = here.buffers.pop_if(|node| node.room == seats.size)
        {
            // Its room comes with it; the seat that was kept for it is not needed.
            seats.buffers.push(node);
            if seats.seats == seats.most {
                here.borrowed.let_go(seats.size);
            } else {
                seats.seats += 1;
            }
        }
        here.fewest = here.fewest.min(here.buffers.len());
        here.settle(&self.common, class);
        Some(taken)
    }

    /// A thread has no seat for one of this class that comes back: makes some, by taking in the half of its buffers if it has as many as
    /// it may, or all if it takes none itself, each where it is looked for, and by borrowing. Whether there is one; if not, one came back and
    /// is dropped.
    pub(super) fn relieve(&self, seats: &mut Seats<B>, class: usize, takes: bool) -> bool {
        // Several, so that not each that comes back has another go; those that have lain there for longest.
        let several = if takes { seats.most.div_ceil(2) } else { seats.most };
        let mut gone = if seats.seats < seats.most { 0 } else { several };
        let mut more = 1;
        {
            let mut own = lock(&self.own);
            let Own { lists, counts, .. } = &mut *own;
            let here = &mut lists[class];
            if self.common.is_closed() || !here.has_room(&self.common, class, seats.size) {
                counts.returned += 1;
                counts.full += 1;
                return false;
            }
            while seats.seats + more < seats.most + gone && here.borrowed.keep(seats.size) {
                more += 1;
            }
            gone -= here.take_in(self, seats, gone);
            here.settle(&self.common, class);
        }
        while gone > 0
            && let Some(home) = seats.buffers.first().map(|node| Arc::clone(&node.home))
        {
            let mut own = lock(&home.own);
            if self.common.is_closed() {
                break;
            }
            let there = &mut own.lists[class];
            gone -= there.take_in(&home, seats, gone);
            there.settle(&self.common, class);
        }
        seats.seats += more;
        true
    }

    /// A thread that has this number, or only brings back what came from here, has buffers of its own from now on.
    pub(super) fn join(&self) -> (Vec<Seats<B>>, Arc<Tally>) {
        let classes = self.common.settings.classes();
        let tally = Arc::new(Tally {
            hits: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            kept: array::from_fn(|_| AtomicUsize::new(0)),
        });
        lock(&self.own).tallies.push(Arc::clone(&tally));
        (classes.iter().map(|class| Seats::new(*class)).collect(), tally)
    }

    /// It ends: all it had is for others, if there can be any.
    pub(super) fn leave(&self, seats: &mut [Seats<B>], tally: &Arc<Tally>) {
        let mut own = lock(&self.own);
        own.counts.add(&tally.counts(&self.common));
        own.tallies.retain(|other| !Arc::ptr_eq(other, tally));
        for (class, seats) in seats.iter_mut().enumerate() {
            let mut stack = lock(&self.common.shelves[class]);
            stack.shelf.take_back(seats.empty());
            if !self.common.is_closed() {
                stack.buffers.append(&mut seats.buffers);
            }
        }
        // What was kept is counted where it is now.
        (own.counts.kept, own.counts.kept_bytes) = (0, 0);
    }

    pub(super) fn counts(&self) -> Counts {
        let own = lock(&self.own);
        let (mut counts, lists) = (own.counts, &own.lists);
        (counts.kept, counts.kept_bytes) = sum(lists.iter().flat_map(|list| &list.buffers));
        own.tallies.iter().for_each(|tally| counts.add(&tally.counts(&self.common)));
        counts
    }

    /// Gives away what nobody has needed since the last time.
    pub(super) fn trim(&self) -> Unused<B> {
        let mut unused = Vec::new();
        for (class, list) in lock(&self.own).lists.iter_mut().enumerate() {
            list.trim(&self.common, class, &mut unused);
        }
        Unused(unused)
    }

    /// Gives away all.
    pub(super) fn clear(&self) -> Unused<B> {
        Unused(lock(&self.own).lists.iter_mut().flat_map(|list| list.buffers.drain(..)).collect())
    }
}

impl Tally {
    /// So many of this class are there now.
    #[inline(always)]
    pub(super) fn keep(&self, class: usize, buffers: usize) {
        // It is less; said in a way that can't fail.
        self.kept[class % Settings::MOST_CLASSES].store(buffers, Relaxed);
    }

    /// What was counted, and what is there.
    fn counts<B>(&self, common: &Common<B>) -> Counts {
        let (hits, returned) = (self.hits.load(Relaxed), self.returned.load(Relaxed));
        let mut counts = Counts { hits, returned, ..Counts::default() };
        for (kept, class) in self.kept.iter().zip(common.settings.classes()) {
            let kept = kept.load(Relaxed);
            counts.kept += kept;
            counts.kept_bytes += kept * class.size;
        }
        counts
    }
}

/// So many bytes of a class are a thread's own, unless one buffer is larger.
const BYTES: usize = 512 << 10;

impl<B> Seats<B> {
    fn new(class: Class) -> Self {
        let most = (2 * batch(class)).min(BYTES / class.size).max(1);
        Self { buffers: Vec::with_capacity(most), seats: 0, fewest: 0, size: class.size, most }
    }

    /// Gives away the seats where nobody sits.
    fn empty(&mut self) -> Room {
        let empty = self.seats - self.buffers.len();
        self.seats -= empty;
        Room { buffers: empty, bytes: empty * self.size }
    }

    /// Gives away what nobody has needed since the last time, to the end of `unused`, and empty seats.
    pub(super) fn trim(&mut self, common: &Common<B>, class: usize, unused: &mut Vec<Box<Node<B>>>) {
        unused.extend(self.buffers.drain(..self.fewest.min(self.buffers.len())));
        self.fewest = self.buffers.len();
        lock(&common.shelves[class]).shelf.take_back(self.empty());
    }
}

impl<B: Buffer> Own<B> {
    fn take(&mut self, home: &Arc<Lists<B>>, class: usize) -> Option<Box<Node<B>>> {
        let Self { lists, counts, .. } = self;
        let list = &mut lists[class];
        if list.buffers.is_empty() {
            list.fetch(home, class);
        }
        let kept = list.pop();
        *(if kept.is_some() { &mut counts.hits } else { &mut counts.misses }) += 1;
        kept
    }
}

impl<B> List<B> {
    fn new(class: Class) -> Self {
        Self { batch: batch(class), borrowed: Borrowed::default(), buffers: Vec::new(), fewest: 0 }
    }

    /// One that is here. Its room can be used again.
    fn pop(&mut self) -> Option<Box<Node<B>>> {
        let kept = self.buffers.pop()?;
        self.borrowed.let_go(kept.room);
        self.fewest = self.fewest.min(self.buffers.len());
        Some(kept)
    }

    /// Whether there is room for one, which is used then; if none is left, some is borrowed.
    fn has_room(&mut self, common: &Common<B>, class: usize, room: usize) -> bool {
        self.borrowed.keep(room) || {
            self.borrowed.renew(&mut lock(&common.shelves[class]).shelf, self.batch, room);
            self.borrowed.keep(room)
        }
    }

    /// Takes in those that have lain there for longest, up to so many and to one that is not of here, with their seats. How many.
    fn take_in(&mut self, home: &Lists<B>, seats: &mut Seats<B>, most: usize) -> usize {
        let oldest = seats.buffers.iter().take(most);
        let gone = oldest.take_while(|node| ptr::eq(&*node.home, home)).count();
        self.buffers.extend(seats.buffers.drain(..gone));
        seats.seats -= gone;
        seats.fewest = seats.fewest.min(seats.buffers.len());
        gone
    }

    /// Some of the common ones, for those who come back to `home`; their room goes with them.
    fn fetch(&mut self, home: &Arc<Lists<B>>, class: usize) {
        let mut stack = lock(&home.common.shelves[class]);
        let from = stack.buffers.len().saturating_sub(self.batch);
        self.buffers.extend(stack.buffers.drain(from..).map(|mut node| {
            if !Arc::ptr_eq(&node.home, home) {
                node.home = Arc::clone(home);
            }
            node
        }));
        stack.fewest = stack.fewest.min(stack.buffers.len());
    }

    /// What is too much here is for others: buffers, and room that is borrowed and unused.
    #[inline]
    fn settle(&mut self, common: &Common<B>, class: usize) {
        let too_many = self.buffers.len() > LIST * self.batch;
        if too_many || self.borrowed.free().buffers > LIST / 2 * self.batch {
            self.give_away(common, class, too_many);
        }
    }

    /// Half of the buffers that may be here, if there are too many, and room.
    #[inline(never)]
    fn give_away(&mut self, common: &Common<B>, class: usize, too_many: bool) {
        let mut stack = lock(&common.shelves[class]);
        if too_many {
            // Those that have lain here for longest, which no cache remembers.
            stack.buffers.extend(self.buffers.drain(..LIST / 2 * self.batch));
            self.fewest = self.fewest.min(self.buffers.len());
        }
        let size = common.settings.classes()[class].size;
        stack.shelf.take_back(self.borrowed.beyond(LIST / 2 * self.batch, size));
    }

    /// Gives away what nobody has needed since the last time, to the end of `unused`, and what is borrowed and not used.
    fn trim(&mut self, common: &Common<B>, class: usize, unused: &mut Vec<Box<Node<B>>>) {
        let from = unused.len();
        unused.extend(self.buffers.drain(..self.fewest.min(self.buffers.len())));
        unused[from..].iter().for_each(|kept| self.borrowed.let_go(kept.room));
        self.fewest = self.buffers.len();
        lock(&common.shelves[class]).shelf.take_back(self.borrowed.beyond(0, 0));
    }
}

impl<B> Common<B> {
    pub(super) fn new(number: u64, settings: Settings) -> Self {
        let stack =
            |class: &Class| Mutex::new(Stack { shelf: Shelf::new(*class), buffers: Vec::new(), fewest: 0 });
        let shelves = settings.classes().iter().map(stack).collect();
        let (trims, closed) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { number, settings, shelves, trims, closed }
    }

    /// What lies in the list of all.
    pub(super) fn kept(&self) -> (usize, usize) {
        self.shelves.iter().fold((0, 0), |(buffers, bytes), shelf| {
            let (more, room) = sum(lock(shelf).buffers.iter());
            (buffers + more, bytes + room)
        })
    }

    pub(super) fn trim(&self) -> Unused<B>
    where
        B: Buffer,
    {
        let mut unused = Vec::new();
        for shelf in &self.shelves {
            let mut stack = lock(shelf);
            let Stack { shelf, buffers, fewest } = &mut *stack;
            let gone = buffers.drain(..(*fewest).min(buffers.len()));
            let mut room = Borrowed::default();
            unused.extend(gone.inspect(|kept| room.let_go(kept.room)));
            shelf.take_back(room.beyond(0, 0));
            *fewest = buffers.len();
        }
        Unused(unused)
    }

    /// Has each thread trim its own lists when it comes next.
    pub(super) fn ask_for_trim(&self) {
        self.trims.fetch_add(1, Relaxed);
    }

    pub(super) fn trims(&self) -> u64 {
        self.trims.load(Relaxed)
    }

    /// Nobody takes from it any more, and what comes back is freed.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// Under a list's lock, which who clears the list takes after it was closed: certain. Else it may be seen later.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Gives away all.
    pub(super) fn clear(&self) -> Unused<B>
    where
        B: Buffer,
    {
        Unused(self.shelves.iter().flat_map(|shelf| std::mem::take(&mut lock(shelf).buffers)).collect())
    }
}

fn sum<'a, B: 'a>(buffers: impl Iterator<Item = &'a Box<Node<B>>>) -> (usize, usize) {
    buffers.fold((0, 0), |(count, bytes), kept| (count + 1, bytes + kept.room))
}
