//! What a thread has of its own: a few buffers of each class, which it takes and brings back without a lock.
//!
//! Found by the pool's number. Room for them is borrowed like that of every list, so all bounds hold. Nobody else reaches what lies
//! here: where it is to be freed, a global number grows, which each thread compares with what it has seen.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use super::buffer::Buffer;
use super::lists::{Lists, Node, Seats, Tally, Unused};

/// So many pools' buffers a thread has of its own. Those of others it shares: what is asked for of many pools is not asked for often.
const POOLS: usize = 8;

/// How often a trim was asked for or a pool has ended.
static ASKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static HERE: Here = const { Here { seen: Cell::new(0), pools: RefCell::new(Vec::new()) } };
}

struct Here {
    /// Of what was asked for.
    seen: Cell<u64>,
    /// Never borrowed while foreign code runs: that may use a pool.
    pools: RefCell<Vec<(u64, Held)>>,
}

/// What a thread has of a pool. Of buffers that most pools have, the type is seen without asking what it is.
enum Held {
    Vec(Local<Vec<u8>>),
    #[cfg(feature = "bytes")]
    Bytes(Local<bytes::BytesMut>),
    Other(Box<dyn OfPool>),
}

/// A [`Local`] of any type of buffers.
trait OfPool: Any {
    /// Its pool has ended.
    fn is_over(&self) -> bool;

    /// What is to be freed, if a trim was asked for.
    fn trim(&mut self) -> Option<Box<dyn Any>>;
}

/// What a thread has of a pool.
struct Local<B: Buffer> {
    /// Where what is too much here goes, and others bring what came from here.
    home: Arc<Lists<B>>,
    /// By class.
    seats: Vec<Seats<B>>,
    tally: Arc<Tally>,
    /// Whether it takes any, or only brings back.
    takes: bool,
    /// How many had been asked for when it was last trimmed.
    trims: u64,
}

/// Takes a buffer of this class, if the thread has one of its own.
#[inline(always)]
pub(super) fn take<B: Buffer>(pool: u64, class: usize) -> Option<Box<Node<B>>> {
    with(pool, (), |local: &mut Local<B>, ()| local.take(class).ok_or(())).ok()
}

/// The same by a thread that has none of its own just now, nothing at all so far, or can't have it; `home` are the lists that are its own.
pub(super) fn take_elsewhere<B: Buffer>(class: usize, home: &Arc<Lists<B>>) -> Option<Box<Node<B>>> {
    let supply = || with(home.common.number, (), |local: &mut Local<B>, ()| Ok(local.supply(class, home)));
    let taken = supply().or_else(|()| {
        prepare(home);
        supply()
    });
    taken.unwrap_or_else(|()| home.take(class))
}

/// Brings a buffer back. It is dropped if there is no room for it.
#[inline]
pub(super) fn put<B: Buffer>(node: Box<Node<B>>) {
    if let Err(node) = with(node.pool, node, Local::put) {
        put_other(node);
    }
}

/// The same where there may be no seat, or something to be freed first.
#[inline(never)]
pub(super) fn put_other<B: Buffer>(node: Box<Node<B>>) {
    let kept = with(node.pool, node, Local::put_after_all).or_else(|node| {
        prepare(&node.home);
        with(node.pool, node, Local::put_after_all)
    });
    // Dropped here, where foreign code may run.
    drop(kept.unwrap_or_else(|node| Arc::clone(&node.home).put(node)));
}

/// Has all threads look what is to be freed, this one now.
pub(super) fn ask() {
    ASKED.fetch_add(1, Release);
    catch_up();
}

/// Works with what this thread has of a pool. Gives back what was given if it has nothing, may have to [catch up](catch_up) first, is
/// ending, or `work` gives it back. No foreign code may run in `work`.
#[inline(always)]
fn with<B: Buffer, G, R>(
    pool: u64,
    given: G,
    work: impl FnOnce(&mut Local<B>, G) -> Result<R, G>,
) -> Result<R, G> {
    let mut given = Some(given);
    let worked = HERE.try_with(|here| {
        if here.seen.get() != ASKED.load(Relaxed) {
            return None;
        }
        let mut pools = here.pools.try_borrow_mut().ok()?;
        let (_, held) = pools.iter_mut().find(|(number, _)| *number == pool)?;
        Some(work(held.local()?, given.take()?))
    });
    match worked {
        Ok(Some(result)) => result,
        #[expect(
            clippy::expect_used,
            reason = "proven: it is taken for the work alone, whose result is above"
        )]
        _ => Err(given.expect("nobody has worked with it")),
    }
}

/// Has this thread do what keeps it from having buffers of this pool of its own.
#[cold]
fn prepare<B: Buffer>(home: &Arc<Lists<B>>) {
    catch_up();
    join(home);
}

/// From now on this thread has buffers of this pool of its own, if it may.
fn join<B: Buffer>(home: &Arc<Lists<B>>) {
    let _ = HERE.try_with(|here| {
        let Ok(mut pools) = here.pools.try_borrow_mut() else { return };
        let number = home.common.number;
        let is_new = pools.iter().all(|(other, _)| *other != number);
        if is_new && pools.len() < POOLS && !home.common.is_closed() {
            pools.push((number, Held::new(Local::new(Arc::clone(home)))));
        }
    });
}

