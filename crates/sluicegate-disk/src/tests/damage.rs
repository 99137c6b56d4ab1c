//! A file that is damaged anywhere is refused, and stays as it was; or it is as right as before.

use std::time::Duration;

use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store};
use sluicegate::timer::ManualTime;

use super::drive::Drive;
use super::{left, open, quota, strict, try_open, wait};
use crate::DiskError;

const KEYS: u8 = 60;

/// A file with some keys, written in several commits: closed, and as a crash leaves it.
fn files() -> [Vec<u8>; 2] {
    let drive = Drive::default();
    let (disk, _) = open(&strict(), &drive);
    let stock = quota("stock 100");
    for round in 0..4 {
        for key in 0..KEYS / 4 {
            let key = [key * 4 + round];
            let charge = Charge::new(if round < 2 { "a" } else { "b" }, &key, &stock);
            assert!(wait(disk.take(&[charge.of(1 + u64::from(key[0]))])).unwrap().is_granted());
        }
    }
    let crashed = drive.after_the_cut(|| true).bytes();
    disk.close().unwrap();
    [drive.bytes(), crashed]
}

/// Opens a file of which something is damaged: it is refused and as it was, or has all that was in it.
fn refused(bytes: &[u8], stock: &Quota, what: &str) -> bool {
    let drive = Drive::with(bytes.to_vec());
    let disk = match try_open(&strict().write_behind(Duration::MAX), &drive, &ManualTime::new()) {
        Err(error) => {
            assert!(error.to_string().contains("drive"), "{what}: {error}");
            assert!(drive.bytes() == bytes, "{what}: {error}, and something was written");
            return true;
        }
        Ok(disk) => disk,
    };
    let name: Vec<[u8; 1]> = (0..KEYS).map(|key| [key]).collect();
    let space = |key: u8| if key % 4 < 2 { "a" } else { "b" };
    let charges: Vec<Charge<'_>> =
        (0..KEYS).map(|key| Charge::new(space(key), &name[usize::from(key)], stock)).collect();
    let expected: Vec<u64> = (0..KEYS).map(|key| 99 - u64::from(key)).collect();
    assert_eq!(left(&disk, &charges), expected, "{what}");
    // Nor does it come out when it is written to: a page that is in use and not known to be would be written over.
    for charge in &charges[..3] {
        assert_eq!(wait(disk.put(*charge)).unwrap(), 1, "{what}");
    }
    assert_eq!(wait(disk.put(charges[59].of(30))).unwrap(), 30, "{what}");
    disk.close().unwrap();
    let (disk, _) = open(&strict(), &drive);
    let expected: Vec<u64> = (0..KEYS)
        .map(|key| match key {
            0..3 => 100 - u64::from(key),
            59 => 70,
            _ => 99 - u64::from(key),
        })
        .collect();
    assert_eq!(left(&disk, &charges), expected, "{what}, and written to");
    false
}

#[test]
fn a_flipped_bit_is_found_or_does_not_matter() {
    let stock = quota("stock 100");
    for (which, whole) in files().into_iter().enumerate() {
        assert!(!refused(&whole, &stock, "nothing"));
        let written: Vec<usize> = (0..whole.len() / 512)
            .filter(|at| whole[at * 512..][..512].iter().any(|byte| *byte != 0))
            .collect();
        let front = (0..320).step_by(1 + 2 * which).map(|at| (at, at % 8));
        // Three bytes of each piece that was ever written, at odd places.
        let rest = written.iter().flat_map(|piece| [101, 300].map(|at| (piece * 512 + at, (piece + at) % 8)));
        let bits_that_count = [(9, 0), (9, 1), (9, 2), (9, 3)];
        let mut found = 0;
        for (at, bit) in front.chain(bits_that_count).chain(rest.step_by(1 + which)) {
            // In a file that a crash left, the bit that says which of two commits counts may say either.
            if which == 1 && (at, bit) == (9, 0) {
                continue;
            }
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            found += u32::from(refused(&bytes, &stock, &format!("file {which}, bit {bit} of byte {at}")));
        }
        assert!(found > 40, "only {found} were found");
    }
}

#[test]
fn what_was_cut_off_is_missed() {
    let stock = quota("stock 100");
    for (which, whole) in files().into_iter().enumerate() {
        let last = whole.iter().rposition(|byte| *byte != 0).unwrap();
        for length in [0, 1, 8, 9, 63, 319, 320, 4095, 4096, 8192, last / 2, last & !4095, last] {
            assert!(refused(&whole[..length], &stock, &format!("file {which}, {length} bytes")), "{length}");
        }
        for length in [whole.len() - 1, whole.len() - 4096, whole.len() + 1, whole.len() + 4096] {
            let mut bytes = whole.clone();
            bytes.resize(length, 0);
            refused(&bytes, &stock, &format!("file {which}, {length} bytes"));
        }
    }
}

#[test]
fn the_bit_that_counts_is_found_where_the_file_was_closed() {
    let [mut bytes, _] = files();
    bytes[9] ^= 1;
    let error = try_open(&strict(), &Drive::with(bytes), &ManualTime::new()).unwrap_err();
    assert!(matches!(&error, DiskError::Corrupt { place, .. } if place == "the first page"), "{error}");
}
