//! What is moved is what is paid for, whatever the peer does.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use sluicegate::io::{AsyncThrottled, Throttled};
use sluicegate::timer::ManualTime;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::support::{Act, Peer, bucket, byte, poll, poll_read, poll_write, run, stock};

/// Each outcome of an operation on 100 bytes, and what it costs.
const OUTCOMES: [(Act, u64); 6] = [
    (Act::Moves(100), 100),
    (Act::Moves(7), 7),
    // The end of a file; a writer that takes nothing.
    (Act::Moves(0), 0),
    (Act::Waits, 0),
    (Act::Fails, 0),
    (Act::Moves(1), 1),
];

#[test]
fn what_was_not_moved_is_given_back() {
    for (act, cost) in OUTCOMES {
        let mut costs = Vec::new();
        let mut note = |operate: &mut dyn FnMut(Peer, &_)| {
            let bucket = stock(500);
            operate(Peer::new([act]), &bucket);
            costs.push(500 - bucket.available());
        };
        let mut bytes = [0; 100];
        note(&mut |peer, bucket| drop(Throttled::new(peer, bucket).read(&mut bytes)));
        note(&mut |peer, bucket| drop(Throttled::new(peer, bucket).write(&bytes)));
        note(&mut |peer, bucket| {
            let (mut one, mut two) = ([0; 60], [0; 40]);
            let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
            drop(Throttled::new(peer, bucket).read_vectored(&mut bufs));
        });
        note(&mut |peer, bucket| {
            let bufs = [IoSlice::new(&bytes[..60]), IoSlice::new(&bytes[60..])];
            drop(Throttled::new(peer, bucket).write_vectored(&bufs));
        });
        note(&mut |peer, bucket| drop(poll_read(&mut AsyncThrottled::new(peer, bucket), 100)));
        note(&mut |peer, bucket| drop(poll_write(&mut AsyncThrottled::new(peer, bucket), 100)));
        note(&mut |peer, bucket| {
            let bufs = [IoSlice::new(&bytes[..60]), IoSlice::new(&bytes[60..])];
            let mut writer = AsyncThrottled::new(peer, bucket);
            let mut context = Context::from_waker(Waker::noop());
            drop(AsyncWrite::poll_write_vectored(Pin::new(&mut writer), &mut context, &bufs));
        });
        assert_eq!(costs, [cost; 7], "{act:?}");
    }
}

#[test]
fn a_stock_gives_what_it_has() {
    let (bucket, peer) = (stock(70), Peer::default());
    assert_eq!(Throttled::new(peer.clone(), &bucket).read(&mut [0; 100]).unwrap(), 70);
    bucket.put(30);
    assert!(matches!(poll_write(&mut AsyncThrottled::new(peer.clone(), &bucket), 100), Poll::Ready(Ok(30))));
    assert_eq!(peer.asked(), [70, 30]);

    // And is waited for when it has nothing.
    let mut reader = AsyncThrottled::new(peer, &bucket);
    assert!(poll_read(&mut reader, 100).is_pending());
    bucket.put(9);
    assert!(matches!(poll_read(&mut reader, 100), Poll::Ready(Ok(9))));
    assert_eq!(bucket.available(), 0);
}

#[test]
fn several_buffers_are_cut_where_the_tokens_end() {
    let bufs = [[1; 3], [2; 3], [3; 3]];
    let bufs: Vec<_> = bufs.iter().map(|buf| IoSlice::new(buf)).collect();
    let (bucket, peer) = (stock(5), Peer::default());
    assert_eq!(Throttled::new(peer.clone(), &bucket).write_vectored(&bufs).unwrap(), 5);
    bucket.put(4);
    let mut writer = AsyncThrottled::new(peer.clone(), &bucket);
    assert!(writer.is_write_vectored());
    assert!(matches!(poll(&mut pin_write_vectored(&mut writer, &bufs)), Poll::Ready(Ok(4))));
    assert_eq!(peer.asked(), [5, 4]);

    let (mut one, mut two) = ([0xff; 3], [0xff; 3]);
    let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(Throttled::new(Peer::default(), &stock(4)).read_vectored(&mut bufs).unwrap(), 4);
    assert_eq!((one, two), ([0, 1, 2], [3, 0xff, 0xff]), "what is read stands where it belongs");
}

fn pin_write_vectored<'a, W: AsyncWriteExt + Unpin>(
    writer: &'a mut W,
    bufs: &'a [IoSlice<'a>],
) -> Pin<Box<dyn Future<Output = io::Result<usize>> + 'a>> {
    Box::pin(writer.write_vectored(bufs))
}

