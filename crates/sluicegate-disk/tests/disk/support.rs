//! A place for files, and a store in it on virtual time.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate::clock::Utc;
use sluicegate::quota::Quota;
use sluicegate::timer::ManualTime;
use sluicegate_disk::{Disk, Options};

/// A directory that is gone with its test.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("disk-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("store.redb")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

/// Patient enough for virtual time that runs ahead of the disk.
pub(crate) fn strict() -> Options {
    Options::new().strict().patience(Duration::MAX)
}

/// Opens the store of a place, on a virtual time that begins at zero, when the wall clock shows so many seconds.
pub(crate) fn open(options: &Options, place: &Place, seconds: u64) -> (Disk<ManualTime>, ManualTime) {
    let time = ManualTime::new();
    let utc = Utc::from_nanos(seconds * 1_000_000_000);
    (options.open_at(place.file(), time.clone(), utc).unwrap(), time)
}
