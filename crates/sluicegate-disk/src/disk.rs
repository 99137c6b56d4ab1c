//! The store on a disk.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use sluicegate::clock::{Clock, SystemClock, Utc, nanos};
use sluicegate::decision::Decision;
use sluicegate::quota::Quota;
use sluicegate::store::parts::Seen;
use sluicegate::store::{Charge, Outcome, Reservation, Store, StoreError, Verdict};
use sluicegate::timer::Timer;
use sluicegate::units::HORIZON;

use crate::booking::Booking;
use crate::commits::{Answer, Commits};
use crate::error::DiskError;
use crate::file::StoreFile;
use crate::medium::Medium;
use crate::options::Options;
use crate::pending::Pending;
use crate::shared::{Changed, Inner, Shared, Undo};
use crate::table::{Asking, Charged, MAX_SPACES, Table};
use crate::writer;

/// A store whose buckets survive the process. Clones are the same store; dropping the last of them [closes](Self::close) it.
///
/// See the [crate](crate) for what is kept, when, and what is not.
///
/// ```
/// use sluicegate::store::{Charge, Store, StoreError};
/// use sluicegate_disk::Disk;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = std::env::temp_dir().join(format!("reports-{}.redb", std::process::id()));
/// let reports = "3/d".parse()?;
/// let ann = Charge::new("reports", b"ann", &reports);
/// let disk = Disk::open(&file)?;
/// assert_eq!(disk.take_up_to(ann.of(2)).await?, 2);
/// disk.close()?;
///
/// let disk = Disk::open(&file)?;
/// assert!(disk.take(&[ann]).await?.is_granted());
/// assert!(!disk.take(&[ann]).await?.is_granted());
/// # drop(disk);
/// # std::fs::remove_file(&file)?;
/// # Ok(()) }
/// ```
pub struct Disk<C: Clock = SystemClock> {
    handle: Arc<Handle<C>>,
}

/// The store, as long as somebody has it.
struct Handle<C: Clock> {
    shared: Arc<Shared<C>>,
    file: PathBuf,
    /// None once it was joined.
    writer: Mutex<Option<JoinHandle<Result<(), DiskError>>>>,
}

impl Disk {
    /// Opens a file with the usual [`Options`], or makes one where there is none. Blocks.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(file: impl AsRef<Path>) -> Result<Self, DiskError> {
        Options::new().open(file)
    }
}

impl<C: Clock + 'static> Disk<C> {
    pub(crate) fn start(
        options: &Options,
        medium: Box<dyn Medium>,
        clock: C,
        utc: Utc,
    ) -> Result<Self, DiskError> {
        let (mut file, loaded) = StoreFile::open(medium, utc.as_nanos(), options.may_create)?;
        let origin = clock.now();
        let header = file.header();
        // By the wall clock, but never before what was seen: one that was put back gives nothing.
        let mut base = utc.as_nanos().saturating_sub(header.epoch).max(header.seen);
        let mut table = Table::new(header.seed, options.max_keys, base);
        if loaded.spaces.len() > MAX_SPACES {
            return Err(DiskError::corrupt(file.name(), "the spaces", "there are too many"));
        }
        for name in &loaded.spaces {
            table.add_space(name);
        }
        for (id, record) in &loaded.keys {
            table.load(*id, record);
        }
        if base > HORIZON / 2 {
            let epoch = header.epoch.saturating_add(base);
            table.begin_anew();
            file.begin_anew(epoch);
            base = 0;
        }
        let name = file.name().to_owned();
        let commits = Commits::new(options.keeping, options.patience);
        let saved_spaces = loaded.spaces.len();
        let mut inner = Inner { table, commits, saved_spaces };
        // What is as if never used is removed from the file.
        inner.note();
        let shared = Arc::new(Shared::new(clock, (origin, base), options.patience, inner));
        let writer = writer::start(Arc::clone(&shared), file)?;
        let handle = Handle { shared, file: name, writer: Mutex::new(Some(writer)) };
        Ok(Self { handle: Arc::new(handle) })
    }
}

impl<C: Clock> Disk<C> {
    pub(crate) fn shared(&self) -> &Arc<Shared<C>> {
        &self.handle.shared
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.handle.file
    }

    /// How many keys have a bucket of their own: those that are not as if never used, and some that are again.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shared().lock().table.len()
    }

    /// How many decisions were made on a shared bucket, because there was no room for one more key.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.shared().lock().table.overflowed()
    }

    /// Writes what there is to write, and ends: whoever asks from now on, also with a clone, is told so. Blocks for a commit; so does
    /// dropping the last clone, which says nothing of failures.
    ///
    /// # Errors
    /// If what was not durable could not be written.
    pub fn close(&self) -> Result<(), DiskError> {
        self.handle.close()
    }
}

impl<C: Clock> Handle<C> {
    fn close(&self) -> Result<(), DiskError> {
        self.shared.finish(DiskError::Closed { file: self.file.clone() });
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The writer wakes who waits, which may drop the last clone there.
        match writer.filter(|writer| writer.thread().id() != std::thread::current().id()) {
            Some(writer) => {
                writer.join().unwrap_or_else(|_| Err(DiskError::Panicked { file: self.file.clone() }))
            }
            None => Ok(()),
        }
    }
}

impl<C: Clock> Drop for Handle<C> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

