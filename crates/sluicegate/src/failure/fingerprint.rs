//! What groups failures that are the same.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::{Failure, Kind, Meaning};

/// Changes when what goes into a fingerprint does.
const VERSION: &[u8] = b"failure 1";

/// The same for failures that have the same reason, as far as can be told from the outside: shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// As a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Failure {
    /// For grouping: made of what it means and has meant (its codes; of a bug, what was said, if that is a constant), the
    /// file of its origin and the names of the modules on its way.
    ///
    /// It is the same in each run, on each host and for each compiler. Lines and columns are not in it, so it survives
    /// changes elsewhere in the file; nor is the path above the last `src`, which is a matter of where it was built;
    /// nor texts that were put together, since what varies would be in them.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let facts = &*self.facts;
        // A published function with fixed keys, fed bytes: nothing of it is std's to change.
        let mut hasher = SipHasher13::new();
        part(&mut hasher, VERSION);
        for meaning in facts.former.iter().map(|(_, meaning)| meaning).chain([&facts.meaning]) {
            part(&mut hasher, meaning.kind.code().as_bytes());
            part(&mut hasher, constant(meaning).as_bytes());
        }
        let file = facts.origin.location.file().replace('\\', "/");
        part(&mut hasher, from_src(&file).as_bytes());
        for place in self.places() {
            part(&mut hasher, place.module.as_bytes());
        }
        Fingerprint(hasher.finish())
    }
}

/// With its length, so that two parts can't pass for two others.
fn part(hasher: &mut SipHasher13, bytes: &[u8]) {
    hasher.write(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    hasher.write(bytes);
}

/// What tells one bug from another. Known cases have their codes.
fn constant(meaning: &Meaning) -> &str {
    match (meaning.kind, &meaning.line) {
        (Kind::Bug, Cow::Borrowed(what)) => what,
        _ => "",
    }
}

pub(super) fn from_src(file: &str) -> &str {
    let is_src = |at: usize| at == 0 || file[..at].ends_with('/');
    let last = file.rmatch_indices("src/").find(|(at, _)| is_src(*at));
    match (last, file.rsplit_once('/')) {
        (Some((at, _)), _) => &file[at..],
        (None, Some((_, name))) => name,
        (None, None) => file,
    }
}
