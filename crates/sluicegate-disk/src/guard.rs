//! A file that nothing is written to before it is known to be right.
//!
//! A database that is opened may repair itself, and says that it is open by a write. What was no store's file, or one that is
//! damaged, must stay as it was; so all that is written while a file is looked at is kept in memory. Once it is found to be
//! right, that is written in the same order, with the same syncs; from then on everything goes through.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

/// Clones are the same file.
#[derive(Clone)]
pub(crate) struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    below: Box<dyn StorageBackend>,
    /// None once all goes through.
    held: Mutex<Option<Held>>,
}

/// What was written, and is not below yet.
struct Held {
    /// How long the file would be.
    length: u64,
    /// How much of what is below still shows.
    shows: u64,
    steps: Vec<Step>,
}

enum Step {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

impl Guard {
    pub(crate) fn new(below: Box<dyn StorageBackend>) -> io::Result<Self> {
        let length = below.len()?;
        let held = Mutex::new(Some(Held { length, shows: length, steps: Vec::new() }));
        Ok(Self { inner: Arc::new(Inner { below, held }) })
    }

    /// The file is right.
    pub(crate) fn release(&self) -> io::Result<()> {
        let mut held = self.held();
        let below = &self.inner.below;
        for step in held.iter().flat_map(|held| &held.steps) {
            match step {
                Step::Write(at, bytes) => below.write(*at, bytes)?,
                Step::Length(length) => below.set_len(*length)?,
                Step::Sync => below.sync_data()?,
            }
        }
        *held = None;
        Ok(())
    }

    /// The first bytes as they are below.
    pub(crate) fn front<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.below.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// A panic between two steps leaves a file that is not released, and so as it was.
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn read(&self, below: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64).filter(|end| *end <= self.length);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        out.fill(0);
        let shown = place(self.shows.saturating_sub(offset)).min(out.len());
        if shown > 0 {
            below.read(offset, &mut out[..shown])?;
        }
        for step in &self.steps {
            match step {
                Step::Write(at, bytes) => lay_over(out, offset, bytes, *at),
                // What was cut off is zero where the file has grown again.
                Step::Length(length) => {
                    let kept = place(length.saturating_sub(offset)).min(out.len());
                    out[kept..].fill(0);
                }
                Step::Sync => {}
            }
        }
        Ok(())
    }
}

/// Bytes that begin at `at` over those that begin at `offset`, as far as they meet.
fn lay_over(out: &mut [u8], offset: u64, bytes: &[u8], at: u64) {
    let (skip, into) = (place(offset.saturating_sub(at)), place(at.saturating_sub(offset)));
    if let (Some(bytes), Some(out)) = (bytes.get(skip..), out.get_mut(into..)) {
        let both = bytes.len().min(out.len());
        out[..both].copy_from_slice(&bytes[..both]);
    }
}

/// An offset within memory; what is beyond it is beyond every buffer too.
fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl StorageBackend for Guard {
    fn len(&self) -> io::Result<u64> {
        match &*self.held() {
            Some(held) => Ok(held.length),
            None => self.inner.below.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let held = self.held();
        match &*held {
            Some(held) => held.read(&*self.inner.below, offset, out),
            None => {
                drop(held);
                self.inner.below.read(offset, out)
            }
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        match &mut *self.held() {
            Some(held) => {
                (held.length, held.shows) = (length, held.shows.min(length));
                held.steps.push(Step::Length(length));
                Ok(())
            }
            None => self.inner.below.set_len(length),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut held = self.held();
        match &mut *held {
            Some(held) => {
                held.steps.push(Step::Sync);
                Ok(())
            }
            None => {
                drop(held);
                self.inner.below.sync_data()
            }
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut held = self.held();
        match &mut *held {
            Some(held) => {
                let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
                held.length = held.length.max(end);
                held.steps.push(Step::Write(offset, bytes.to_vec()));
                Ok(())
            }
            None => {
                drop(held);
                self.inner.below.write(offset, bytes)
            }
        }
    }

    fn close(&self) -> io::Result<()> {
        self.inner.below.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.below.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.below.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.below.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.below.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.below.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.below.query_lock_range(start, end)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("is_held", &self.held().is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    /// Writes, cuts and reads at random, on a guarded file and on a plain one: the same is read, before and after.
    #[test]
    fn what_is_held_reads_as_if_it_was_written() {
        let mut dice = 7_u64;
        let mut roll = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % below
        };
        for _ in 0..200 {
            let (plain, below) = (InMemoryBackend::new(), Arc::new(InMemoryBackend::new()));
            for start in [&plain, &*below] {
                start.set_len(60).unwrap();
                start.write(0, &(1..=60).collect::<Vec<u8>>()).unwrap();
            }
            let all = |backend: &dyn StorageBackend| {
                let mut bytes = vec![0xff; usize::try_from(backend.len().unwrap()).unwrap()];
                backend.read(0, &mut bytes).unwrap();
                bytes
            };
            let guard = Guard::new(Box::new(Below(Arc::clone(&below)))).unwrap();
            let before = all(&*below);
            for _ in 0..12 {
                let length = plain.len().unwrap();
                match roll(3) {
                    0 => {
                        let to = roll(90);
                        plain.set_len(to).and(guard.set_len(to)).unwrap();
                    }
                    _ if length > 0 => {
                        let at = roll(length);
                        let many = 1 + roll((length - at).min(20));
                        let bytes: Vec<u8> = (0..many).map(|_| u8::try_from(roll(255)).unwrap()).collect();
                        plain.write(at, &bytes).and(guard.write(at, &bytes)).unwrap();
                        let mut parts = [vec![0; bytes.len() + 3], vec![0; bytes.len() + 3]];
                        let from = at.saturating_sub(2);
                        let read = [plain.read(from, &mut parts[0]), guard.read(from, &mut parts[1])];
                        assert_eq!(read[0].is_ok(), read[1].is_ok());
                        assert!(read[0].is_err() || parts[0] == parts[1]);
                    }
                    _ => {}
                }
                assert_eq!(all(&plain), all(&guard));
            }
            assert_eq!(all(&*below), before, "nothing was written");
            guard.release().unwrap();
            assert_eq!(all(&*below), all(&plain));
            assert_eq!(all(&guard), all(&plain));
        }
    }

    #[derive(Debug)]
    struct Below(Arc<InMemoryBackend>);

    impl StorageBackend for Below {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }
        fn set_len(&self, length: u64) -> io::Result<()> {
            self.0.set_len(length)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }
        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.write(offset, bytes)
        }
    }
}
