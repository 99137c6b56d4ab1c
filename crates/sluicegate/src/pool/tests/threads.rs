//! Threads that take, bring back and end.

use super::*;

/// Threads that take and drop, pass buffers to others and come and go: the bounds hold at each moment somebody looks, nothing is
/// lost, and what was counted adds up.
#[test]
fn threads_together_stay_within_the_bounds() {
    let settings = Settings::new(&[64, 256]).unwrap().with_most(40).unwrap().with_most_bytes(6000).unwrap();
    let pool: Pool = Pool::new(settings);
    let passed = Mutex::new(Vec::new());
    for _ in 0..3 {
        std::thread::scope(|scope| {
            let (pool, passed) = (&pool, &passed);
            let threads = (0..6_usize).map(|thread| {
                scope.spawn(move || {
                    let mut number = thread as u64 + 1;
                    let mut mine = Vec::new();
                    for _ in 0..3000 {
                        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let draw = (number >> 33) as usize;
                        match draw % 5 {
                            0 | 1 => {
                                let mut buffer = pool.get(draw % 300);
                                assert!(buffer.is_empty() && buffer.capacity() >= draw % 300);
                                buffer.resize(draw % 500, 7);
                                mine.push(buffer);
                            }
                            2 => drop(mine.pop()),
                            3 => passed.lock().unwrap().extend(mine.pop()),
                            _ => {
                                let other = passed.lock().unwrap().pop();
                                drop(other);
                                let counts = pool.counts();
                                assert!(counts.kept <= 80 + 6 && counts.kept_bytes <= 12_000 + 6 * 256);
                            }
                        }
                    }
                })
            });
            // A scope does not wait until what its threads have of their own is gone; a join does.
            threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
    passed.lock().unwrap().clear();
    let counts = pool.counts();
    assert_eq!(counts.outstanding(), 0);
    assert_eq!(counts.returned, counts.hits + counts.misses + counts.oversize);
    assert!(counts.kept <= 80 && counts.kept_bytes <= 12_000, "{counts:?}");
    // Each that came back and was kept is there, or was taken out again.
    assert_eq!(counts.returned - counts.full - counts.unfit, counts.hits + counts.kept as u64);
    pool.trim();
    pool.trim();
    assert_eq!(pool.counts().kept, 0);
}

/// A thread that takes none keeps as few as it must from the one that took them.
#[test]
fn who_only_brings_back_hands_on_all_it_has_at_once() {
    let pool = pool(&[100], 1024);
    let out: Vec<_> = (0..17).map(|_| pool.get(1)).collect();
    let (bring, brought) = std::sync::mpsc::channel::<Vec<_>>();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for buffers in brought {
                drop(buffers);
                done.send(()).unwrap();
            }
        });
        bring.send(out).unwrap();
        is_done.recv().unwrap();
        let again: Vec<_> = (0..17).map(|_| pool.get(1)).collect();
        assert_eq!((pool.counts().hits, pool.counts().kept), (16, 1), "one came when its seats were full");
        drop((bring, again));
    });
}

/// The same with buffers that grow, that are taken out for good, and with trims in between: then there is room for as many as there
/// was at first, neither more nor fewer.
#[test]
fn whatever_threads_do_room_is_neither_minted_nor_lost() {
    for most in [3, 40, 300, 1100] {
        let pool: Pool = Pool::new(Settings::new(&[100, 1000]).unwrap().with_most(most).unwrap());
        let passed = Mutex::new(Vec::new());
        for round in 0..2 {
            std::thread::scope(|scope| {
                let (pool, passed) = (&pool, &passed);
                let threads = (0..4_u64).map(|thread| {
                    scope.spawn(move || {
                        let mut number = 10 * thread + round + 1;
                        let mut mine = Vec::new();
                        for _ in 0..3000 {
                            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                            let draw = (number >> 33) as usize;
                            match draw % 12 {
                                0..=4 => {
                                    let mut buffer = pool.get(draw / 16 % 1000);
                                    if draw.is_multiple_of(5) {
                                        buffer.reserve_exact(draw / 64 % 3000);
                                    }
                                    mine.push(buffer);
                                }
                                5..=7 if !mine.is_empty() => drop(mine.swap_remove(draw / 16 % mine.len())),
                                8 => mine.truncate(mine.len() / 2),
                                9 => passed.lock().unwrap().extend(mine.pop()),
                                10 => {
                                    let other = passed.lock().unwrap().pop();
                                    drop(other);
                                }
                                _ if draw.is_multiple_of(97) => pool.trim(),
                                _ if draw.is_multiple_of(53) => drop(mine.pop().map(Pooled::into_inner)),
                                _ => {}
                            }
                        }
                    })
                });
                threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
            });
        }
        passed.lock().unwrap().clear();
        assert_eq!(pool.counts().outstanding(), 0);
        pool.trim();
        pool.trim();
        assert_eq!((pool.counts().kept, pool.counts().kept_bytes), (0, 0));
        for (length, kept) in [(100, most), (1000, 2 * most)] {
            drop((0..most + 5).map(|_| pool.get(length)).collect::<Vec<_>>());
            assert_eq!(pool.counts().kept, kept, "{:?}", pool.counts());
        }
    }
}

