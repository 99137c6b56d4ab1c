//! One case each: what is held, who is woken, what a body does wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use sluicegate_tower::http::replay::ReplayBody;

use super::fed::{Fed, Made, Next, Woken, bytes, poll};

/// Memory that counts as long as any part of it is held.
struct Large(Vec<u8>, Arc<AtomicUsize>);

impl Large {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self(vec![7; 1 << 20], Arc::clone(alive))
    }
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body of small parts of large buffers, the value of its trailer included.
fn slices(mut left: usize, alive: Arc<AtomicUsize>) -> Made {
    Made::of(move |_| {
        let slice = Bytes::from_owner(Large::new(&alive)).slice(0..1);
        let Some(less) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = less;
        Poll::Ready(Some(if left == 0 {
            let value = HeaderValue::from_maybe_shared(Bytes::from_static(b"x")).unwrap();
            drop(slice);
            let large = Bytes::from_owner(Large(vec![b'x'; 1 << 20], Arc::clone(&alive)));
            alive.fetch_add(1, Ordering::Relaxed);
            let shared = HeaderValue::from_maybe_shared(large.slice(0..1)).unwrap();
            assert_eq!(value, shared);
            Frame::trailers(HeaderMap::from_iter([("x-last".parse().unwrap(), shared)]))
        } else {
            Frame::data(slice)
        }))
    })
}

/// golang/go #23199: a pool that counts buffers pins large ones for a few bytes.
#[tokio::test]
async fn pitfall_41_a_small_part_of_a_large_buffer_does_not_keep_it() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut body = ReplayBody::new(slices(1001, Arc::clone(&alive)), 4096);
    let replay = body.keep().unwrap();
    while let Some(frame) = body.frame().await {
        drop(frame.unwrap());
        assert_eq!(alive.load(Ordering::Relaxed), 0, "a buffer of a megabyte is held for a byte of it");
        assert!((1..=4096).contains(&replay.held()));
    }
    let again = replay.again().unwrap();
    drop(replay);
    let all = again.collect().await.unwrap();
    assert_eq!(all.trailers().unwrap()["x-last"], "x");
    assert_eq!(all.to_bytes(), vec![7; 1000]);
    assert_eq!(body.held(), 0);
}

#[test]
fn an_empty_body_is_empty_each_time_and_a_large_one_is_not_kept_at_all() {
    let empty = ReplayBody::new(http_body_util::Empty::<Bytes>::new(), 0);
    assert!(empty.is_end_stream() && empty.size_hint().exact() == Some(0));
    assert!(empty.keep().unwrap().again().unwrap().is_end_stream());
    let large = ReplayBody::new(http_body_util::Full::<Bytes>::from("hello"), 4);
    assert!(large.keep().is_none());
    let fits = ReplayBody::new(http_body_util::Full::<Bytes>::from("hello"), 5);
    assert!(fits.keep().is_some());
}

#[tokio::test]
async fn who_has_read_alone_can_be_kept_no_more() {
    let mut body = ReplayBody::new(http_body_util::Full::<Bytes>::from("hello"), 100);
    body.frame().await.unwrap().unwrap();
    assert!(body.keep().is_none());
}

#[test]
fn a_body_that_panics_in_one_reader_leaves_no_other_waiting() {
    let mut is_first = true;
    let panics = Made::of(move |_| {
        assert!(!std::mem::take(&mut is_first), "a bug in a body");
        Poll::Ready(None)
    });
    let mut body = ReplayBody::new(panics, 100);
    let mut other = body.keep().unwrap().again().unwrap();
    let waker = Waker::noop();
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut body, waker))).is_err());
    assert!(matches!(poll(&mut other, waker), Poll::Ready(None)));
}

#[test]
fn who_comes_while_the_body_is_polled_looks_again() {
    let (slot, woken) = (Arc::<Mutex<Option<ReplayBody<Made>>>>::default(), Arc::<Woken>::default());
    let (other, waker) = (Arc::clone(&slot), Waker::from(Arc::clone(&woken)));
    // While it is polled, somebody else looks whether there is more.
    let looked = Made::of(move |_| {
        if let Some(mut other) = other.lock().unwrap().take() {
            assert!(poll(&mut other, &waker).is_pending());
            // Dropped, it would wait for nothing.
            std::mem::forget(other);
        }
        Poll::Pending
    });
    let mut body = ReplayBody::new(looked, 100);
    *slot.lock().unwrap() = body.keep().unwrap().again();
    assert!(poll(&mut body, Waker::noop()).is_pending());
    assert!(woken.0.load(Ordering::Relaxed), "the body knows the other's waker only");
}