impl<C: Timer> Disk<C> {
    /// Waits until all that was decided so far is durable.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// If it can't be written, or not within the [patience](Options::patience). It stays known, and will be tried again.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let shared = self.shared();
        let (ticket, _) = shared.lock().commits.ticket();
        shared.tell_writer();
        Pending::new(Arc::clone(shared), ticket, Vec::new()).await
    }

    /// Waits until what was just decided is as durable as an answer has to be.
    pub(crate) async fn durable(&self) -> Result<(), StoreError> {
        let answer = {
            let shared = self.shared();
            let inner = shared.lock();
            inner.commits.admit(shared.now())?
        };
        match answer {
            Answer::AtOnce => Ok(()),
            Answer::OnceDurable => self.flush().await,
        }
    }

    /// Says it, once it may be said.
    async fn tell<R>(&self, changed: Changed<R>) -> Result<R, StoreError> {
        if let Some((ticket, undo)) = changed.waits {
            Pending::new(Arc::clone(self.shared()), ticket, undo).await?;
        }
        Ok(changed.said)
    }

    fn peek_now(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        let shared = self.shared();
        let now = shared.now();
        let mut inner = shared.lock();
        inner.commits.is_open()?;
        let decided = inner.table.decide(charges, Asking::Peek, now)?;
        let is_news = inner.note();
        drop(inner);
        if is_news {
            shared.tell_writer();
        }
        Ok(decided.verdict)
    }
}

/// As if none of it had been charged.
fn nothing(charged: &[Charged]) -> Undo {
    charged.iter().map(|charged| (*charged, 0)).collect()
}

impl<C: Timer> Store for Disk<C> {
    type Hold = Booking<C>;

    async fn take(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        let now = self.shared().now();
        let changed = self.shared().change(now, |table| {
            let decided = table.decide(charges, Asking::Take, now)?;
            let undo = decided.has_changed.then(|| nothing(&decided.charged));
            Ok((decided.verdict, undo))
        })?;
        self.tell(changed).await
    }

    async fn peek(&self, charges: &[Charge<'_>]) -> Result<Verdict, StoreError> {
        self.peek_now(charges)
    }

    async fn take_up_to(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        let now = self.shared().now();
        let changed = self.shared().change(now, |table| {
            let take =
                |bucket: &sluicegate::bucket::Bucket, state, now| bucket.take_up_to(state, charge.n, now);
            let (n, charged) = table.change(&charge, now, take)?;
            Ok((n, (n > 0).then(|| vec![(Charged { n, ..charged }, 0)])))
        })?;
        self.tell(changed).await
    }

    async fn put(&self, charge: Charge<'_>) -> Result<u64, StoreError> {
        let now = self.shared().now();
        let changed = self.shared().change(now, |table| {
            let put = |bucket: &sluicegate::bucket::Bucket, state, now| bucket.put(state, charge.n, now);
            let (n, charged) = table.change(&charge, now, put)?;
            Ok(((n, charged.id), (n > 0).then(|| vec![(charged, n)])))
        })?;
        self.shared().wake_key(changed.said.1);
        self.tell(changed).await.map(|(n, _)| n)
    }

    async fn reset(&self, space: &str, key: &[u8]) -> Result<(), StoreError> {
        let now = self.shared().now();
        let changed = self.shared().change(now, |table| {
            let reset = table.reset(space, key);
            Ok((reset, reset.map(|_| Undo::new())))
        })?;
        if let Some(id) = changed.said {
            self.shared().wake_key(id);
        }
        self.tell(changed).await.map(|_| ())
    }

    async fn reserve(
        &self,
        charges: &[Charge<'_>],
        max_wait: Duration,
    ) -> Result<Outcome<Booking<C>>, StoreError> {
        let now = self.shared().now();
        let changed = self.shared().change(now, |table| {
            let decided = table.decide(charges, Asking::Book(nanos(max_wait)), now)?;
            let undo = decided.has_changed.then(|| nothing(&decided.charged));
            Ok((decided, undo))
        })?;
        let decided = self.tell(changed).await?;
        if !decided.verdict.is_granted() {
            return Ok(Outcome::Refused(decided.verdict));
        }
        // What is left of it, since the disk was waited for.
        let delay = Duration::from_nanos(decided.due.saturating_sub(self.shared().now()));
        let booking = Booking::new(self.clone(), decided.charged, decided.due);
        Ok(Outcome::Reserved(Reservation::new(booking, charges.len(), delay, decided.verdict)))
    }

    async fn watch(&self, charge: Charge<'_>) -> Result<Decision, StoreError> {
        let shared = self.shared();
        let id = shared.lock().table.id_of(&charge)?;
        let mut place = shared.watchers.enter(id);
        let look = || {
            Ok(match self.peek_now(&[charge])?.decision {
                Decision::Later { retry_after, .. } => {
                    let at = |wait| shared.lock().table.now().saturating_add(nanos(wait));
                    Seen::Later(retry_after.map(|wait| shared.on_clock(at(wait))))
                }
                decision => Seen::Answer(decision),
            })
        };
        place.until(&shared.clock, look).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.shared().lock().commits.is_well()
    }

    async fn beat(&self, group: &str, instance: &[u8], ttl: Duration) -> Result<u64, StoreError> {
        let shared = self.shared();
        shared.presence.beat(group, instance, ttl, shared.now())
    }

    fn supports(&self, _: &Quota) -> Result<(), StoreError> {
        Ok(())
    }
}

impl<C: Clock> Clone for Disk<C> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<C: Clock> fmt::Debug for Disk<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("file", &self.handle.file).finish_non_exhaustive()
    }
}