/// Frees what is to be freed here.
fn catch_up() {
    let freed = HERE.try_with(|here| {
        let asked = ASKED.load(Acquire);
        if here.seen.get() == asked {
            return None;
        }
        let mut pools = here.pools.try_borrow_mut().ok()?;
        here.seen.set(asked);
        let over: Vec<_> = pools.extract_if(.., |(_, held)| held.of_pool().is_over()).collect();
        let unused: Vec<_> = pools.iter_mut().filter_map(|(_, held)| held.of_pool().trim()).collect();
        Some((over, unused))
    });
    // What was freed is dropped here, where foreign code may run.
    drop(freed);
}

impl Held {
    fn new<B: Buffer>(local: Local<B>) -> Self {
        let mut local = Some(local);
        if let Some(vec) = (&mut local as &mut dyn Any).downcast_mut().and_then(Option::take) {
            return Self::Vec(vec);
        }
        #[cfg(feature = "bytes")]
        if let Some(bytes) = (&mut local as &mut dyn Any).downcast_mut().and_then(Option::take) {
            return Self::Bytes(bytes);
        }
        #[expect(clippy::expect_used, reason = "proven: it was taken for a return alone")]
        Self::Other(Box::new(local.expect("it is of another type")))
    }

    #[inline(always)]
    fn local<B: Buffer>(&mut self) -> Option<&mut Local<B>> {
        match self {
            Self::Vec(local) => (local as &mut dyn Any).downcast_mut(),
            #[cfg(feature = "bytes")]
            Self::Bytes(local) => (local as &mut dyn Any).downcast_mut(),
            // Known when it is compiled: else there would be a call in what has none.
            Self::Other(_) if has_variant::<B>() => None,
            Self::Other(local) => (&mut **local as &mut dyn Any).downcast_mut(),
        }
    }

    fn of_pool(&mut self) -> &mut dyn OfPool {
        match self {
            Self::Vec(local) => local,
            #[cfg(feature = "bytes")]
            Self::Bytes(local) => local,
            Self::Other(local) => &mut **local,
        }
    }
}

/// Whether buffers of this type are never [`Held::Other`].
#[inline(always)]
fn has_variant<B: Buffer>() -> bool {
    let this = TypeId::of::<B>();
    #[cfg(feature = "bytes")]
    if this == TypeId::of::<bytes::BytesMut>() {
        return true;
    }
    this == TypeId::of::<Vec<u8>>()
}

impl<B: Buffer> Local<B> {
    fn new(home: Arc<Lists<B>>) -> Self {
        let (seats, tally) = home.join();
        Self { seats, tally, takes: false, trims: home.common.trims(), home }
    }

    #[inline(always)]
    fn take(&mut self, class: usize) -> Option<Box<Node<B>>> {
        let seats = self.seats.get_mut(class)?;
        let node = seats.buffers.pop()?;
        let left = seats.buffers.len();
        seats.fewest = seats.fewest.min(left);
        self.tally.keep(class, left);
        add_one(&self.tally.hits);
        Some(node)
    }

    /// The same if none may be here, with more for next time, from what are the thread's lists now that it takes.
    fn supply(&mut self, class: usize, home: &Arc<Lists<B>>) -> Option<Box<Node<B>>> {
        if !Arc::ptr_eq(&self.home, home) {
            // No foreign code: what it had is left to others, since its pool is there.
            *self = Self::new(Arc::clone(home));
        }
        self.takes = true;
        self.take(class).or_else(|| {
            let taken = self.home.supply(&mut self.seats[class], class);
            self.tally.keep(class, self.seats[class].buffers.len());
            taken
        })
    }

    /// Brings one back where there is a seat for it.
    #[inline(always)]
    fn put(&mut self, node: Box<Node<B>>) -> Result<(), Box<Node<B>>> {
        let class = node.class;
        let Some(seats) = self.seats.get_mut(class) else { return Err(node) };
        let here = seats.buffers.len();
        // There is memory for all that may be here, so that nothing is called.
        if node.room != seats.size || here >= seats.seats || here >= seats.buffers.capacity() {
            return Err(node);
        }
        seats.buffers.push(node);
        self.tally.keep(class, here + 1);
        add_one(&self.tally.returned);
        Ok(())
    }

    /// The same after a seat was found, if need be. Hands it out if there is none, as one that came back; and back if there can't be.
    fn put_after_all(&mut self, node: Box<Node<B>>) -> Result<Option<Box<Node<B>>>, Box<Node<B>>> {
        let class = node.class;
        let seats = &mut self.seats[class];
        if node.room != seats.size {
            return Err(node);
        }
        if seats.buffers.len() >= seats.seats && !self.home.relieve(seats, class, self.takes) {
            return Ok(Some(node));
        }
        self.put(node).map(|()| None)
    }
}

/// No other thread writes it, so a load and a store will do.
#[inline]
fn add_one(count: &AtomicU64) {
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

impl<B: Buffer> OfPool for Local<B> {
    fn is_over(&self) -> bool {
        self.home.common.is_closed()
    }

    fn trim(&mut self) -> Option<Box<dyn Any>> {
        let common = &self.home.common;
        let trims = common.trims();
        if mem::replace(&mut self.trims, trims) == trims {
            return None;
        }
        let mut unused: Vec<Box<Node<B>>> = Vec::new();
        for (class, seats) in self.seats.iter_mut().enumerate() {
            seats.trim(common, class, &mut unused);
            self.tally.keep(class, seats.buffers.len());
        }
        Some(Box::new(Unused(unused)))
    }
}

/// The thread ends, or the pool does.
impl<B: Buffer> Drop for Local<B> {
    fn drop(&mut self) {
        self.home.leave(&mut self.seats, &self.tally);
        // Others can't have them if the pool has ended.
        for seats in &mut self.seats {
            drop(Unused(mem::take(&mut seats.buffers)));
        }
    }
}
