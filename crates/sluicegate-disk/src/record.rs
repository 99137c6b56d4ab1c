//! What stands in the file: bytes with a version and a checksum, of fixed length.

use std::fmt;
use std::hash::Hasher;
use std::num::NonZeroU64;
use std::time::Duration;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13Wide};
use sluicegate::bucket::State;
use sluicegate::quota::{Quota, Refill};

/// The version of what is written here, and of the arithmetic that a state's word belongs to: a test pins its words.
pub(crate) const FORMAT: u32 = 1;

/// A file's own random number: its keys' hashes and checksums are no other file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) [u64; 2]);

impl Seed {
    pub(crate) fn checksum(self, parts: [&[u8]; 2]) -> [u8; 8] {
        let mut hasher = SipHasher13::new_with_keys(self.0[0], self.0[1]);
        parts.iter().for_each(|part| hasher.write(part));
        hasher.finish().to_le_bytes()
    }
}

/// A key of a space. The key itself is kept nowhere: a hash of 128 bits is, less one that tells a bucket that keys share.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) space: u32,
    digest: [u64; 2],
}

impl Id {
    /// The bytes of an id in the file.
    pub(crate) const LENGTH: usize = 20;

    /// A client's key.
    pub(crate) fn own(seed: Seed, space: u32, key: &[u8]) -> Self {
        Self::hashed(seed, space, key, 0)
    }

    /// The bucket that the keys share which find no room, by their quota.
    pub(crate) fn shared(seed: Seed, space: u32, quota: &Quota) -> Self {
        Self::hashed(seed, space, &encode_quota(quota), 1)
    }

    fn hashed(seed: Seed, space: u32, bytes: &[u8], kind: u64) -> Self {
        let mut hasher = SipHasher13Wide::new_with_keys(seed.0[0], seed.0[1]);
        hasher.write(bytes);
        let hash = hasher.finish128();
        Self { space, digest: [hash.h1, hash.h2 & !1 | kind] }
    }

    pub(crate) const fn is_shared(self) -> bool {
        self.digest[1] & 1 == 1
    }

    pub(crate) fn encode(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.space.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.digest[0].to_be_bytes());
        bytes[12..].copy_from_slice(&self.digest[1].to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().ok()?;
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
        let space = bytes.first_chunk().map_or(0, |space| u32::from_be_bytes(*space));
        Some(Self { space, digest: [word(4), word(12)] })
    }
}

/// Its hash: all that is known of a key.
impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}{:016x}", self.space, self.digest[0], self.digest[1])
    }
}

/// The state of a key's bucket, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) quota: Quota,
    pub(crate) state: State,
    /// Until when it is kept though it is full, since its quota has changed: nanoseconds of the store's time.
    pub(crate) kept_until: u64,
}

const QUOTA: usize = 33;
const BODY: usize = QUOTA + 2 * 8;

impl Record {
    /// The bytes of a record in the file.
    pub(crate) const LENGTH: usize = BODY + 8;

    pub(crate) fn encode(&self, seed: Seed, id: Id) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..QUOTA].copy_from_slice(&encode_quota(&self.quota));
        bytes[QUOTA..QUOTA + 8].copy_from_slice(&self.state.to_word().to_le_bytes());
        bytes[QUOTA + 8..BODY].copy_from_slice(&self.kept_until.to_le_bytes());
        let sum = seed.checksum([&id.encode(), &bytes[..BODY]]);
        bytes[BODY..].copy_from_slice(&sum);
        bytes
    }

    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(seed: Seed, id: Id, bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().map_err(|_| "its length is not a record's")?;
        if seed.checksum([&id.encode(), &bytes[..BODY]]) != bytes[BODY..] {
            return Err("its checksum is wrong");
        }
        Ok(Self {
            quota: decode_quota(bytes).ok_or("its quota is none")?,
            state: State::from_word(word(bytes, QUOTA)),
            kept_until: word(bytes, QUOTA + 8),
        })
    }
}

