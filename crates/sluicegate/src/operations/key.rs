//! What makes a second start the same as the first.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// An idempotency key: whose it is, what the client calls it, and what it was used for.
///
/// Clients choose their keys, so two may choose the same one, and one may guess another's: whose it is belongs to it. It is kept as a
/// hash, so its length does not matter.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    client: &'a str,
    key: &'a str,
    request: Option<&'a [u8]>,
}

impl<'a> Key<'a> {
    /// A client's key. `client` is what you know of the client (a user, a tenant), not what it says of itself.
    #[must_use]
    pub const fn new(client: &'a str, key: &'a str) -> Self {
        Self { client, key, request: None }
    }

    /// What was asked for under it: who comes with the same key and something else is
    /// [refused](super::Refused::OtherRequest).
    #[must_use]
    pub const fn of_request(self, request: &'a [u8]) -> Self {
        Self { request: Some(request), ..self }
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("client", &self.client).finish_non_exhaustive()
    }
}

/// A key as it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed {
    /// Of both names.
    pub(super) who: u128,
    pub(super) request: Option<u64>,
}

/// Two hash functions that nobody outside knows: 128 bits, so that no two keys are taken for one.
#[derive(Debug, Default)]
pub(super) struct Hasher(RandomState, RandomState);

impl Hasher {
    pub(super) fn hash(&self, key: Key<'_>) -> Hashed {
        let Key { client, key, request } = key;
        let who = (client, key);
        let (high, low) = (self.0.hash_one(who), self.1.hash_one(who));
        Hashed {
            who: u128::from(high) << 64 | u128::from(low),
            request: request.map(|bytes| self.0.hash_one(bytes)),
        }
    }
}