#[test]
fn who_does_not_read_on_keeps_nobody_waiting() {
    let fed = Fed::default();
    let mut body = ReplayBody::new(fed.clone(), 100);
    let replay = body.keep().unwrap();
    let mut other = replay.again().unwrap();
    let (first, second) = (Arc::<Woken>::default(), Arc::<Woken>::default());
    assert!(poll(&mut other, &Waker::from(Arc::clone(&second))).is_pending());
    assert!(poll(&mut body, &Waker::from(Arc::clone(&first))).is_pending());
    // The body knows the one that polled it last, which does not come back.
    fed.feed(Next::Data(3));
    assert!(second.0.load(Ordering::Relaxed));
    assert!(matches!(poll(&mut other, Waker::noop()), Poll::Ready(Some(Ok(_)))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_on_several_threads_miss_nothing() {
    for _ in 0..200 {
        // What a thread sends as fast as it can.
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let sent = Made::of(move |context| receiver.poll_recv(context).map(|data| data.map(Frame::data)));
        let body = ReplayBody::new(sent, 1 << 16);
        let replay = body.keep().unwrap();
        let bodies = [Some(body), replay.again(), replay.again()].map(Option::unwrap);
        drop(replay);
        let readers = bodies.map(|body| tokio::spawn(async { body.collect().await.unwrap().to_bytes() }));
        for chunk in 0..50 {
            sender.send(bytes(chunk * 10, 10).into()).await.unwrap();
        }
        drop(sender);
        for reader in readers {
            assert_eq!(reader.await.unwrap(), bytes(0, 500));
        }
    }
}

/// A piece, and then the end. Whenever it is asked how much comes, somebody else asks its own body the same.
struct Asked {
    other: Arc<Mutex<Option<ReplayBody<Asked>>>>,
    seen: Arc<Mutex<Vec<Option<u64>>>>,
    left: u64,
}

impl Body for Asked {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let left = std::mem::take(&mut self.left);
        Poll::Ready((left > 0).then(|| Ok(Frame::data(bytes(0, usize::try_from(left).unwrap()).into()))))
    }

    fn size_hint(&self) -> SizeHint {
        if let Some(other) = self.other.lock().unwrap().as_ref() {
            self.seen.lock().unwrap().push(other.size_hint().exact());
        }
        SizeHint::with_exact(self.left)
    }
}

#[test]
fn what_is_read_meanwhile_is_not_counted_twice() {
    let (slot, seen) = (Arc::default(), Arc::default());
    let asked = Asked { other: Arc::clone(&slot), seen: Arc::clone(&seen), left: 10 };
    let mut body = ReplayBody::new(asked, 100);
    *slot.lock().unwrap() = body.keep().unwrap().again();
    assert!(matches!(poll(&mut body, Waker::noop()), Poll::Ready(Some(Ok(_)))));
    let other = slot.lock().unwrap().take().unwrap();
    assert_eq!(other.size_hint().exact(), Some(10));
    assert_eq!(*seen.lock().unwrap(), [Some(10)]);
}

/// A waker that panics.
struct Bug;

impl Wake for Bug {
    fn wake(self: Arc<Self>) {
        panic!("a bug in a waker");
    }
}

#[test]
fn a_waker_that_panics_keeps_nobody_waiting() {
    let fed = Fed::default();
    let mut body = ReplayBody::new(fed.clone(), 100);
    let mut other = body.keep().unwrap().again().unwrap();
    let woken = Arc::<Woken>::default();
    assert!(poll(&mut other, &Waker::from(Arc::new(Bug))).is_pending());
    assert!(poll(&mut body, &Waker::from(Arc::clone(&woken))).is_pending());
    let panic = catch_unwind(AssertUnwindSafe(|| fed.feed(Next::Data(3)))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"a bug in a waker"));
    assert!(woken.0.load(Ordering::Relaxed));
}