fn encode_quota(quota: &Quota) -> [u8; QUOTA] {
    let (kind, tokens, interval) = match quota.refill() {
        Refill::Smooth { tokens, interval } => (0, tokens, interval.get()),
        Refill::Stepped { tokens, interval } => (1, tokens, interval.get()),
        Refill::Stock => (2, 0, 0),
        Refill::Unlimited => (3, 0, 0),
        Refill::Ban => (4, 0, 0),
    };
    let mut bytes = [kind; QUOTA];
    for (at, number) in [tokens, interval, quota.capacity(), quota.starts_with()].into_iter().enumerate() {
        bytes[1 + at * 8..9 + at * 8].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn decode_quota(bytes: &[u8]) -> Option<Quota> {
    let [tokens, interval, capacity, initial] = [1, 9, 17, 25].map(|at| word(bytes, at));
    let interval = NonZeroU64::new(interval).map(|interval| Duration::from_nanos(interval.get()));
    let quota = match (bytes.first()?, interval) {
        (0, Some(interval)) => {
            Quota::per(tokens, interval).ok()?.burst(capacity).ok()?.initial(initial).ok()?
        }
        (1, Some(interval)) => {
            Quota::stepped(tokens, interval).ok()?.burst(capacity).ok()?.initial(initial).ok()?
        }
        (2, None) => Quota::stock(initial).ok()?.burst(capacity).ok()?,
        (3, None) => Quota::unlimited(),
        (4, None) => Quota::ban(),
        _ => return None,
    };
    Some(quota)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
}

/// A space's name with its checksum.
pub(crate) fn encode_name(seed: Seed, space: u32, name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.extend(seed.checksum([&space.to_be_bytes(), name.as_bytes()]));
    bytes
}

pub(crate) fn decode_name(seed: Seed, space: u32, bytes: &[u8]) -> Result<&str, &'static str> {
    let (name, sum) = bytes.split_last_chunk::<8>().ok_or("its name is too short")?;
    if seed.checksum([&space.to_be_bytes(), name]) != *sum {
        return Err("its name's checksum is wrong");
    }
    std::str::from_utf8(name).map_err(|_| "its name is no text")
}

/// What the whole file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) seed: Seed,
    /// When the store's time began, by the wall clock: nanoseconds since 1970.
    pub(crate) epoch: u64,
    /// The latest instant of the store's time that was seen.
    pub(crate) seen: u64,
    /// How often it was written.
    pub(crate) commits: u64,
}

/// Why there is no header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Version(u32),
    Damaged(&'static str),
}

impl Header {
    const LENGTH: usize = 4 + 5 * 8 + 8;

    pub(crate) fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&FORMAT.to_le_bytes());
        let words = [self.seed.0[0], self.seed.0[1], self.epoch, self.seen, self.commits];
        for (at, number) in words.into_iter().enumerate() {
            bytes[4 + at * 8..12 + at * 8].copy_from_slice(&number.to_le_bytes());
        }
        let sum = self.seed.checksum([&bytes[..Self::LENGTH - 8], &[]]);
        bytes[Self::LENGTH - 8..].copy_from_slice(&sum);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Wrong> {
        let version = bytes
            .first_chunk()
            .map(|version| u32::from_le_bytes(*version))
            .ok_or(Wrong::Damaged("it is too short"))?;
        if version != FORMAT {
            return Err(Wrong::Version(version));
        }
        let bytes: &[u8; Self::LENGTH] =
            bytes.try_into().map_err(|_| Wrong::Damaged("its length is wrong"))?;
        let [first, second, epoch, seen, commits] = [4, 12, 20, 28, 36].map(|at| word(bytes, at));
        let header = Self { seed: Seed([first, second]), epoch, seen, commits };
        if header.encode() == *bytes { Ok(header) } else { Err(Wrong::Damaged("its checksum is wrong")) }
    }
}

