//! A disk in memory that loses its power, fills up, fails and hangs when it is told to.

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::{BackendError, StorageBackend};

use crate::error::DiskError;
use crate::medium::{Fill, Medium};

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Drive {
    shared: Arc<(Mutex<Platter>, Condvar)>,
}

#[derive(Debug, Default)]
struct Platter {
    /// None while there is no file.
    bytes: Option<Vec<u8>>,
    /// What is there whatever happens.
    synced: Vec<u8>,
    /// What may or may not be.
    unsynced: Vec<Step>,
    is_locked: bool,
    /// Why every write fails.
    broken: Option<io::ErrorKind>,
    /// Whether syncs hang.
    hangs: bool,
    /// How many there were.
    syncs: u32,
    /// How many writes and syncs there will be power for.
    power: Option<u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Step {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, written) => {
                bytes.resize(bytes.len().max(at + written.len()), 0);
                bytes[*at..at + written.len()].copy_from_slice(written);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

impl Drive {
    /// One that has this file.
    pub(super) fn with(bytes: Vec<u8>) -> Self {
        let drive = Self::default();
        *drive.platter() = Platter { synced: bytes.clone(), bytes: Some(bytes), ..Platter::default() };
        drive
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.shared.0.lock().unwrap()
    }

    /// The file as whoever reads it finds it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.platter().bytes.clone().unwrap()
    }

    /// Has another file be there, on a disk that works.
    pub(super) fn replace(&self, bytes: Vec<u8>) {
        *self.platter() = Platter { synced: bytes.clone(), bytes: Some(bytes), ..Platter::default() };
    }

    /// From now on every write fails like this; or none does.
    pub(super) fn fail(&self, how: Option<io::ErrorKind>) {
        self.platter().broken = how;
    }

    /// From now on syncs hang, or don't.
    pub(super) fn hang(&self, hangs: bool) {
        self.platter().hangs = hangs;
        self.shared.1.notify_all();
    }

    /// How often something was synced.
    pub(super) fn syncs(&self) -> u32 {
        self.platter().syncs
    }

    /// The power goes after so many writes and syncs.
    pub(super) fn cut_after(&self, steps: u64) {
        self.platter().power = Some(steps);
    }

    /// What is there once the power is back: all that was synced, and of the rest what `chosen` says.
    pub(super) fn after_the_cut(&self, mut chosen: impl FnMut() -> bool) -> Self {
        let platter = self.platter();
        let mut bytes = platter.synced.clone();
        platter.unsynced.iter().filter(|_| chosen()).for_each(|step| step.apply(&mut bytes));
        Self::with(bytes)
    }

    fn change(&self, step: Step) -> io::Result<()> {
        let mut platter = self.platter();
        platter.spend()?;
        let platter = &mut *platter;
        step.apply(platter.bytes.get_or_insert_default());
        platter.unsynced.push(step);
        Ok(())
    }
}

impl Platter {
    fn spend(&mut self) -> io::Result<()> {
        if let Some(broken) = self.broken {
            return Err(broken.into());
        }
        match &mut self.power {
            Some(0) => Err(io::Error::other("no power")),
            Some(power) => {
                *power -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Medium for Drive {
    fn name(&self) -> &Path {
        Path::new("drive")
    }

    fn open(&self) -> Result<Option<Box<dyn StorageBackend>>, DiskError> {
        let is_there = self.platter().bytes.is_some();
        Ok(is_there.then(|| -> Box<dyn StorageBackend> {
            Box::new(Handle { drive: self.clone(), holds: Mutex::new(false) })
        }))
    }

    fn create(&self, fill: Fill<'_>) -> Result<(), DiskError> {
        let new = Self::with(Vec::new());
        fill(Box::new(Handle { drive: new.clone(), holds: Mutex::new(false) }))?;
        let bytes = new.bytes();
        *self.platter() = Platter { synced: bytes.clone(), bytes: Some(bytes), ..Platter::default() };
        Ok(())
    }
}

/// An open file.
#[derive(Debug)]
struct Handle {
    drive: Drive,
    holds: Mutex<bool>,
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.drive.platter().bytes.as_ref().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let platter = self.drive.platter();
        let bytes = platter.bytes.as_ref().unwrap().get(at..at + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.drive.change(Step::Length(usize::try_from(length).unwrap()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let (platter, passing) = &*self.drive.shared;
        let mut platter = passing.wait_while(platter.lock().unwrap(), |platter| platter.hangs).unwrap();
        platter.spend()?;
        let platter = &mut *platter;
        platter.syncs += 1;
        platter.unsynced.drain(..).for_each(|step| step.apply(&mut platter.synced));
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.drive.change(Step::Write(usize::try_from(offset).unwrap(), bytes.to_vec()))
    }

    fn close(&self) -> io::Result<()> {
        if std::mem::take(&mut *self.holds.lock().unwrap()) {
            self.drive.platter().is_locked = false;
        }
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if (start, end) != (Bound::Unbounded, Bound::Unbounded) {
            return Err(BackendError::Unsupported);
        }
        let was_free = !std::mem::replace(&mut self.drive.platter().is_locked, true);
        *self.holds.lock().unwrap() |= was_free;
        Ok(was_free)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        self.close().map_err(BackendError::from)
    }
}
