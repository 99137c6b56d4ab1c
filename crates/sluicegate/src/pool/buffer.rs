//! What can be pooled.

#[cfg(feature = "bytes")]
use std::mem;

/// Memory that is filled, emptied and filled again: `Vec<u8>`, with the feature `bytes` also `BytesMut`, or a type of
/// your own.
///
/// ```
/// use sluicegate::pool::Buffer;
///
/// let mut buffer = Vec::with_room(100);
/// buffer.extend_from_slice(b"secret");
/// Buffer::reset(&mut buffer, 100);
/// assert!(buffer.is_empty() && Buffer::room(&buffer) >= 100);
/// ```
pub trait Buffer: Send + 'static {
    /// An empty one that holds so many bytes without growing.
    fn with_room(bytes: usize) -> Self;

    /// How many bytes of memory it keeps from others: its whole capacity, used or not. Nothing where parts of that are elsewhere.
    fn room(&self) -> usize;

    /// Empties it before somebody else gets it. If parts of its memory were handed out and are back, it takes them in again: all, which is
    /// `bytes` unless it has grown. If some are still out, it must have less [room](Self::room) than `bytes` afterwards: then it is not
    /// kept. Otherwise what is kept would pin more memory than is counted, once those parts are gone.
    fn reset(&mut self, bytes: usize);
}

impl Buffer for Vec<u8> {
    fn with_room(bytes: usize) -> Self {
        Self::with_capacity(bytes)
    }

    fn room(&self) -> usize {
        self.capacity()
    }

    fn reset(&mut self, _: usize) {
        // What is not written stays in the cache of who took it, where another thread brings it back.
        if !self.is_empty() {
            self.clear();
        }
    }
}

/// Parts that were split off share its memory, and keep all of it alive. While one of them is alive, what came back is not kept,
/// however much of that memory it has itself.
#[cfg(feature = "bytes")]
impl Buffer for bytes::BytesMut {
    fn with_room(bytes: usize) -> Self {
        Self::with_capacity(bytes)
    }

    fn room(&self) -> usize {
        self.capacity()
    }

    fn reset(&mut self, bytes: usize) {
        // It does not tell whether anybody shares its memory. But once it has moved on past some of it, only who has all of it can
        // have that back.
        let all = self.capacity().max(bytes);
        if self.is_empty() && self.capacity() >= bytes.max(1) {
            self.resize(1, 0);
        }
        bytes::Buf::advance(self, self.len());
        if !self.try_reclaim(all) {
            *self = Self::new();
        } else if self.try_reclaim(all.saturating_add(1)) {
            // It had grown, and part of it was split off and is gone: this tells how much there is.
            let whole: Vec<u8> = mem::take(self).into();
            *self = bytes::Bytes::from(whole).into();
        }
    }
}
