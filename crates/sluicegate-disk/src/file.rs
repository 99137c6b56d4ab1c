//! The database in a file: read whole when it is opened, written by commits.

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use sluicegate::failure::panic_message;

use crate::error::DiskError;
use crate::guard::Guard;
use crate::medium::Medium;
use crate::record::{FORMAT, Header, Id, Record, Seed, Wrong, decode_name, encode_name};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sluicegate");
const SPACES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("sluicegate.spaces");
const KEYS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sluicegate.keys");
const HEADER: &str = "header";

/// Bytes that the database may keep in memory. Keys are read once, so little is read twice but the tree's inner pages.
const CACHE: usize = 16 << 20;

/// A store's file. Used by one thread.
#[derive(Debug)]
pub(crate) struct StoreFile {
    medium: Box<dyn Medium>,
    /// None after a failure: the file has to be opened anew.
    database: Option<Database>,
    header: Header,
}

/// What was in it.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// By their numbers.
    pub(crate) spaces: Vec<String>,
    pub(crate) keys: Vec<(Id, Record)>,
}

/// What is written at once.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Keys; none is to be removed.
    pub(crate) changes: Vec<(Id, Option<Record>)>,
    /// Spaces that are new, with their numbers.
    pub(crate) spaces: Vec<(u32, Box<str>)>,
    /// The latest instant of the store's time.
    pub(crate) seen: u64,
}

impl StoreFile {
    /// Opens the file, or makes one whose time begins at `epoch`, by the wall clock, where there is none and `may_create`.
    pub(crate) fn open(
        medium: Box<dyn Medium>,
        epoch: u64,
        may_create: bool,
    ) -> Result<(Self, Loaded), DiskError> {
        let mut backend = medium.open()?;
        if backend.is_none() && may_create {
            let random = || RandomState::new().hash_one(0_u8);
            let header = Header { seed: Seed([random(), random()]), epoch, seen: 0, commits: 0 };
            medium.create(&|backend| make(medium.name(), backend, &header))?;
            backend = medium.open()?;
        }
        let Some(backend) = backend else { return Err(DiskError::Missing { file: medium.name().into() }) };
        let (database, header, loaded) =
            guarded(medium.name(), || read(medium.name(), backend, &|_| Ok(())))?;
        Ok((Self { medium, database: Some(database), header }, loaded))
    }

    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn name(&self) -> &Path {
        self.medium.name()
    }

    /// Has time begin at another instant, with the next commit.
    pub(crate) fn begin_anew(&mut self, epoch: u64) {
        (self.header.epoch, self.header.seen) = (epoch, 0);
    }

    /// Writes all of a batch or nothing; it is durable when this returns. After a failure, which may have written it all the same,
    /// the next commit opens the file anew.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<(), DiskError> {
        if self.database.is_none() {
            self.database = Some(self.reopen()?);
        }
        let Some(database) = &self.database else { return Ok(()) };
        let next = Header {
            seen: self.header.seen.max(batch.seen),
            commits: self.header.commits + 1,
            ..self.header
        };
        let name = self.medium.name();
        let written = guarded(name, || {
            write(database, &next, batch).map_err(|error| DiskError::database(name, "write it", error))
        });
        match written {
            Ok(()) => self.header = next,
            Err(_) => self.close(),
        }
        written
    }

    /// What was committed stays. What fails here has been reported before, or is mended when the file is opened.
    pub(crate) fn close(&mut self) {
        let Some(database) = self.database.take() else { return };
        drop(catch_unwind(AssertUnwindSafe(|| database.close())));
    }

    /// The same file as before. It may have the commit that failed.
    fn reopen(&mut self) -> Result<Database, DiskError> {
        let (name, had) = (self.medium.name(), self.header);
        let Some(backend) = self.medium.open()? else {
            return Err(DiskError::Missing { file: name.into() });
        };
        let is_the_same = |has: &Header| {
            if has.seed != had.seed {
                let what = "another store's file than it was".to_owned();
                return Err(DiskError::Foreign { file: name.into(), what });
            }
            if has.commits != had.commits && has.commits != had.commits + 1 {
                let what = format!("it is of commit {}, and was of {}", has.commits, had.commits);
                return Err(DiskError::corrupt(name, "the file", what));
            }
            Ok(())
        };
        let (database, header, _) = guarded(name, || read(name, backend, &is_the_same))?;
        self.header.commits = header.commits;
        Ok(database)
    }
}

/// A damaged file can have the database panic. That is its way to say that the file is damaged, and ends nobody else.
fn guarded<T>(name: &Path, work: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic_message(&*panic).unwrap_or("it does not say why");
        Err(DiskError::corrupt(name, "the file", format!("the database has given up: {said}")))
    })
}

fn make(name: &Path, backend: Box<dyn StorageBackend>, header: &Header) -> Result<(), DiskError> {
    let wrong = |error| DiskError::database(name, "make it", error);
    let guard = Guard::new(backend).map_err(|error| DiskError::io(name, "make it", error))?;
    guard.release().map_err(|error| DiskError::io(name, "make it", error))?;
    let database = Builder::new().set_cache_size(CACHE).create_with_backend(guard);
    let database = database.map_err(|error| wrong(error.into()))?;
    write(&database, header, &Batch { changes: Vec::new(), spaces: Vec::new(), seen: 0 }).map_err(wrong)?;
    database.close().map_err(|error| wrong(error.into()))
}

