//! The task's future, dropped at every await, in front of a real server.

use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sluicegate::store::{Charge, Outcome, Reservation, Store};
use sluicegate::timer::{ManualTime, TokioTime};
use sluicegate_testkit::drops::{Drops, Turn};
use sluicegate_testkit::redis_server::Server;
use sluicegate_testkit::wait::{PATIENCE, within};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, block_in_place};

use super::*;
use crate::Redis;

/// Has a step know of the wakes that the harness sees.
struct Loud<F> {
    inner: F,
    woken: Arc<Notify>,
}

struct Bell {
    waker: Waker,
    woken: Arc<Notify>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.waker.wake_by_ref();
        self.woken.notify_one();
    }
}

impl<F: Future + Unpin> Future for Loud<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let bell = Bell { waker: context.waker().clone(), woken: Arc::clone(&self.woken) };
        let waker = Waker::from(Arc::new(bell));
        Pin::new(&mut self.inner).poll(&mut Context::from_waker(&waker))
    }
}

struct House {
    settings: Settings,
    store: Redis,
    driver: Arc<tokio::sync::Mutex<Driver>>,
    woken: Arc<Notify>,
    /// All that ask, and then close the store. None once that is checked.
    users: Option<JoinHandle<()>>,
}

/// Takes, books and gives back, says that it is there, asks whether the store is, and closes it.
async fn use_it(store: Redis) {
    let quota = "stock 9".parse().unwrap();
    let (taken, booked) =
        (Charge::new("s", b"taken", &quota).of(3), Charge::new("s", b"booked", &quota).of(2));
    let books = async {
        match store.reserve(&[booked], Duration::ZERO).await.unwrap() {
            Outcome::Reserved(booked) => Reservation::give_back(booked),
            Outcome::Refused(verdict) => unreachable!("{verdict:?}"),
        }
    };
    let takes = store.take(std::slice::from_ref(&taken));
    let beats = store.beat("group", b"one", PATIENCE);
    let (took, (), there, ping) = futures_util::future::join4(takes, books, beats, store.ping()).await;
    assert!(took.unwrap().is_granted());
    assert_eq!(there.unwrap(), 1);
    ping.unwrap();
    store.close().await;
}

/// Whatever is under way, and whatever has come, is there for the task that is started in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_task_that_is_cut_off_had_begun_the_next_one_ends() {
    let server = Server::start(&[]);
    let mut runs = 0;
    let seen = Drops::new()
        .run(
            || {
                runs += 1;
                let settings = Settings::new(&server.url()).unwrap().prefix(&format!("run{runs}:")).unwrap();
                let settings = settings.timeout(PATIENCE).connect_timeout(PATIENCE);
                let (store, driver) = Redis::without_task(settings.clone(), TokioTime::new());
                let (driver, woken) = (Arc::new(tokio::sync::Mutex::new(driver)), Arc::new(Notify::new()));
                let users = Some(tokio::spawn(use_it(store.clone())));
                let works = Arc::clone(&driver);
                let inner = Box::pin(async move { works.lock().await.run().await });
                let future = Loud { inner, woken: Arc::clone(&woken) };
                (House { settings, store, driver, woken, users }, future)
            },
            async |house, _| {
                within("a wake", house.woken.notified()).await;
                Turn::MayWait
            },
            |house, _| {
                let Some(users) = house.users.take() else { return };
                block_in_place(|| {
                    Handle::current().block_on(async {
                        let next = async { house.driver.lock().await.run().await };
                        let ended = within("all to be answered", async { tokio::join!(next, users) });
                        ended.await.1.unwrap();
                        assert_eq!(house.store.lost(), 0);
                        // By somebody else: what was taken is, once, and what was given back is there.
                        let other = Redis::open(house.settings.clone());
                        let quota = "stock 9".parse().unwrap();
                        for (key, there) in [(&b"taken"[..], 6), (b"booked", 9)] {
                            let left = other.peek(&[Charge::new("s", key, &quota).of(0)]).await.unwrap();
                            assert_eq!(left.decision.remaining(), there);
                        }
                        other.close().await;
                    });
                });
            },
        )
        .await;
    assert!(seen.polls > 3, "{seen:?}");
}

/// Nobody runs the task: whoever closes the store is a bug's victim, which is counted.
#[tokio::test]
async fn a_close_that_never_ends_is_counted_once() {
    let time = ManualTime::new();
    let settings = Settings::new("redis://127.0.0.1:1").unwrap();
    let (store, _driver) = Redis::without_task(settings, time.clone());
    let mut close = Box::pin(store.close());
    let mut poll = || assert!(close.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    poll();
    time.advance(Duration::from_secs(599));
    poll();
    assert_eq!(store.overdue(), 0);
    for _ in 0..3 {
        time.advance(Duration::from_secs(1));
        poll();
        assert_eq!(store.overdue(), 1);
    }
}
