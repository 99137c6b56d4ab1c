//! Any course of those who take, wait, leave and bring back: never more is out than may be, and all is there again at the end.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

type Time = Arc<ManualTime>;
type Got = Result<Charged<Time, Vec<u8>>, Unavailable>;

/// One who waits, and for how many bytes; whether they are booked for it by now.
struct Waits<'p> {
    future: Pin<Box<dyn Future<Output = Got> + 'p>>,
    bytes: u64,
    has_bytes: bool,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Try(usize),
    Get(usize),
    Poll(usize),
    Leave(usize),
    Drop(usize),
    TakeOut(usize),
    Grow(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..450_usize).prop_map(Op::Try),
        8 => (0..450_usize).prop_map(Op::Get),
        8 => any::<usize>().prop_map(Op::Poll),
        2 => any::<usize>().prop_map(Op::Leave),
        10 => any::<usize>().prop_map(Op::Drop),
        1 => any::<usize>().prop_map(Op::TakeOut),
        2 => any::<usize>().prop_map(Op::Grow),
    ];
    prop::collection::vec(op, 1..150)
}

/// What a length counts for, of the classes below.
fn charge(length: usize) -> u64 {
    [50, 100, 300].into_iter().find(|size| *size >= length).unwrap_or(length) as u64
}

proptest! {
    #[test]
    fn never_more_is_out_than_may_be_and_all_comes_back(ops in ops(), bound in 1..1000_u64) {
        let pool = BoundedPool::new(pool(&[50, 100, 300], 4), bound, Time::default()).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut out = Vec::<(Charged<Time, Vec<u8>>, u64)>::new();
        let (mut line, mut free) = (VecDeque::<Waits<'_>>::new(), bound);
        for op in ops {
            match op {
                Op::Try(length) => {
                    let bytes = charge(length);
                    let fits = bytes <= free && line.iter().all(|waits| waits.has_bytes);
                    match pool.try_get(length) {
                        Ok(buffer) => {
                            prop_assert!(fits, "{} of {}", bytes, free);
                            prop_assert!(buffer.is_empty() && buffer.capacity() as u64 == bytes);
                            free -= bytes;
                            out.push((buffer, bytes));
                        }
                        Err(Unavailable::Never) => prop_assert!(bytes > bound),
                        Err(why) => prop_assert!(!fits && bytes <= bound, "{}: {} of {}", why, bytes, free),
                    }
                }
                Op::Get(length) if line.len() < 5 => {
                    let bytes = charge(length);
                    let mut future: Pin<Box<dyn Future<Output = Got>>> = Box::pin(pool.get(length));
                    let fits = bytes <= free && line.iter().all(|waits| waits.has_bytes);
                    match future.as_mut().poll(&mut context) {
                        Poll::Ready(Ok(buffer)) => {
                            prop_assert!(fits, "{} of {}", bytes, free);
                            free -= bytes;
                            out.push((buffer, bytes));
                        }
                        Poll::Ready(Err(why)) => prop_assert!(why == Unavailable::Never && bytes > bound),
                        Poll::Pending => {
                            prop_assert!(!fits && bytes <= bound, "{} of {}", bytes, free);
                            line.push_back(Waits { future, bytes, has_bytes: false });
                        }
                    }
                }
                Op::Poll(at) if !line.is_empty() => {
                    let at = at % line.len();
                    let waits = &mut line[at];
                    match waits.future.as_mut().poll(&mut context) {
                        Poll::Ready(got) => {
                            prop_assert!(waits.has_bytes, "it was not its turn");
                            out.push((got.unwrap(), waits.bytes));
                            line.remove(at);
                        }
                        Poll::Pending => prop_assert!(!waits.has_bytes, "its turn had come"),
                    }
                }
                Op::Leave(at) if !line.is_empty() => {
                    let gone = line.remove(at % line.len()).unwrap();
                    free += if gone.has_bytes { gone.bytes } else { 0 };
                }
                Op::Drop(at) if !out.is_empty() => free += out.swap_remove(at % out.len()).1,
                Op::TakeOut(at) if !out.is_empty() => {
                    let (buffer, bytes) = out.swap_remove(at % out.len());
                    drop(buffer.into_inner());
                    free += bytes;
                }
                Op::Grow(at) if !out.is_empty() => {
                    let at = at % out.len();
                    out[at].0.reserve_exact(300);
                }
                _ => {}
            }
            // First come, first served.
            for waits in line.iter_mut().filter(|waits| !waits.has_bytes) {
                if waits.bytes > free {
                    break;
                }
                free -= waits.bytes;
                waits.has_bytes = true;
            }
            let bytes: u64 = out.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!(pool.outstanding(), bytes);
            prop_assert!(bytes <= bound);
        }
        drop((line, out));
        prop_assert_eq!((pool.outstanding(), pool.pool().counts().outstanding()), (0, 0));
        // Neither one byte more nor one less.
        let all: Vec<_> = (0..bound / 50).map(|_| pool.try_get(50).unwrap()).collect();
        prop_assert!(pool.try_get(50).is_err() && all.len() as u64 == bound / 50);
    }
}