#[test]
fn nothing_costs_nothing_whatever_the_bucket_says() {
    for quota in ["stock 0 max 5", "ban", "unlimited"] {
        let (bucket, peer) = (bucket(quota, &ManualTime::new()), Peer::default());
        let mut here = Throttled::new(peer.clone(), &bucket);
        assert_eq!((here.read(&mut []).unwrap(), here.write(&[]).unwrap()), (0, 0));
        assert_eq!(here.read_vectored(&mut [IoSliceMut::new(&mut [])]).unwrap(), 0);
        assert_eq!(here.write_vectored(&[]).unwrap(), 0);
        here.flush().unwrap();
        let mut here = AsyncThrottled::new(peer.clone(), &bucket);
        assert!(matches!(poll_read(&mut here, 0), Poll::Ready(Ok(0))));
        assert!(matches!(poll_write(&mut here, 0), Poll::Ready(Ok(0))));
        assert!(matches!(poll(&mut Box::pin(here.flush())), Poll::Ready(Ok(()))));
        assert!(matches!(poll(&mut Box::pin(here.shutdown())), Poll::Ready(Ok(()))));
        assert_eq!(peer.asked(), [0; 6], "it is asked all the same");
        assert_eq!(bucket.counts().granted + bucket.counts().refused, 0);
    }
}

#[test]
fn each_direction_has_its_own_bucket_or_none() {
    let (down, up) = (stock(10), stock(20));
    let operate = |mut here: Throttled<Peer, _>| {
        assert_eq!((here.read(&mut [0; 2]).unwrap(), here.write(&[0; 3]).unwrap()), (2, 3));
        (down.available(), up.available())
    };
    assert_eq!(operate(Throttled::both(Peer::default(), &down, &up)), (8, 17));
    assert_eq!(operate(Throttled::reads(Peer::default(), &down)), (6, 17));
    assert_eq!(operate(Throttled::writes(Peer::default(), &up)), (6, 14));
    assert_eq!(operate(Throttled::new(Peer::default(), &up)), (6, 9));
    let operate = |mut here: AsyncThrottled<Peer, _>| {
        assert!(matches!(poll_read(&mut here, 1), Poll::Ready(Ok(1))));
        assert!(matches!(poll_write(&mut here, 2), Poll::Ready(Ok(2))));
        (down.available(), up.available())
    };
    assert_eq!(operate(AsyncThrottled::both(Peer::default(), &down, &up)), (5, 7));
    assert_eq!(operate(AsyncThrottled::reads(Peer::default(), &down)), (4, 7));
    assert_eq!(operate(AsyncThrottled::writes(Peer::default(), &up)), (4, 5));
    assert_eq!(operate(AsyncThrottled::new(Peer::default(), &up)), (4, 2));
}

/// A buffer whose end was never written to, larger than a slice.
#[test]
fn bytes_are_read_in_order_into_memory_that_was_never_touched() {
    let time = ManualTime::new();
    let bucket = bucket("1000/s burst 7", &time);
    let mut reader = AsyncThrottled::new(Peer::new([Act::Moves(3), Act::Moves(7), Act::Moves(1)]), &bucket);
    let mut bytes = Vec::with_capacity(64);
    run(&time, async {
        while bytes.len() < 50 {
            reader.read_buf(&mut bytes).await.unwrap();
        }
    });
    assert_eq!(bytes, (0..bytes.len()).map(byte).collect::<Vec<_>>());
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![(0_usize..40).prop_map(Act::Moves), Just(Act::Waits), Just(Act::Fails)];
    prop::collection::vec((0_usize..60, act), 0..40)
}

proptest! {
    /// Reads and writes of any sizes, in any order, with any outcomes: what is gone from the bucket is what was moved.
    #[test]
    fn a_token_that_is_gone_is_a_byte_that_was_moved(operations in acts(), tokens in 0_u64..600) {
        let bucket = stock(tokens);
        let peer = Peer::new(operations.iter().map(|(_, act)| *act));
        let mut here = AsyncThrottled::new(peer.clone(), &bucket);
        let mut blocking = Throttled::new(peer.clone(), &bucket);
        for (i, (len, _)) in operations.into_iter().enumerate() {
            // A thread must not wait for tokens that nobody brings.
            let waits = if bucket.available() == 0 { i % 2 } else { i % 4 };
            let _ = match waits {
                0 => poll_read(&mut here, len).is_ready(),
                1 => poll_write(&mut here, len).is_ready(),
                2 => blocking.read(&mut vec![0; len]).is_ok(),
                _ => blocking.write(&vec![0; len]).is_ok(),
            };
        }
        drop(here);
        prop_assert_eq!(tokens - bucket.available(), peer.moved() as u64);
        prop_assert_eq!(bucket.counts().waiting, 0);
    }
}
