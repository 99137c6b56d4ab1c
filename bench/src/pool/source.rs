//! Where buffers come from.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ops::DerefMut;

use bytes::BytesMut;
use sluicegate::pool::{Buffer, Pool, Pooled, Settings};
use zeropool::{BufUninit, ZeroPool};

use super::buffers::HELD;
use super::sizes::{SIZES, place};

/// What each writes to.
pub(super) trait Ends {
    /// The first and the last byte of `size`. Whether the buffer was empty and has room.
    fn write(&mut self, size: usize) -> bool;
}

/// Writes the first and the last of so many bytes. How many there is room for.
#[inline]
fn write_ends(room: &mut [MaybeUninit<u8>], size: usize) -> usize {
    room[0].write(1);
    room[size - 1].write(2);
    black_box(room).len()
}

impl Ends for Vec<u8> {
    #[inline]
    fn write(&mut self, size: usize) -> bool {
        self.is_empty() && write_ends(self.spare_capacity_mut(), size) >= size
    }
}

impl Ends for BytesMut {
    #[inline]
    fn write(&mut self, size: usize) -> bool {
        self.is_empty() && write_ends(self.spare_capacity_mut(), size) >= size
    }
}

impl Ends for BufUninit<'_> {
    #[inline]
    fn write(&mut self, size: usize) -> bool {
        write_ends(self.as_uninit_mut(), size) >= size
    }
}

/// A guard of a buffer.
pub(super) struct Deep<T>(T);

impl<T: DerefMut<Target: Ends>> Ends for Deep<T> {
    #[inline]
    fn write(&mut self, size: usize) -> bool {
        self.0.write(size)
    }
}

/// Where buffers come from; they go back when they are dropped.
pub(super) trait Source: Sync {
    type Got<'a>: Ends + Send
    where
        Self: 'a;

    /// One with room for so many bytes.
    fn get(&self, size: usize) -> Self::Got<'_>;
}

/// Ours, with a class for each size.
pub(super) fn ours<B: Buffer>() -> Pool<B> {
    // Rising and few: they are classes.
    Pool::new(Settings::new(&SIZES).unwrap_or_default())
}

impl<B: Buffer + Ends> Source for Pool<B> {
    type Got<'a> = Deep<Pooled<B>>;

    #[inline]
    fn get(&self, size: usize) -> Self::Got<'_> {
        Deep(Pool::get(self, size))
    }
}

/// A `Vec`, allocated each time.
pub(super) struct Vecs;

impl Source for Vecs {
    type Got<'a> = Vec<u8>;

    #[inline]
    fn get(&self, size: usize) -> Vec<u8> {
        Vec::with_capacity(size)
    }
}

/// A `BytesMut`, allocated each time.
pub(super) struct BytesMuts;

impl Source for BytesMuts {
    type Got<'a> = BytesMut;

    #[inline]
    fn get(&self, size: usize) -> BytesMut {
        BytesMut::with_capacity(size)
    }
}

/// Object-pool's, one a size.
pub(super) struct ObjectPools([object_pool::Pool<Vec<u8>>; SIZES.len()]);

impl ObjectPools {
    pub(super) fn new() -> Self {
        Self(SIZES.map(|size| object_pool::Pool::new(2 * HELD, || Vec::with_capacity(size))))
    }
}

impl Source for ObjectPools {
    type Got<'a> = Deep<object_pool::Reusable<'a, Vec<u8>>>;

    #[inline]
    fn get(&self, size: usize) -> Self::Got<'_> {
        let mut buffer = self.0[place(size)].pull(|| Vec::with_capacity(size));
        buffer.clear();
        Deep(buffer)
    }
}

pub(super) fn zeropool() -> ZeroPool {
    ZeroPool::new().min_buffer_size(SIZES[0])
}

impl Source for ZeroPool {
    type Got<'a> = BufUninit<'a>;

    #[inline]
    fn get(&self, size: usize) -> BufUninit<'_> {
        self.alloc_uninit(size)
    }
}
