//! The first bytes of several buffers.

use std::array;
use std::io::{IoSlice, IoSliceMut};

/// Into how many pieces an operation is cut, at the most, where its buffers hold more than it may move. More buffers than that
/// are left for the next operation.
const PIECES: usize = 16;

/// The bytes of all buffers together.
pub(super) fn total(lens: impl Iterator<Item = usize>) -> usize {
    lens.fold(0, usize::saturating_add)
}

/// Does something with the first `n` bytes of these buffers.
pub(super) fn with_first<T>(bufs: &[IoSlice<'_>], n: usize, act: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    if n >= total(bufs.iter().map(|buf| buf.len())) {
        return act(bufs);
    }
    let mut pieces = [IoSlice::new(&[]); PIECES];
    let mut left = n;
    let mut count = 0;
    for (piece, buf) in pieces.iter_mut().zip(bufs) {
        let len = buf.len().min(left);
        *piece = IoSlice::new(&buf[..len]);
        count += 1;
        left -= len;
        if left == 0 {
            break;
        }
    }
    act(&pieces[..count])
}

/// As [`with_first`], of buffers to be filled.
pub(super) fn with_first_mut<T>(
    bufs: &mut [IoSliceMut<'_>],
    n: usize,
    act: impl FnOnce(&mut [IoSliceMut<'_>]) -> T,
) -> T {
    if n >= total(bufs.iter().map(|buf| buf.len())) {
        return act(bufs);
    }
    let mut pieces: [_; PIECES] = array::from_fn(|_| IoSliceMut::new(&mut []));
    let mut left = n;
    let mut count = 0;
    for (piece, buf) in pieces.iter_mut().zip(bufs) {
        let len = buf.len().min(left);
        *piece = IoSliceMut::new(&mut buf[..len]);
        count += 1;
        left -= len;
        if left == 0 {
            break;
        }
    }
    act(&mut pieces[..count])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the pieces that the first `n` bytes of buffers of these lengths are cut into.
    fn lens(of: &[usize], n: usize) -> Vec<usize> {
        let mut bytes: Vec<Vec<u8>> = of.iter().map(|len| vec![0; *len]).collect();
        let bufs: Vec<_> = bytes.iter().map(|buf| IoSlice::new(buf)).collect();
        let lens: Vec<usize> = with_first(&bufs, n, |bufs| bufs.iter().map(|buf| buf.len()).collect());
        let mut bufs: Vec<_> = bytes.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
        let muts: Vec<usize> =
            with_first_mut(&mut bufs, n, |bufs| bufs.iter().map(|buf| buf.len()).collect());
        assert_eq!(lens, muts);
        lens
    }

    #[test]
    fn buffers_are_cut_after_so_many_bytes() {
        assert_eq!(lens(&[3, 0, 4], 7), [3, 0, 4]);
        assert_eq!(lens(&[3, 0, 4], 6), [3, 0, 3]);
        assert_eq!(lens(&[3, 0, 4], 3), [3]);
        assert_eq!(lens(&[3, 0, 4], 2), [2]);
        assert_eq!(lens(&[0, 5], 2), [0, 2]);
        assert_eq!(lens(&[], 2), [0; 0]);
    }

    #[test]
    fn more_buffers_than_pieces_are_left() {
        assert_eq!(lens(&[1; 20], 19), [1; PIECES]);
        assert_eq!(lens(&[1; 20], 20), [1; 20], "nothing has to be cut");
    }
}
