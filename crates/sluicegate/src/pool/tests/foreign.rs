//! Buffers of somebody else's, which lie or panic.

use super::*;

/// Says another room each time, and looks at the pool while it does.
struct Liar(std::sync::atomic::AtomicUsize);

static LYING: OnceLock<Pool<Liar>> = OnceLock::new();

impl Buffer for Liar {
    fn with_room(bytes: usize) -> Self {
        Self(bytes.into())
    }

    fn room(&self) -> usize {
        let kept = LYING.get().map_or(0, |pool| pool.counts().kept);
        assert!(kept <= 2);
        self.0.fetch_add(100, std::sync::atomic::Ordering::Relaxed)
    }

    fn reset(&mut self, _: usize) {}
}

#[test]
fn what_a_foreign_buffer_says_of_itself_mints_no_room() {
    let settings = Settings::new(&[100, 100_000]).unwrap().with_most(2).unwrap();
    let pool = LYING.get_or_init(|| Pool::new(settings));
    for _ in 0..50 {
        drop([pool.get(1), pool.get(1), pool.get(1)]);
        let counts = pool.counts();
        assert!(counts.kept <= 2, "{counts:?}");
    }
}

/// Empties itself by a panic.
struct Wrong;

impl Buffer for Wrong {
    fn with_room(_: usize) -> Self {
        Self
    }

    fn room(&self) -> usize {
        100
    }

    fn reset(&mut self, _: usize) {
        std::panic::resume_unwind(Box::new("on purpose"));
    }
}

#[test]
fn a_panic_of_foreign_code_breaks_nothing() {
    let pool = Pool::<Wrong>::new(Settings::new(&[100]).unwrap());
    let buffer = pool.get(1);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(buffer))).is_err());
    let counts = pool.counts();
    assert_eq!((counts.kept, counts.hits, counts.unfit, counts.outstanding()), (0, 0, 1, 0));
}

#[test]
fn one_that_cannot_be_made_does_not_count_as_out() {
    let pool = pool(&[100], 10);
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(pool.get(usize::MAX))));
    assert!(made.is_err(), "more than there can be");
    assert_eq!((pool.counts().oversize, pool.counts().outstanding()), (1, 0));
}

/// Panics when it is dropped, which it counts.
struct Bursting(Arc<AtomicU64>);

thread_local! {
    static BURST: Arc<AtomicU64> = Arc::default();
}

impl Buffer for Bursting {
    fn with_room(_: usize) -> Self {
        Self(BURST.with(Arc::clone))
    }

    fn room(&self) -> usize {
        100
    }

    fn reset(&mut self, _: usize) {}
}

impl Drop for Bursting {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
        std::panic::resume_unwind(Box::new("on purpose"));
    }
}

/// A pool that keeps so many, in this thread's own list, in that of its number and in that of all; and how many have been freed.
fn bursting(number: usize) -> (Pool<Bursting>, Arc<AtomicU64>) {
    let pool = Pool::new(Settings::new(&[100]).unwrap());
    drop((0..number).map(|_| pool.get(1)).collect::<Vec<_>>());
    assert_eq!(pool.counts().kept, number);
    (pool, BURST.with(Arc::clone))
}

#[test]
fn a_pool_that_ends_frees_all_whatever_panics() {
    let (pool, burst) = bursting(100);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(pool)));
    assert_eq!((ended.is_ok(), burst.load(Relaxed)), (true, 100));
}

#[test]
fn a_pool_that_ends_by_a_panic_frees_all_whatever_panics() {
    let (pool, burst) = bursting(100);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _pool = pool;
        std::panic::resume_unwind(Box::new("another"));
    }));
    assert_eq!(ended.unwrap_err().downcast_ref(), Some(&"another"));
    assert_eq!(burst.load(Relaxed), 100);
}

#[test]
fn a_trim_frees_all_whatever_panics() {
    let (pool, burst) = bursting(100);
    pool.trim();
    pool.trim();
    assert_eq!((pool.counts().kept, burst.load(Relaxed)), (0, 100));
}

#[test]
fn a_thread_that_ends_after_its_pool_frees_what_was_its_own_whatever_panics() {
    let meet = &std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::channel();
        let thread = scope.spawn(move || {
            send.send(bursting(3)).unwrap();
            meet.wait();
        });
        let (pool, burst) = receive.recv().unwrap();
        drop(pool);
        assert!(burst.load(Relaxed) < 3, "some are the thread's own");
        meet.wait();
        thread.join().unwrap();
        assert_eq!(burst.load(Relaxed), 3);
    });
}
