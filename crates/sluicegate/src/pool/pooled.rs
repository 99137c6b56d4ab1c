//! A buffer that comes back.

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};

use super::buffer::Buffer;
use super::lists::{Lists, Node};
use super::local;

/// A buffer of a [`Pool`](super::Pool). When it is dropped it is emptied and goes back to where it came from, whatever thread
/// drops it; if there is no room for it, its memory is freed.
pub struct Pooled<B: Buffer> {
    /// None once it was taken out.
    node: Option<Box<Node<B>>>,
}

impl<B: Buffer> Pooled<B> {
    pub(super) const fn new(node: Box<Node<B>>) -> Self {
        Self { node: Some(node) }
    }

    /// Takes the buffer out of the pool for good: it does not come back, and is counted as such.
    #[must_use]
    pub fn into_inner(mut self) -> B {
        #[expect(
            clippy::expect_used,
            reason = "proven: it is there until into_inner or drop, which come last"
        )]
        let Node { buffer, home, .. } = *self.node.take().expect("the buffer is there until the end");
        home.kept_by_user();
        buffer
    }

    /// Whether it was used before, and came back with more room than that.
    pub(super) fn has_outgrown(&self, room: usize) -> bool {
        // One that is new has not been asked for its own.
        self.node.as_ref().is_some_and(|node| node.room != usize::MAX && node.room > room)
    }

    /// Frees it, as one that came back and is of no use.
    pub(super) fn free(mut self) {
        if let Some(node) = self.node.take() {
            node.home.unfit();
        }
    }
}

impl<B: Buffer> Deref for Pooled<B> {
    type Target = B;

    fn deref(&self) -> &B {
        #[expect(
            clippy::expect_used,
            reason = "proven: it is there until into_inner or drop, which come last"
        )]
        &self.node.as_ref().expect("the buffer is there until the end").buffer
    }
}

impl<B: Buffer> DerefMut for Pooled<B> {
    fn deref_mut(&mut self) -> &mut B {
        #[expect(
            clippy::expect_used,
            reason = "proven: it is there until into_inner or drop, which come last"
        )]
        &mut self.node.as_mut().expect("the buffer is there until the end").buffer
    }
}

impl<B: Buffer> Drop for Pooled<B> {
    #[inline]
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            // Foreign code, so under no lock; and so is what frees memory.
            let Node { buffer, asked, home, .. } = &mut *node;
            let room = or_lost(home, || {
                buffer.reset(*asked);
                buffer.room()
            });
            if room == node.room {
                local::put(node);
            } else {
                put_other(node, room);
            }
        }
    }
}

/// Runs foreign code that has to do with a buffer which counts as out: if that panics, it counts as one that came back and is of no use.
#[inline]
pub(super) fn or_lost<B: Buffer, R>(home: &Lists<B>, work: impl FnOnce() -> R) -> R {
    let lost = Lost(home);
    let done = work();
    mem::forget(lost);
    done
}

struct Lost<'l, B: Buffer>(&'l Lists<B>);

impl<B: Buffer> Drop for Lost<'_, B> {
    #[cold]
    fn drop(&mut self) {
        self.0.unfit();
    }
}

/// It has another room than when it was given out, or is new.
#[inline(never)]
fn put_other<B: Buffer>(mut node: Box<Node<B>>, room: usize) {
    let settings = &node.home.common.settings;
    // What has less than it was made with keeps the rest from others all the same, or from the pool.
    let whole = Some(room).filter(|room| *room >= node.asked);
    let Some(class) = whole.and_then(|room| settings.of_capacity(room)) else {
        return node.home.unfit();
    };
    (node.asked, node.room, node.class) = (room, room, class);
    local::put_other(node);
}

impl<B: Buffer + fmt::Debug> fmt::Debug for Pooled<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&**self).finish()
    }
}