#[test]
fn what_a_thread_had_is_for_others_when_it_ends() {
    let pool = pool(&[100], 1000);
    let place = std::thread::scope(|scope| {
        let thread = scope.spawn(|| pool.get(1).as_ptr() as usize);
        thread.join().unwrap()
    });
    assert_eq!(pool.counts().kept, 1);
    assert_eq!(pool.get(1).as_ptr() as usize, place);
    assert_eq!((pool.counts().hits, pool.counts().misses, pool.counts().outstanding()), (1, 1, 0));
}

#[test]
fn what_another_thread_brings_back_is_found_by_who_took_it() {
    let pool = pool(&[100], 1000);
    for _ in 0..50 {
        let out: Vec<_> = (0..20).map(|_| pool.get(1)).collect();
        std::thread::scope(|scope| scope.spawn(move || drop(out)).join().unwrap());
    }
    let counts = pool.counts();
    assert_eq!((counts.misses, counts.hits, counts.kept), (20, 49 * 20, 20));
}

#[test]
fn who_only_brings_back_keeps_a_few_and_takes_those_itself_when_it_begins_to_take() {
    let pool = &pool(&[100], 1000);
    let out: Vec<_> = (0..40).map(|_| pool.get(1)).collect();
    let meet = &std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            drop(out);
            meet.wait();
            // Taken by the other meanwhile: all but what is this thread's own.
            meet.wait();
            drop((0..20).map(|_| pool.get(1)).collect::<Vec<_>>());
        });
        meet.wait();
        assert_eq!((pool.counts().kept, pool.counts().outstanding()), (40, 0));
        let again: Vec<_> = (0..24).map(|_| pool.get(1)).collect();
        assert_eq!(
            (pool.counts().misses, pool.counts().kept),
            (40, 16),
            "nothing that is needed lies where nobody finds it"
        );
        meet.wait();
        thread.join().unwrap();
        drop(again);
    });
    let counts = pool.counts();
    assert_eq!((counts.outstanding(), counts.full, counts.kept as u64), (0, 0, counts.misses));
    assert!(counts.misses < 60, "it found what was its own: {counts:?}");
}

/// Known to the test how many there are.
struct Counted;

static ALIVE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

impl Buffer for Counted {
    fn with_room(_: usize) -> Self {
        ALIVE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self
    }

    fn room(&self) -> usize {
        100
    }

    fn reset(&mut self, _: usize) {}
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Foreign code may use any pool, also while one ends.
        drop(OTHER.get_or_init(|| pool(&[10], 1)).get(1));
        ALIVE.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

static OTHER: OnceLock<Pool> = OnceLock::new();

#[test]
fn a_pool_that_ends_frees_all_but_what_another_threads_own_is_until_that_uses_a_pool() {
    let alive = || ALIVE.load(std::sync::atomic::Ordering::Relaxed);
    let pool = Pool::<Counted>::new(Settings::new(&[100]).unwrap());
    drop((0..100).map(|_| pool.get(1)).collect::<Vec<_>>());
    assert_eq!((alive(), pool.counts().kept), (100, 100));
    let meet = &std::sync::Barrier::new(2);
    let (own, left) = std::thread::scope(|scope| {
        let theirs = pool.clone();
        let thread = scope.spawn(move || {
            drop((0..3).map(|_| theirs.get(1)).collect::<Vec<_>>());
            drop(theirs);
            meet.wait();
            // Here the pool ends.
            meet.wait();
            let own = alive();
            drop(OTHER.get_or_init(|| self::pool(&[10], 1)).get(1));
            (own, alive())
        });
        meet.wait();
        drop(pool);
        meet.wait();
        thread.join().unwrap()
    });
    assert!((1..=8).contains(&own), "{own}: a few that nobody else reaches");
    assert_eq!(left, 0);
}

#[test]
fn a_trim_reaches_another_threads_own_when_that_comes_next() {
    let pool = &pool(&[100], 1000);
    let meet = &std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            drop([pool.get(1), pool.get(1), pool.get(1)]);
            meet.wait();
            // Trimmed twice meanwhile: one that was needed since the last time, and then none.
            meet.wait();
            drop(pool.get(1));
            pool.counts().kept
        });
        meet.wait();
        pool.trim();
        pool.trim();
        assert_eq!(pool.counts().kept, 3, "nobody else reaches them");
        meet.wait();
        assert_eq!(thread.join().unwrap(), 3, "they were all needed since the first trim that it saw");
    });
    pool.trim();
    pool.trim();
    assert_eq!(pool.counts().kept, 0);
}