fn write(database: &Database, header: &Header, batch: &Batch) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    // Commits in two phases, so that a commit that is damaged can't be taken for one that was cut short, and left out.
    transaction.set_two_phase_commit(true);
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(HEADER, header.encode().as_slice())?;
        let mut spaces = transaction.open_table(SPACES)?;
        for (space, name) in &batch.spaces {
            spaces.insert(space, encode_name(header.seed, *space, name).as_slice())?;
        }
        let mut keys = transaction.open_table(KEYS)?;
        for (id, record) in &batch.changes {
            match record {
                Some(record) => {
                    keys.insert(id.encode().as_slice(), record.encode(header.seed, *id).as_slice())?
                }
                None => keys.remove(id.encode().as_slice())?,
            };
        }
    }
    Ok(transaction.commit()?)
}

/// Reads and checks all of it. Nothing is written to a file that is not right.
fn read(
    name: &Path,
    backend: Box<dyn StorageBackend>,
    is_right: &dyn Fn(&Header) -> Result<(), DiskError>,
) -> Result<(Database, Header, Loaded), DiskError> {
    let reading = "read it";
    let io = |error| DiskError::io(name, reading, error);
    let guard = Guard::new(backend).map_err(io)?;
    if guard.len().map_err(io)? == 0 {
        return Err(DiskError::corrupt(name, "the file", "it is empty"));
    }
    let database = Builder::new()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .create_with_backend(guard.clone())
        .map_err(|error| not_opened(name, error.into()))?;
    check_front(name, &guard)?;
    let (header, loaded) = load(name, &database)?;
    is_right(&header)?;
    guard.release().map_err(|error| DiskError::io(name, "write it", error))?;
    Ok((database, header, loaded))
}

/// What is no database's file at all is told apart from one that is damaged.
fn not_opened(name: &Path, error: redb::Error) -> DiskError {
    match error {
        redb::Error::Io(cause) if cause.kind() == std::io::ErrorKind::InvalidData => DiskError::Foreign {
            file: name.into(),
            what: format!("something else, or its first bytes are damaged ({cause})"),
        },
        error => DiskError::database(name, "open it", error),
    }
}

/// The database's first page says by one bit which of its two last commits counts, and the page has no checksum for that. A file
/// that was closed counts the later one.
fn check_front(name: &Path, guard: &Guard) -> Result<(), DiskError> {
    let front: [u8; 320] = guard.front().map_err(|error| DiskError::io(name, "read it", error))?;
    let commit = |slot: usize| {
        front[64 + slot * 128 + 104..].first_chunk().map_or(0, |number| u64::from_le_bytes(*number))
    };
    let (counts, is_open) = (usize::from(front[9] & 1), front[9] & 2 != 0);
    if !is_open && commit(counts) < commit(1 - counts) {
        return Err(DiskError::corrupt(name, "the first page", "its last commit is not the one that counts"));
    }
    Ok(())
}

fn load(name: &Path, database: &Database) -> Result<(Header, Loaded), DiskError> {
    let reading = "read it";
    let wrong = |error| DiskError::database(name, reading, error);
    let transaction = database.begin_read().map_err(|error| wrong(error.into()))?;
    let meta = transaction.open_table(META).map_err(|error| wrong(error.into()))?;
    let header = meta.get(HEADER).map_err(|error| wrong(error.into()))?;
    let header = header.ok_or_else(|| DiskError::corrupt(name, "the header", "there is none"))?;
    let header = Header::decode(header.value()).map_err(|wrong| match wrong {
        Wrong::Version(version) => DiskError::Version {
            file: name.into(),
            found: format!("version {version} of a store's file"),
            expected: format!("version {FORMAT}"),
        },
        Wrong::Damaged(what) => DiskError::corrupt(name, "the header", what),
    })?;
    let mut loaded = Loaded { spaces: Vec::new(), keys: Vec::new() };
    let spaces = transaction.open_table(SPACES).map_err(|error| wrong(error.into()))?;
    for entry in spaces.iter().map_err(|error| wrong(error.into()))? {
        let (space, bytes) = entry.map_err(|error| wrong(error.into()))?;
        let space = space.value();
        let place = || format!("space {space}");
        let text = decode_name(header.seed, space, bytes.value());
        let text = text.map_err(|what| DiskError::corrupt(name, place(), what))?;
        if space as usize != loaded.spaces.len() {
            return Err(DiskError::corrupt(name, place(), "the one before it is missing"));
        }
        loaded.spaces.push(text.to_owned());
    }
    let keys = transaction.open_table(KEYS).map_err(|error| wrong(error.into()))?;
    for entry in keys.iter().map_err(|error| wrong(error.into()))? {
        let (id, bytes) = entry.map_err(|error| wrong(error.into()))?;
        let id = Id::decode(id.value())
            .ok_or_else(|| DiskError::corrupt(name, "a key", "its length is not a key's"))?;
        let space = loaded.spaces.get(id.space as usize);
        let place = || {
            let space = space.map_or("?", String::as_str);
            format!("key {id:?} of space `{space}`")
        };
        if space.is_none() {
            return Err(DiskError::corrupt(name, place(), "there is no such space"));
        }
        let record = Record::decode(header.seed, id, bytes.value());
        loaded.keys.push((id, record.map_err(|what| DiskError::corrupt(name, place(), what))?));
    }
    Ok((header, loaded))
}
