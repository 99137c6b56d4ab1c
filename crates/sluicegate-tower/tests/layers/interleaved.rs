//! Any number of requests, called, polled, dropped and late in any order.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tower::{Service, service_fn};

use super::support::{DEADLINE, Stack, poll};

const TOKENS: u64 = 20;
const CONCURRENCY: usize = 2;
const QUEUE: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    Call,
    Poll(usize),
    Drop(usize),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Call),
        6 => (0..8_usize).prop_map(Step::Poll),
        1 => (0..8_usize).prop_map(Step::Drop),
        1 => (0..700_u64).prop_map(Step::Advance),
    ]
}

/// How many are at the service, and how many ever were.
#[derive(Debug, Default)]
struct Served {
    now: AtomicUsize,
    ever: AtomicUsize,
}

struct Serving(Arc<Served>);

impl Serving {
    fn begin(served: &Arc<Served>) -> Self {
        served.now.fetch_add(1, Ordering::Relaxed);
        served.ever.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(served))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn run(steps: Vec<Step>) {
    let stack = Stack::new(&format!("stock {TOKENS}"), CONCURRENCY, QUEUE);
    let served = Arc::new(Served::default());
    let inner = service_fn({
        let served = Arc::clone(&served);
        move |polls: usize| {
            let serving = Serving::begin(&served);
            async move {
                for _ in 0..polls {
                    tokio::task::yield_now().await;
                }
                drop(serving);
                Ok::<_, Infallible>(())
            }
        }
    });
    let mut service = stack.around(inner);
    let mut requests: Vec<Pin<Box<dyn Future<Output = bool>>>> = Vec::new();
    for (at, step) in steps.into_iter().enumerate() {
        match step {
            Step::Call => {
                let request = service.call(at % 4);
                requests.push(Box::pin(async move { request.await.is_ok() }));
            }
            Step::Poll(at) | Step::Drop(at) if at >= requests.len() => {}
            Step::Poll(at) => {
                if poll(requests[at].as_mut()).is_ready() {
                    drop(requests.remove(at));
                }
            }
            Step::Drop(at) => drop(requests.remove(at)),
            Step::Advance(millis) => tokio::time::advance(Duration::from_millis(millis)).await,
        }
        let (in_flight, waiting, tokens) = stack.state();
        let (now, ever) = (served.now.load(Ordering::Relaxed), served.ever.load(Ordering::Relaxed) as u64);
        assert!(now <= in_flight && in_flight <= CONCURRENCY && waiting <= QUEUE);
        let held = TOKENS - tokens - ever;
        assert!(held <= (in_flight - now + waiting) as u64, "{held} tokens held by nobody");
    }
    // Who is left is late, or has an answer; nobody hangs.
    tokio::time::advance(DEADLINE).await;
    for mut request in requests {
        let mut polls = 0;
        while poll(request.as_mut()).is_pending() {
            polls += 1;
            assert!(polls < 10);
        }
    }
    let spent = served.ever.load(Ordering::Relaxed) as u64;
    assert_eq!(stack.state(), (0, 0, TOKENS - spent));
}

proptest! {
    #[test]
    fn in_any_order_nothing_is_lost_and_nothing_is_exceeded(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(steps));
    }
}
