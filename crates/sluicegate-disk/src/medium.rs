//! Where a store's bytes are: a path, or in tests a disk that fails when it is told to.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;

use crate::error::DiskError;

/// Fills an empty file.
pub(crate) type Fill<'a> = &'a dyn Fn(Box<dyn StorageBackend>) -> Result<(), DiskError>;

/// A place for a store's bytes.
pub(crate) trait Medium: Debug + Send {
    /// What errors call it.
    fn name(&self) -> &Path;

    /// What is there; none where nothing is.
    fn open(&self) -> Result<Option<Box<dyn StorageBackend>>, DiskError>;

    /// Puts there what `fill` makes, whole or not at all. What somebody else has put there meanwhile stays.
    fn create(&self, fill: Fill<'_>) -> Result<(), DiskError>;
}

/// A file.
#[derive(Debug)]
pub(crate) struct AtPath(pub(crate) PathBuf);

impl AtPath {
    fn wrong(&self, doing: &'static str, cause: io::Error) -> DiskError {
        DiskError::io(&self.0, doing, cause)
    }

    /// A file beside it that nobody else has.
    fn beside(&self) -> PathBuf {
        let mut name = self.0.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".{:016x}.new", RandomState::new().hash_one(0_u8)));
        self.0.with_file_name(name)
    }

    /// Gives the new file its name, unless that is taken.
    fn publish(&self, new: &Path) -> io::Result<()> {
        match fs::hard_link(new, &self.0) {
            Ok(()) => fs::remove_file(new),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(new),
            // Not all file systems have links.
            Err(_) if !self.0.exists() => fs::rename(new, &self.0),
            Err(error) => Err(error),
        }
    }

    /// Has the file's name survive a crash.
    #[cfg(unix)]
    fn sync_name(&self) -> io::Result<()> {
        let directory = self.0.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync_name(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl Medium for AtPath {
    fn name(&self) -> &Path {
        &self.0
    }

    fn open(&self) -> Result<Option<Box<dyn StorageBackend>>, DiskError> {
        let file = match OpenOptions::new().read(true).write(true).open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.wrong("open it", error)),
        };
        if file.metadata().is_ok_and(|about| !about.is_file()) {
            return Err(DiskError::Foreign { file: self.0.clone(), what: "no plain file".to_owned() });
        }
        let backend = FileBackend::new(file);
        let backend = backend.map_err(|error| DiskError::database(&self.0, "open it", error.into()))?;
        Ok(Some(Box::new(backend)))
    }

    fn create(&self, fill: Fill<'_>) -> Result<(), DiskError> {
        let new = self.beside();
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&new);
        let file = file.map_err(|error| self.wrong("make it", error))?;
        let backend = FileBackend::new(file);
        let filled = match backend {
            Ok(backend) => fill(Box::new(backend)),
            Err(error) => Err(DiskError::database(&self.0, "make it", error.into())),
        };
        let made = filled.and_then(|()| {
            File::open(&new)
                .and_then(|file| file.sync_all())
                .and_then(|()| self.publish(&new))
                .and_then(|()| self.sync_name())
                .map_err(|error| self.wrong("make it", error))
        });
        if made.is_err() {
            // What is left of it is nobody's; that it can't be removed says nothing more.
            drop(fs::remove_file(&new));
        }
        made
    }
}
