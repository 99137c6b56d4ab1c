//! A body that a test feeds.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use sluicegate_tower::http::replay::{ReplayBody, ReplayError};
use sluicegate_tower::refused::BoxError;

/// What comes next from a body.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    Data(usize),
    Trailers,
    End,
    Error,
}

/// A body that a test feeds.
#[derive(Clone, Default)]
pub(crate) struct Fed(pub(crate) Arc<Mutex<Feed>>);

#[derive(Default)]
pub(crate) struct Feed {
    next: VecDeque<Next>,
    /// How many bytes it has given.
    given: usize,
    /// What it says that it will give in all.
    pub(crate) total: Option<usize>,
    waker: Option<Waker>,
    over: bool,
    /// It tells nobody that there is more, as a timer does not that is looked at before it fires.
    pub(crate) silent: bool,
}

impl Fed {
    pub(crate) fn feed(&self, next: Next) {
        let waker = {
            let mut feed = self.0.lock().unwrap();
            feed.next.push_back(next);
            if feed.silent { None } else { feed.waker.take() }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The bytes of the body from a place on.
pub(crate) fn bytes(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|place| u8::try_from(place % 251).unwrap()).collect()
}

pub(crate) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("17"))])
}

impl Body for Fed {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let mut feed = self.0.lock().unwrap();
        assert!(!feed.over, "polled after its end");
        match feed.next.pop_front() {
            None => {
                feed.waker = Some(context.waker().clone());
                Poll::Pending
            }
            Some(Next::Data(len)) => {
                let data = bytes(feed.given, len);
                feed.given += len;
                Poll::Ready(Some(Ok(Frame::data(data.into()))))
            }
            Some(next) => {
                feed.over = true;
                Poll::Ready(match next {
                    Next::Trailers => Some(Ok(Frame::trailers(trailers()))),
                    Next::Error => Some(Err("reset")),
                    _ => None,
                })
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let feed = self.0.lock().unwrap();
        feed.total.map_or_else(SizeHint::new, |total| SizeHint::with_exact((total - feed.given) as u64))
    }
}

/// A body whose polls are a function.
pub(crate) struct Made(Polls);

type Polls = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Frame<Bytes>>> + Send>;

impl Made {
    pub(crate) fn of(
        poll: impl FnMut(&mut Context<'_>) -> Poll<Option<Frame<Bytes>>> + Send + 'static,
    ) -> Self {
        Self(Box::new(poll))
    }
}

impl Body for Made {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        (self.0)(context).map(|frame| frame.map(Ok))
    }
}

#[derive(Default)]
pub(crate) struct Woken(pub(crate) AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn poll<B>(
    body: &mut ReplayBody<B>,
    waker: &Waker,
) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    Pin::new(body).poll_frame(&mut Context::from_waker(waker))
}
