//! What can be pooled.

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

    /// How many bytes of memory it keeps from others: its whole capacity, used or not.
    fn room(&self) -> usize;

    /// Empties it before somebody else gets it. If parts of its memory were handed out and are back, it takes them in again so far
    /// that it has `bytes` of room.
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

/// Parts that were split off share its memory. While one of them is alive, that memory is not this buffer's; what is left of it
/// is what counts, and if that is too little for the smallest class, it is not kept.
#[cfg(feature = "bytes")]
impl Buffer for bytes::BytesMut {
    fn with_room(bytes: usize) -> Self {
        Self::with_capacity(bytes)
    }

    fn room(&self) -> usize {
        self.capacity()
    }

    fn reset(&mut self, bytes: usize) {
        if !self.is_empty() {
            self.clear();
        }
        // Whether it could is seen from its room.
        if self.capacity() < bytes {
            let _ = self.try_reclaim(bytes);
        }
    }
}
