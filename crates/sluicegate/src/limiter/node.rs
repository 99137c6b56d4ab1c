//! A quota and its state, which change together.

use std::ops::Deref;

use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::cell::Cell;

/// A quota compiled to arithmetic, and a state that is counted in it. Where the quota changes, the cell retires and a new node
/// takes its place: so a compare-and-swap that was begun under one quota can't succeed under another.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) bucket: Bucket,
    cell: Apart,
}

/// A cell on a cache line of its own: what is written for each token shares none with what is only read, or a thread
/// that takes a token would have every other fetch both anew.
#[derive(Debug)]
#[repr(align(64))]
struct Apart(Cell);

impl Node {
    pub(super) fn new(bucket: Bucket, state: State) -> Self {
        Self { bucket, cell: Apart(Cell::new(state)) }
    }

    #[inline(always)]
    pub(super) const fn cell(&self) -> &Cell {
        &self.cell.0
    }
}

/// The node in force. None as long as it is the first, which is found without this.
#[derive(Debug, Default)]
pub(super) struct Later(place::Place);

impl Later {
    /// The node that took the first one's place.
    pub(super) fn get(&self) -> Option<impl Deref<Target = Node> + use<>> {
        place::get(&self.0)
    }

    pub(super) fn set(&self, node: Node) {
        place::set(&self.0, node);
    }
}

/// A pointer that is read without a lock.
#[cfg(not(sluicegate_loom))]
mod place {
    use std::sync::Arc;

    use arc_swap::ArcSwapOption;

    use super::Node;

    pub(super) type Place = ArcSwapOption<Node>;

    pub(super) fn get(place: &Place) -> Option<Arc<Node>> {
        place.load_full()
    }

    pub(super) fn set(place: &Place, node: Node) {
        place.store(Some(Arc::new(node)));
    }
}

/// The models look at what is ours; a lock does for what isn't.
#[cfg(sluicegate_loom)]
mod place {
    use sluicegate_core::sync::{Arc, Mutex, PoisonError};

    use super::Node;

    pub(super) type Place = Mutex<Option<Arc<Node>>>;

    pub(super) fn get(place: &Place) -> Option<Arc<Node>> {
        place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(place: &Place, node: Node) {
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(node));
    }
}
