//! What a file's bytes are read as, for the fuzzer: any bytes, and any bytes under a checksum that is right.

use sluicegate::bucket::State;
use sluicegate::quota::Quota;

use crate::record::{Header, Id, Record, Seed, decode_name, encode_name};

const SEED: Seed = Seed([1, 2]);

/// The bytes, the last eight of them replaced by the checksum of the others where that is wanted.
fn sealed(bytes: &[u8], is_sealed: bool, before: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(body) = bytes.len().checked_sub(8).filter(|_| is_sealed) {
        let sum = SEED.checksum([before, &bytes[..body]]);
        bytes[body..].copy_from_slice(&sum);
    }
    bytes
}

/// A key's record: its quota, its state, until when it is kept; and what would be written of it.
#[must_use]
pub fn record(id: &[u8], bytes: &[u8], is_sealed: bool) -> Option<(Quota, State, u64, Vec<u8>)> {
    let id = Id::decode(id)?;
    let record = Record::decode(SEED, id, &sealed(bytes, is_sealed, &id.encode())).ok()?;
    Some((record.quota, record.state, record.kept_until, record.encode(SEED, id).to_vec()))
}

/// A space's name, and what would be written of it.
#[must_use]
pub fn name(space: u32, bytes: &[u8], is_sealed: bool) -> Option<(String, Vec<u8>)> {
    let bytes = sealed(bytes, is_sealed, &space.to_be_bytes());
    let name = decode_name(SEED, space, &bytes).ok()?;
    Some((name.to_owned(), encode_name(SEED, space, name)))
}

/// What the whole file is about, as it would be written.
#[must_use]
pub fn header(bytes: &[u8]) -> Option<Vec<u8>> {
    Header::decode(bytes).ok().map(|header| header.encode().to_vec())
}
