//! Why there is no store on this file, or none any more.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use sluicegate::store::StoreError;

/// Why a file can't be opened as a store, or has failed as one. The file is as it was: nothing is repaired by guessing, and
/// nothing is reset.
///
/// ```
/// use sluicegate_disk::{Disk, DiskError};
///
/// let file = std::env::temp_dir().join(format!("not-a-store-{}", std::process::id()));
/// std::fs::write(&file, "a letter")?;
/// let error = Disk::open(&file).unwrap_err();
/// assert!(matches!(error, DiskError::Foreign { .. }), "{error}");
/// assert_eq!(std::fs::read(&file)?, b"a letter");
/// # std::fs::remove_file(&file)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DiskError {
    /// An option is out of range.
    Option {
        /// Its name.
        field: &'static str,
        /// The value that was given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// There is no such file, and none was to be made.
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// Another process has it open, or another store in this one.
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// It is something else than a store's file.
    Foreign {
        /// The file.
        file: PathBuf,
        /// What it is not.
        what: String,
    },
    /// It is of another version of this crate or of its database.
    Version {
        /// The file.
        file: PathBuf,
        /// What it says.
        found: String,
        /// What can be read.
        expected: String,
    },
    /// It was a store's file, and something else has written to it or cut it off.
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where in it: a key of a space, a table, the whole.
        place: String,
        /// What is wrong there.
        what: String,
    },
    /// The operating system has refused to read or write: no permission, no room, a disk that fails.
    Io {
        /// The file.
        file: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What it says.
        cause: Arc<io::Error>,
    },
    /// The operating system gives no thread for the writer.
    Thread {
        /// What it says.
        cause: Arc<io::Error>,
    },
    /// The thread that writes has panicked, which is a bug. Whether its last transaction is in the file is not known before that is
    /// opened anew; so the store has ended.
    Panicked {
        /// The file.
        file: PathBuf,
    },
    /// The store was closed.
    Closed {
        /// The file.
        file: PathBuf,
    },
}

impl DiskError {
    /// For what the operating system says.
    pub(crate) fn io(file: impl Into<PathBuf>, doing: &'static str, cause: io::Error) -> Self {
        Self::Io { file: file.into(), doing, cause: Arc::new(cause) }
    }

    /// For what is not as it was written.
    pub(crate) fn corrupt(
        file: impl Into<PathBuf>,
        place: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        Self::Corrupt { file: file.into(), place: place.into(), what: what.into() }
    }

    /// For what the database says.
    pub(crate) fn database(file: impl Into<PathBuf>, doing: &'static str, error: redb::Error) -> Self {
        let file = file.into();
        let whole = "the file";
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::InUse { file },
            redb::Error::UpgradeRequired(found) => {
                let found = format!("version {found} of the database's format");
                Self::Version { file, found, expected: "version 3".to_owned() }
            }
            redb::Error::Io(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                Self::corrupt(file, whole, "it is shorter than it says: was it cut off?")
            }
            redb::Error::Io(cause) => Self::io(file, doing, cause),
            redb::Error::Corrupted(what) => Self::corrupt(file, whole, what),
            redb::Error::TableDoesNotExist(name) => {
                Self::Foreign { file, what: format!("a database without the table `{name}`") }
            }
            redb::Error::TableTypeMismatch { table, .. } | redb::Error::TableIsMultimap(table) => {
                Self::Foreign { file, what: format!("a database whose table `{table}` is of something else") }
            }
            other => Self::corrupt(file, whole, other.to_string()),
        }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { field, value, expected } => write!(f, "{field} `{value}`: expected {expected}"),
            Self::Missing { file } => {
                write!(f, "{}: expected a store's file, and there is none", file.display())
            }
            Self::InUse { file } => {
                write!(f, "{}: it is open already: expected a file that no other store uses", file.display())
            }
            Self::Foreign { file, what } => {
                write!(f, "{}: expected a store's file, and it is {what}", file.display())
            }
            Self::Version { file, found, expected } => {
                write!(f, "{}: {found}: expected {expected}", file.display())
            }
            Self::Corrupt { file, place, what } => {
                write!(
                    f,
                    "{}: {place} is damaged: {what}. Restore the file from a copy; without it every key is full again",
                    file.display()
                )
            }
            Self::Io { file, doing, cause } => write!(f, "{}: can't {doing}: {cause}", file.display()),
            Self::Thread { cause } => write!(f, "no thread for the writer: {cause}"),
            Self::Panicked { file } => {
                write!(
                    f,
                    "{}: what writes it has panicked, which is a bug: the store has ended, and what was durable is there when it is \
                     opened anew",
                    file.display()
                )
            }
            Self::Closed { file } => write!(f, "{}: the store was closed", file.display()),
        }
    }
}

impl Error for DiskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { cause, .. } | Self::Thread { cause } => Some(&**cause),
            _ => None,
        }
    }
}

/// A store that was closed is away; all else that can come to one that is open is a file that does not do its work.
impl From<DiskError> for StoreError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Closed { .. } => Self::Away { cause: Some(Arc::new(error)) },
            _ => Self::Broken { what: error.to_string(), cause: Some(Arc::new(error)) },
        }
    }
}
