//! How a store is opened.

use std::path::Path;
use std::time::Duration;

use sluicegate::clock::{Clock, SystemClock, Utc};

use crate::commits::Keeping;
use crate::disk::Disk;
use crate::error::DiskError;
use crate::medium::{AtPath, Medium};

/// How many keys have a bucket of their own, if nothing else is said.
pub const MAX_KEYS: usize = 1_000_000;

/// How a store keeps what it is told.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_disk::Options;
///
/// # let file = std::env::temp_dir().join(format!("options-{}.redb", std::process::id()));
/// let store = Options::new().strict().max_keys(10_000).patience(Duration::from_millis(500)).open(&file)?;
/// # drop(store);
/// # std::fs::remove_file(&file).unwrap();
/// # Ok::<(), sluicegate_disk::DiskError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) keeping: Keeping,
    pub(crate) max_keys: usize,
    pub(crate) patience: Duration,
    pub(crate) may_create: bool,
}

impl Options {
    /// Write-behind of a second, a million keys, a patience of a second; a file that is not there is made.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            keeping: Keeping::WriteBehind(Duration::from_secs(1)),
            max_keys: MAX_KEYS,
            patience: Duration::from_secs(1),
            may_create: true,
        }
    }

    /// Answers once what it says is durable: a crash forgets nothing that was granted. Each answer that takes something waits for
    /// the disk; those that come meanwhile share the next commit.
    #[must_use]
    pub const fn strict(self) -> Self {
        Self { keeping: Keeping::Strict, ..self }
    }

    /// Answers at once, and writes a quarter of `at_most` after something has changed. A crash forgets what was granted in a span
    /// of `at_most`, the last one, and nothing from before: what would be granted while something older is not yet durable waits
    /// as if [`strict`](Self::strict).
    #[must_use]
    pub const fn write_behind(self, at_most: Duration) -> Self {
        Self { keeping: Keeping::WriteBehind(at_most), ..self }
    }

    /// How many keys of all spaces have a bucket of their own, 1 to 2^31. More share one for each space and quota, and are counted.
    #[must_use]
    pub const fn max_keys(self, max_keys: usize) -> Self {
        Self { max_keys, ..self }
    }

    /// How long an answer waits for the disk. Then it is an error, and what it took goes back; and while a commit takes
    /// longer than that, whatever would wait is refused at once.
    #[must_use]
    pub const fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Whether a file that is not there is made. Where a file that is gone would be missed, say no: without it, every key is full.
    #[must_use]
    pub const fn create(self, may_create: bool) -> Self {
        Self { may_create, ..self }
    }

    /// Opens the file, on the system's clock. Blocks: all of the file is read and checked.
    ///
    /// # Errors
    /// If an option is out of range, or the file can't be opened, or is not as a store has left it. It is as it was then.
    pub fn open(&self, file: impl AsRef<Path>) -> Result<Disk, DiskError> {
        self.open_at(file, SystemClock::new(), Utc::now())
    }

    /// Opens the file on a clock of your own, which shows `utc` now.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_at<C: Clock + 'static>(
        &self,
        file: impl AsRef<Path>,
        clock: C,
        utc: Utc,
    ) -> Result<Disk<C>, DiskError> {
        self.open_on(Box::new(AtPath(file.as_ref().to_owned())), clock, utc)
    }

    pub(crate) fn open_on<C: Clock + 'static>(
        &self,
        medium: Box<dyn Medium>,
        clock: C,
        utc: Utc,
    ) -> Result<Disk<C>, DiskError> {
        self.check()?;
        Disk::start(self, medium, clock, utc)
    }

    fn check(&self) -> Result<(), DiskError> {
        let wrong = |field, value, expected| Err(DiskError::Option { field, value, expected });
        if self.max_keys == 0 || self.max_keys > 1 << 31 {
            return wrong("max_keys", self.max_keys.to_string(), "1 to 2147483648 keys");
        }
        if self.patience.is_zero() {
            return wrong("patience", format!("{:?}", self.patience), "more than nothing, such as 1s");
        }
        match self.keeping {
            Keeping::WriteBehind(at_most) if at_most < Duration::from_millis(1) => {
                wrong("write_behind", format!("{at_most:?}"), "at least 1ms, or `strict`")
            }
            _ => Ok(()),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
