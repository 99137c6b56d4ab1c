//! Streams and sinks.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll};

use futures_util::{Sink, SinkExt, Stream, StreamExt, sink, stream};
use sluicegate::clock::Clock;
use sluicegate::decision::Decision;
use sluicegate::io::{PacedSink, PacedStream, SinkError};
use sluicegate::limiter::Carry;
use sluicegate::timer::ManualTime;

use crate::support::{bucket, poll, run, stock};

#[test]
fn an_item_comes_when_it_is_paid_for() {
    let time = ManualTime::new();
    let bucket = bucket("10/s burst 4", &time);
    // The third costs more than the bucket holds, the second nothing.
    let mut paced = PacedStream::new(stream::iter([4_u64, 0, 10, 1]), &bucket, |item: &u64| *item);
    assert_eq!(paced.size_hint(), (4, Some(4)));
    let mut seen = Vec::new();
    run(&time, async {
        while let Some(item) = paced.next().await {
            seen.push((item.unwrap(), time.now() / 1_000_000));
        }
    });
    assert_eq!(seen, [(4, 0), (0, 0), (10, 1000), (1, 1100)]);
    assert_eq!(bucket.balance(), 0);
}

#[test]
fn an_item_that_is_waited_for_is_kept_with_its_place() {
    let bucket = stock(0);
    let mut paced = PacedStream::new(stream::iter(["ann", "bob"]), &bucket, |_: &&str| 2);
    assert!(poll(&mut paced.next()).is_pending());
    assert_eq!(paced.size_hint(), (2, Some(2)));
    bucket.put(1);
    assert!(poll(&mut paced.next()).is_pending());
    assert_eq!(bucket.counts().waiting, 1);
    bucket.put(1);
    assert!(matches!(poll(&mut paced.next()), Poll::Ready(Some(Ok("ann")))));

    assert!(poll(&mut paced.next()).is_pending());
    let (mut rest, item) = paced.into_parts();
    assert_eq!(item, Some("bob"));
    assert!(matches!(poll(&mut rest.next()), Poll::Ready(None)));
    assert_eq!((bucket.counts().waiting, bucket.put(5), bucket.available()), (0, 5, 5));
}

#[test]
fn what_was_paid_for_an_item_that_never_came_goes_back() {
    let bucket = bucket("stock 10", &ManualTime::new());
    let mut paced = PacedStream::new(stream::iter([()]), &bucket, |_: &()| 15);
    assert!(poll(&mut paced.next()).is_pending());
    assert_eq!(bucket.available(), 0, "10 are paid");
    drop(paced);
    assert_eq!(bucket.available(), 10);

    let mut paced = PacedSink::new(sink::drain(), &bucket, |_: &()| 15);
    assert!(poll(&mut paced.send(())).is_pending());
    assert_eq!(bucket.available(), 0);
    assert_eq!(paced.into_parts().1, Some(()));
    assert_eq!(bucket.available(), 10);
}

#[test]
fn what_is_refused_comes_unpaid_and_the_next_one_has_its_chance() {
    let bucket = bucket("stock 10", &ManualTime::new());
    let mut paced = PacedStream::new(stream::iter(1..=3_u64), &bucket, |_: &u64| 15);
    assert!(poll(&mut paced.next()).is_pending());
    bucket.set_quota("ban".parse().unwrap(), Carry::Keep);
    for item in 1..=2 {
        let Poll::Ready(Some(Err(unpaid))) = poll(&mut paced.next()) else { panic!("a ban") };
        assert!(matches!(unpaid.denied().decision(), Decision::Never { .. }));
        assert!(unpaid.to_string().contains("refused: never"));
        assert_eq!(unpaid.into_item(), item);
    }
    bucket.set_quota("unlimited".parse().unwrap(), Carry::Keep);
    assert!(matches!(poll(&mut paced.next()), Poll::Ready(Some(Ok(3)))));
    assert!(matches!(poll(&mut paced.next()), Poll::Ready(None)));
}

#[test]
fn a_sink_sends_when_it_is_paid_and_a_flush_waits_for_that() {
    let time = ManualTime::new();
    let bucket = bucket("10/s burst 3", &time);
    let (sender, receiver) = mpsc::channel();
    let mut paced = PacedSink::new(Channel(sender), &bucket, |word: &&str| word.len() as u64);
    run(&time, paced.feed("ann")).unwrap();
    assert!(received(&receiver).is_empty(), "it moves with the next one, or a flush");
    run(&time, paced.feed("bo")).unwrap();
    assert_eq!((received(&receiver), time.now()), (vec!["ann"], 0));
    run(&time, paced.flush()).unwrap();
    assert_eq!((received(&receiver), time.now()), (vec!["bo"], 200_000_000));
    run(&time, paced.feed("seven")).unwrap();
    run(&time, paced.close()).unwrap();
    assert_eq!((received(&receiver), time.now()), (vec!["seven"], 700_000_000), "in parts");
}

#[test]
fn a_sink_without_room_keeps_no_tokens() {
    let bucket = stock(5);
    let full = sink::unfold((), |(), _: u8| std::future::pending::<Result<(), Infallible>>());
    let mut paced = PacedSink::new(Box::pin(full), &bucket, |_: &u8| 1);
    assert!(matches!(poll(&mut paced.feed(1)), Poll::Ready(Ok(()))));
    assert!(matches!(poll(&mut paced.feed(2)), Poll::Ready(Ok(()))), "the first one is inside");
    assert!(poll(&mut paced.feed(3)).is_pending());
    assert_eq!(bucket.available(), 4, "only what went in is paid for");
}

#[test]
fn a_sink_hands_back_what_it_does_not_take() {
    let bucket = bucket("ban", &ManualTime::new());
    let mut paced = PacedSink::new(sink::drain(), &bucket, |_: &&str| 1);
    let Poll::Ready(Err(SinkError::Unpaid(unpaid))) = poll(&mut paced.send("ann")) else { panic!("a ban") };
    assert_eq!(unpaid.into_item(), "ann");

    // Sent without asking for room.
    let mut paced = std::pin::pin!(paced);
    paced.as_mut().start_send("bob").unwrap();
    let error = paced.as_mut().start_send("cid").unwrap_err();
    assert_eq!(error.to_string(), "an item was sent before the sink was ready for it");
    assert!(matches!(error, SinkError::NoRoom("cid")));
}

#[test]
fn a_sink_that_fails_costs_nothing() {
    let bucket = stock(5);
    let (sender, receiver) = mpsc::channel();
    drop(receiver);
    let mut paced = PacedSink::new(Channel(sender), &bucket, |_: &&str| 3);
    assert!(matches!(poll(&mut paced.send("ann")), Poll::Ready(Err(SinkError::Inner("closed")))));
    assert_eq!(bucket.available(), 5);
}

/// A sink into a channel, always ready; it fails once the receiver is gone.
struct Channel(Sender<&'static str>);

impl Sink<&'static str> for Channel {
    type Error = &'static str;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, word: &'static str) -> Result<(), &'static str> {
        self.0.send(word).map_err(|_| "closed")
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }
}

fn received(receiver: &Receiver<&'static str>) -> Vec<&'static str> {
    receiver.try_iter().collect()
}
