//! Sizes and bounds.

use std::{array, fmt};

use crate::setting::SettingsError;

/// Buffers of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// What a new one holds, in bytes.
    pub size: usize,
    /// How many are kept at the most.
    pub most: usize,
    /// How many bytes those may have together.
    pub most_bytes: usize,
}

/// The classes of a pool. If nothing else is said: 4 KiB, 16 KiB, 64 KiB and 256 KiB, of each up to 1024 that have 16 MiB
/// together.
///
/// ```
/// use sluicegate_core::pool::Settings;
///
/// let settings = Settings::new(&[1 << 12, 1 << 16])?.with_most(256)?;
/// assert_eq!(settings.for_length(5000), Some(1), "from the class of 64 KiB");
/// assert_eq!(settings.for_length(100_000), None, "none is so large");
/// assert_eq!(settings.of_capacity(8192), Some(0), "one that has grown is kept where it fills the need");
/// assert_eq!(settings.of_capacity(100), None);
/// let error = Settings::new(&[4096, 4096]).unwrap_err();
/// assert_eq!(error.to_string(), "sizes `4096, 4096`: expected 1 to 16 sizes in bytes, each larger than the one before");
/// # Ok::<(), sluicegate_core::pool::SettingsError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    classes: Vec<Class>,
    /// Their sizes, and then [`usize::MAX`].
    sizes: [usize; Self::MOST_CLASSES + 1],
    /// How many classes are too small for all lengths of so many bits.
    too_small: [u8; usize::BITS as usize + 1],
}

/// Of a class, in bytes.
const MOST_BYTES: usize = 16 << 20;
const MOST: usize = 1024;

impl Default for Settings {
    fn default() -> Self {
        let class = |size| Class { size, most: MOST, most_bytes: MOST_BYTES };
        Self::of([4 << 10, 16 << 10, 64 << 10, 256 << 10].map(class).into())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("classes", &self.classes).finish()
    }
}

impl Settings {
    /// So many classes there can be.
    pub const MOST_CLASSES: usize = 16;

    fn of(classes: Vec<Class>) -> Self {
        let size = |at: usize| classes.get(at).map_or(usize::MAX, |class| class.size);
        let sizes = array::from_fn(size);
        let too_small = array::from_fn(|bits| {
            // Lengths of so many bits, counted from 0, are larger than this.
            let less = 1_usize.checked_shl(u32::try_from(bits).unwrap_or(0).wrapping_sub(1)).unwrap_or(0);
            u8::try_from(classes.iter().filter(|class| class.size <= less).count()).unwrap_or(u8::MAX)
        });
        Self { classes, sizes, too_small }
    }

    /// Classes of these sizes in bytes, of each up to 1024 buffers that have 16 MiB together, or one of the size if that is
    /// larger.
    ///
    /// # Errors
    /// If there are no sizes or more than 16, if one is 0, or is not larger than the one before.
    pub fn new(sizes: &[usize]) -> Result<Self, SettingsError> {
        let rising = sizes.is_sorted_by(|one, next| one < next);
        if !(1..=Self::MOST_CLASSES).contains(&sizes.len()) || sizes[0] == 0 || !rising {
            let value = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            let expected = "1 to 16 sizes in bytes, each larger than the one before";
            return Err(SettingsError { field: "sizes", value, expected });
        }
        let class = |size: &usize| Class { size: *size, most: MOST, most_bytes: MOST_BYTES.max(*size) };
        Ok(Self::of(sizes.iter().map(class).collect()))
    }

    /// Up to so many buffers of each class are kept.
    ///
    /// # Errors
    /// If it is 0: a pool that keeps nothing is none.
    pub fn with_most(mut self, most: usize) -> Result<Self, SettingsError> {
        if most == 0 {
            let expected = "at least 1 buffer of a class";
            return Err(SettingsError { field: "most", value: most.to_string(), expected });
        }
        self.classes.iter_mut().for_each(|class| class.most = most);
        Ok(self)
    }

    /// The buffers of each class that are kept have up to so many bytes together.
    ///
    /// # Errors
    /// If not even one buffer of the largest class would fit.
    pub fn with_most_bytes(mut self, most_bytes: usize) -> Result<Self, SettingsError> {
        if self.classes.iter().any(|class| class.size > most_bytes) {
            let expected = "at least the size of one buffer of the largest class";
            return Err(SettingsError { field: "most_bytes", value: most_bytes.to_string(), expected });
        }
        self.classes.iter_mut().for_each(|class| class.most_bytes = most_bytes);
        Ok(self)
    }

    /// From small to large.
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The class whose buffers hold so many bytes; none if none is so large.
    #[must_use]
    #[inline]
    pub fn for_length(&self, length: usize) -> Option<usize> {
        let bits = usize::BITS - length.saturating_sub(1).leading_zeros();
        let mut class = usize::from(self.too_small[bits as usize]);
        // Counted, and not looked for: which of two it is can't be foreseen by a processor. There are seldom more.
        class += usize::from(self.sizes[class] < length);
        while self.sizes[class] < length {
            class += 1;
        }
        (class < self.classes.len()).then_some(class)
    }

    /// The class in which a buffer of this capacity is of use; none if it is smaller than all, or larger than the largest.
    #[must_use]
    pub fn of_capacity(&self, capacity: usize) -> Option<usize> {
        let largest = self.classes.last()?.size;
        let fills = self.classes.iter().rposition(|class| class.size <= capacity);
        fills.filter(|_| capacity <= largest)
    }
}
