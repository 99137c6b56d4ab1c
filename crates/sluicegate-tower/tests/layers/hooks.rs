//! A limit of one's own, with an error type of one's own: what the layer tells it, and what it may add.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};

use sluicegate::permits::Permits;
use sluicegate::timer::TokioTime;
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::After;
use sluicegate_tower::limit::{Charge, Limit};
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::Refused;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::support::DEADLINE;

/// The one error of the whole stack: what went wrong, and how many tokens were left then.
#[derive(Debug, PartialEq)]
enum Why {
    Empty,
    Refused(Refused, Option<u64>),
    Service(&'static str, Option<u64>),
}

impl From<Refused> for Why {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused, None)
    }
}

impl From<&'static str> for Why {
    fn from(what: &'static str) -> Self {
        Self::Service(what, None)
    }
}

impl From<Infallible> for Why {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[derive(Debug)]
struct Tokens(AtomicU64);

/// Borrows the limit, as that of a server may which outlives its requests.
#[derive(Debug)]
struct Token<'a>(Option<&'a Tokens>);

impl<'a, Req> Limit<Req, String, Why> for &'a Tokens {
    type Charge = Token<'a>;

    fn charge(&self, _: &Req) -> Result<Token<'a>, Why> {
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.map(|_| Token(Some(self))).map_err(|_| Why::Empty)
    }
}

impl Charge<String, Why> for Token<'_> {
    fn spend(mut self) {
        self.0 = None;
    }

    fn answered(self, response: &mut String) {
        let left = self.0.unwrap().0.load(Ordering::Relaxed);
        response.push_str(&format!(", {left} left"));
        Charge::<String, Why>::spend(self);
    }

    fn failed(self, error: &mut Why, admitted: bool) {
        let tokens = self.0.unwrap();
        if admitted {
            Charge::<String, Why>::spend(self);
        } else {
            drop(self);
        }
        let (Why::Refused(_, left) | Why::Service(_, left)) = error else { panic!("{error:?}") };
        *left = Some(tokens.0.load(Ordering::Relaxed));
    }
}

impl Drop for Token<'_> {
    fn drop(&mut self) {
        if let Some(tokens) = self.0 {
            tokens.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_above_all_adds_to_answers_and_to_every_refusal() {
    let (tokens, permits) = (Tokens(AtomicU64::new(9)), Permits::new(1, 1));
    let service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(&tokens).with_error::<Why>().over_queue())
        .layer(DeadlineLayer::new(After::new(DEADLINE, TokioTime::new())).with_error::<Why>().over_queue())
        .layer(QueueLayer::new(permits.clone()).with_error::<Why>())
        .service(service_fn(|request: &'static str| async move {
            match request {
                "broken" => Err("broken"),
                "slow" => std::future::pending().await,
                _ => Ok(request.to_owned()),
            }
        }));
    let ask = |request| service.clone().oneshot(request);
    assert_eq!(ask("good").await.unwrap(), "good, 8 left");
    assert_eq!(ask("broken").await, Err(Why::Service("broken", Some(7))));
    let late = |admitted| Refused::Late { admitted: Some(admitted) };
    assert_eq!(ask("slow").await, Err(Why::Refused(late(true), Some(6))));

    let held = permits.try_enter();
    assert_eq!(ask("good").await, Err(Why::Refused(late(false), Some(6))));
    permits.close();
    let full = permits.enter().unwrap_err();
    assert_eq!(ask("good").await, Err(Why::Refused(Refused::Queue(full), Some(6))));
    drop(held);
    tokens.0.store(0, Ordering::Relaxed);
    assert_eq!(ask("good").await, Err(Why::Empty));
}
