//! A key of a space, to look up in a table.

use std::hash::{Hash, Hasher};

use hashbrown::Equivalent;

use super::Charge;

/// A key of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) space: Box<str>,
    pub(crate) key: Box<[u8]>,
}

/// The same, of somebody else: what is looked up needs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Named<'a> {
    pub(crate) space: &'a str,
    pub(crate) key: &'a [u8],
}

impl Name {
    pub(crate) const fn named(&self) -> Named<'_> {
        Named { space: &self.space, key: &self.key }
    }
}

impl Named<'_> {
    pub(crate) fn to_name(self) -> Name {
        Name { space: self.space.into(), key: self.key.into() }
    }
}

impl<'a> Charge<'a> {
    pub(crate) const fn name(&self) -> Named<'a> {
        Named { space: self.space, key: self.key }
    }
}

/// As the borrowed one, or it would not be found.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.named().hash(state);
    }
}

impl Equivalent<Name> for Named<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        *self == name.named()
    }
}
