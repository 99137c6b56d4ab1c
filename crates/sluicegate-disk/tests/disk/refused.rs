//! Files that are no store's, or not now: a clear error, and nothing is changed.

use std::path::Path;
use std::time::Duration;

use redb::{Database, TableDefinition};
use sluicegate::clock::Utc;
use sluicegate::store::{Charge, Store};
use sluicegate::timer::ManualTime;
use sluicegate_disk::{Disk, DiskError, Options};

use crate::support::{Place, open, quota, strict};

/// Opens what is no store: says why it is none, having changed nothing.
fn refused(file: &Path) -> DiskError {
    let before = std::fs::read(file).unwrap();
    let error = Disk::open(file).unwrap_err();
    assert!(std::fs::read(file).unwrap() == before, "{error}, and something was written");
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    let siblings = std::fs::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(siblings, 1, "nothing is left beside it");
    error
}

#[test]
fn something_else_is_foreign() {
    let place = Place::new();
    for bytes in
        [b"a letter".to_vec(), vec![0; 100_000], b"redb".to_vec(), (0..=255).cycle().take(70_000).collect()]
    {
        std::fs::write(place.file(), &bytes).unwrap();
        let error = refused(&place.file());
        assert!(matches!(error, DiskError::Foreign { .. } | DiskError::Corrupt { .. }), "{error}");
    }
    std::fs::write(place.file(), b"").unwrap();
    let error = refused(&place.file());
    assert!(matches!(&error, DiskError::Corrupt { what, .. } if what.contains("empty")), "{error}");
    let directory = place.file().with_file_name("a directory");
    std::fs::create_dir(&directory).unwrap();
    assert!(matches!(Disk::open(&directory), Err(DiskError::Io { .. } | DiskError::Foreign { .. })));
    let nowhere = directory.join("none").join("store.redb");
    assert!(matches!(Disk::open(&nowhere), Err(DiskError::Io { .. })));
    std::fs::remove_dir(&directory).unwrap();
}

/// Writes to a database's table, and closes it.
fn write(file: &Path, table: TableDefinition<'_, &str, &[u8]>, bytes: &[u8]) {
    let database = Database::create(file).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert("header", bytes).unwrap();
    transaction.commit().unwrap();
    database.close().unwrap();
}

#[test]
fn another_programs_database_is_foreign() {
    let place = Place::new();
    write(&place.file(), TableDefinition::new("somebody's"), b"something");
    let error = refused(&place.file());
    assert!(matches!(error, DiskError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn another_version_is_named() {
    let place = Place::new();
    let (disk, _) = open(&strict(), &place, 5);
    let stock = quota("stock 3");
    assert!(disk.take(&[Charge::new("s", b"k", &stock)]).await.unwrap().is_granted());
    disk.close().unwrap();
    let (mine, header) = (TableDefinition::new("sluicegate"), [&2_u32.to_le_bytes()[..], &[0; 48]].concat());
    write(&place.file(), mine, &header);
    let error = refused(&place.file());
    assert!(matches!(&error, DiskError::Version { found, .. } if found.contains("version 2")), "{error}");
    assert!(error.to_string().contains("expected version 1"), "{error}");
    write(&place.file(), mine, &[&1_u32.to_le_bytes()[..], &[0; 48]].concat());
    let error = refused(&place.file());
    assert!(matches!(&error, DiskError::Corrupt { place, .. } if place == "the header"), "{error}");
}

/// The database's own checksums are right here: somebody has written to it through the database.
#[tokio::test]
async fn a_damaged_record_is_named_by_its_space() {
    let place = Place::new();
    let (disk, _) = open(&strict(), &place, 5);
    let stock = quota("stock 3");
    for key in 0..20_u8 {
        assert!(disk.take(&[Charge::new("per-client", &[key], &stock)]).await.unwrap().is_granted());
    }
    disk.close().unwrap();
    let keys: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sluicegate.keys");
    let database = Database::create(place.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        use redb::ReadableTable;
        let mut table = transaction.open_table(keys).unwrap();
        let (key, mut record) = {
            let (key, record) = table.iter().unwrap().nth(7).unwrap().unwrap();
            (key.value().to_vec(), record.value().to_vec())
        };
        record[40] ^= 1;
        table.insert(&*key, &*record).unwrap();
    }
    transaction.commit().unwrap();
    database.close().unwrap();
    let error = refused(&place.file());
    let names = matches!(&error, DiskError::Corrupt { place, .. } if place.starts_with("key ") && place.ends_with("of space `per-client`"));
    assert!(names, "{error}");
}

#[tokio::test]
async fn one_file_is_one_stores() {
    let place = Place::new();
    let (disk, _) = open(&strict(), &place, 5);
    let stock = quota("stock 3");
    let charge = Charge::new("s", b"k", &stock);
    assert!(disk.take(&[charge]).await.unwrap().is_granted());
    let error = Disk::open(place.file()).unwrap_err();
    assert!(matches!(error, DiskError::InUse { .. }), "{error}");
    assert!(disk.take(&[charge]).await.unwrap().is_granted(), "and the first goes on");
    disk.close().unwrap();
    let (disk, _) = open(&strict(), &place, 5);
    assert_eq!(disk.peek(&[charge]).await.unwrap().decision.remaining(), 1);
}

#[test]
fn a_file_that_is_missing_is_made_only_where_that_is_wanted() {
    let place = Place::new();
    let error = Options::new().create(false).open(place.file()).unwrap_err();
    assert!(matches!(error, DiskError::Missing { .. }), "{error}");
    assert!(!place.file().exists());
    drop(Options::new().open(place.file()).unwrap());
    drop(Options::new().create(false).open(place.file()).unwrap());
}

#[test]
fn several_who_make_the_same_file_make_one() {
    let place = Place::new();
    let opened: Vec<_> = std::thread::scope(|scope| {
        let open = || Disk::open(place.file());
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 1, "{opened:?}");
    let in_use = |opened: &Result<Disk, DiskError>| matches!(opened, Err(DiskError::InUse { .. }));
    assert_eq!(opened.iter().filter(|opened| in_use(opened)).count(), 3, "{opened:?}");
    assert_eq!(std::fs::read_dir(place.file().parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn an_option_out_of_range_is_named() {
    let place = Place::new();
    for (options, field) in [
        (Options::new().max_keys(0), "max_keys `0`"),
        (Options::new().max_keys(usize::MAX), "max_keys"),
        (Options::new().patience(Duration::ZERO), "patience `0ns`"),
        (Options::new().write_behind(Duration::from_micros(1)), "write_behind `1µs`"),
    ] {
        let error = options.open_at(place.file(), ManualTime::new(), Utc::from_nanos(0)).unwrap_err();
        assert!(error.to_string().starts_with(field), "{error}");
        assert!(!place.file().exists());
    }
}
