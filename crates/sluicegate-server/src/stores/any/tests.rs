use std::time::Duration;

use sluicegate::store::{Charge, Outcome, Reservation, Store, StoreError};

use super::*;

/// A file of this test's own, in the system's folder for such things; gone with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("stores-{name}-{}", std::process::id())))
    }

    fn address(&self, options: &str) -> StoreAddress {
        format!("disk:{}{options}", self.0.display()).parse().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Every operation reaches the store.
async fn works(store: &AnyStore) {
    let quota = "stock 5 max 9".parse().unwrap();
    let charge = Charge::new("s", b"k", &quota);
    assert_eq!(store.take(&[charge.of(2)]).await.unwrap().decision.remaining(), 3);
    assert_eq!(store.take_up_to(charge.of(2)).await.unwrap(), 2);
    assert_eq!(store.take_all(charge).await.unwrap(), 1);
    assert_eq!(store.put(charge.of(4)).await.unwrap(), 4);
    assert!(store.watch(charge.of(4)).await.unwrap().is_granted());
    let book = async || match store.reserve(&[charge.of(4)], Duration::ZERO).await.unwrap() {
        Outcome::Reserved(reservation) => reservation,
        Outcome::Refused(verdict) => panic!("{verdict:?}"),
    };
    let left = async || store.peek(&[charge.of(0)]).await.unwrap().decision.remaining();
    let reservation = book().await;
    assert!(reservation.is_due() && left().await == 0);
    assert!(!store.reserve(&[charge], Duration::ZERO).await.unwrap().verdict().is_granted());
    reservation.give_back();
    assert_eq!(left().await, 4);
    book().await.settle(&[1]).await.unwrap();
    assert_eq!(left().await, 3);
    Reservation::cancel(book_of(store, charge.of(3)).await).await.unwrap();
    assert_eq!(left().await, 3);
    store.reset("s", b"k").await.unwrap();
    assert_eq!(left().await, 5);
    store.ping().await.unwrap();
    assert!(store.supports(&quota).is_ok());
}

async fn book_of(store: &AnyStore, charge: Charge<'_>) -> Reservation<AnyHold> {
    store.reserve(&[charge], Duration::ZERO).await.unwrap().reserved().unwrap()
}

#[tokio::test]
async fn memory_and_disk_are_opened_and_work() {
    let memory = open(&StoreAddress::Memory).unwrap();
    works(&memory).await;
    assert_eq!(memory.beat("g", b"i", Duration::from_secs(1)).await.unwrap(), 1);
    memory.close().await.unwrap();
    for options in ["", "?write-behind=100ms"] {
        let file = File::new(&format!("works{}", options.len()));
        let disk = open(&file.address(options)).unwrap();
        works(&disk).await;
        let refused = open(&file.address(options)).unwrap_err();
        assert!(refused.is_in_use(), "{refused}");
        disk.close().await.unwrap();
        assert!(matches!(disk.ping().await, Err(StoreError::Away { .. })));
        open(&file.address("?create=no")).unwrap();
    }
    let missing = open(&File::new("missing").address("?create=no")).unwrap_err();
    assert!(matches!(missing, OpenError::Disk(DiskError::Missing { .. })), "{missing}");
}

/// A gateway starts while Redis is away: it is told when Redis is asked. Real servers are asked end to end.
#[tokio::test]
async fn redis_is_opened_without_being_asked() {
    for address in ["redis://127.0.0.1:9", "rediss://ann:x@127.0.0.1:9", "redis+cluster://127.0.0.1:9"] {
        let store = open(&address.parse().unwrap()).unwrap();
        let AnyStore::Redis(_) = &store else { panic!("{address}") };
        let away = store.ping().await.unwrap_err();
        assert!(away.is_outage(), "{address}: {away}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn files_of_certificates_are_read_when_it_is_opened() {
    let file = File::new("ca");
    let address: StoreAddress = format!("rediss://127.0.0.1:9?ca={}", file.0.display()).parse().unwrap();
    let missing = open(&address).unwrap_err();
    assert!(matches!(missing, OpenError::File { .. }), "{missing}");
    std::fs::write(&file.0, "a letter").unwrap();
    let wrong = open(&address).unwrap_err().to_string();
    assert!(wrong.ends_with("expected certificates in PEM"), "{wrong}");
}