#[cfg(test)]
mod tests {
    use sluicegate::bucket::Bucket;

    use super::*;

    const SEED: Seed = Seed([1, 2]);

    #[test]
    fn every_quota_comes_back_as_it_was() {
        for text in [
            "3/s",
            "10/s burst 2",
            "2/s burst 6 initial 1",
            "5 every 250ms burst 8 initial 0",
            "stock 5 max 9",
            "stock 0",
            "unlimited",
            "ban",
            "12345/s burst 20",
            "999999937/s",
            "1/d",
            "3/7d initial 0",
            "stock 0 max 7",
        ] {
            let quota: Quota = text.parse().unwrap();
            let record = Record { quota, state: State::from_word(77), kept_until: 5 };
            let id = Id::own(SEED, 3, b"k");
            assert_eq!(Record::decode(SEED, id, &record.encode(SEED, id)), Ok(record), "{text}");
        }
    }

    #[test]
    fn any_flipped_bit_is_seen_and_so_is_a_record_in_another_place() {
        let record =
            Record { quota: "7/s burst 9".parse().unwrap(), state: State::from_word(1 << 40), kept_until: 0 };
        let id = Id::own(SEED, 0, b"k");
        let bytes = record.encode(SEED, id);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(SEED, id, &flipped).is_err(), "bit {bit}");
        }
        for (seed, id) in [(SEED, Id::own(SEED, 1, b"k")), (SEED, Id::own(SEED, 0, b"l")), (Seed([1, 3]), id)]
        {
            assert!(Record::decode(seed, id, &bytes).is_err());
        }
        let header = Header { seed: SEED, epoch: 9, seen: 8, commits: 7 };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(matches!(Header::decode(&flipped), Err(Wrong::Version(_))), bit < 32, "bit {bit}");
            assert!(Header::decode(&flipped).is_err());
        }
        let name = encode_name(SEED, 1, "häuser");
        assert_eq!(decode_name(SEED, 1, &name), Ok("häuser"));
        assert!(decode_name(SEED, 2, &name).is_err());
        assert!(decode_name(SEED, 1, &name[1..]).is_err());
    }

    #[test]
    fn any_bytes_are_an_error() {
        let mut dice = 1_u64;
        let mut byte = || {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 56) as u8
        };
        for turn in 0..20_000 {
            let bytes: Vec<u8> = (0..turn % 70).map(|_| byte()).collect();
            let id = Id::decode(&bytes).unwrap_or_else(|| Id::own(SEED, 0, &bytes));
            assert!(Record::decode(SEED, id, &bytes).is_err());
            assert!(decode_name(SEED, 0, &bytes).is_err());
            assert!(Header::decode(&bytes).is_err());
            // With a checksum that is right, whatever it says.
            let mut record = [bytes, vec![byte() % 6; Record::LENGTH]].concat();
            record.truncate(Record::LENGTH);
            let sum = SEED.checksum([&id.encode(), &record[..BODY]]);
            record[BODY..].copy_from_slice(&sum);
            if let Ok(read) = Record::decode(SEED, id, &record) {
                assert_eq!(read.state.to_word(), word(&record, QUOTA));
            }
        }
    }

    /// If this fails, states that are on disks mean something else now: `FORMAT` has to be another number, or files be read
    /// with what they meant.
    #[test]
    fn a_word_means_what_it_meant() {
        for (text, word) in [
            ("100/s", 3_110_000_000),
            ("7/s burst 9", 24_000_000_000),
            ("12345/s burst 20", 576_460_755_403_487_070),
            ("999999937/s", 99_199_993_783),
            ("5 every 250ms burst 8", 63),
            ("stock 5 max 9", 7),
        ] {
            let bucket = Bucket::new(text.parse().unwrap());
            let (_, state) = bucket.take(bucket.start(), 2, 3_000_000_000);
            assert_eq!(bucket.take(state, 1, 3_100_000_000).1.to_word(), word, "{text}");
        }
    }
}
