//! Answers refusals, so that no error is left.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::admission::Opaque;
use crate::drive::Drive;
use crate::refused::{BoxError, Refused};

/// An error that is a refusal, or may be one.
pub trait MayBeRefused: Sized {
    /// What is left of it if it is not.
    type Other;

    /// The refusal.
    ///
    /// # Errors
    /// The error, if it is something else.
    fn refused(self) -> Result<Refused, Self::Other>;
}

impl MayBeRefused for Refused {
    type Other = Infallible;

    fn refused(self) -> Result<Refused, Infallible> {
        Ok(self)
    }
}

impl MayBeRefused for BoxError {
    type Other = Self;

    fn refused(self) -> Result<Refused, Self> {
        self.downcast().map(|refused| *refused)
    }
}

/// Makes [`Answering`] services: the outermost layer, which turns the refusals of those below into responses.
///
/// Where the layers below have [`Refused`] as their error (`with_error`), no error is left, as a router of axum wants it.
///
/// ```
/// use http::Response;
/// use http_body_util::Empty;
/// use sluicegate::permits::Permits;
/// use sluicegate_tower::http::answering::AnsweringLayer;
/// use sluicegate_tower::queue::QueueLayer;
/// use sluicegate_tower::refused::Refused;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(AnsweringLayer::new())
///     .layer(QueueLayer::new(Permits::new(0, 0)).with_error::<Refused>())
///     .service(service_fn(|()| async { Ok::<_, Refused>(Response::new(Empty::<bytes::Bytes>::new())) }));
/// let Ok(response) = service.oneshot(()).await else { unreachable!("no error is left") };
/// assert_eq!(response.status(), 503);
/// assert_eq!(response.headers()["retry-after"], "1");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AnsweringLayer;

impl AnsweringLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for AnsweringLayer {
    type Service = Answering<S>;

    fn layer(&self, inner: S) -> Answering<S> {
        Answering { inner }
    }
}

/// A service whose refusals are answers. Made by [`AnsweringLayer`].
#[derive(Clone, Debug)]
pub struct Answering<S> {
    inner: S,
}

impl<S, Req, B> Service<Req> for Answering<S>
where
    S: Service<Req, Response = Response<B>> + Clone,
    S::Error: MayBeRefused,
    B: Body<Data = Bytes>,
{
    type Response = Response<AnswerBody<B>>;
    type Error = <S::Error as MayBeRefused>::Other;
    type Future = AnsweringFuture<S, Req>;

    /// Always ready: the inner service is readied for each request, so that a refusal there is answered too.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        AnsweringFuture { drive: Drive::new(self.inner.clone(), request) }
    }
}

pin_project! {
    /// A request whose refusal will be an answer. Cancel-safe if the inner future is.
    #[must_use = "a future does nothing unless polled"]
    pub struct AnsweringFuture<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        drive: Drive<S, Req, Opaque>,
    }
}

impl<S, Req, B> Future for AnsweringFuture<S, Req>
where
    S: Service<Req, Response = Response<B>>,
    S::Error: MayBeRefused,
{
    type Output = Result<Response<AnswerBody<B>>, <S::Error as MayBeRefused>::Other>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(self.project().drive.poll(context)) {
            Ok(response) => Ok(response.map(|body| AnswerBody { source: Source::Inner { body } })),
            Err(error) => error.refused().map(|refused| {
                Response::from(refused)
                    .map(|bytes| AnswerBody { source: Source::Problem { bytes: Some(bytes) } })
            }),
        })
    }
}

pin_project! {
    /// The body of an answer: the inner service's, or a problem's.
    #[derive(Debug)]
    pub struct AnswerBody<B> {
        #[pin]
        source: Source<B>,
    }
}

pin_project! {
    #[project = SourceProj]
    #[derive(Debug)]
    enum Source<B> {
        Inner { #[pin] body: B },
        // None once they are handed out.
        Problem { bytes: Option<Bytes> },
    }
}

impl<B: Body<Data = Bytes>> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().source.project() {
            SourceProj::Inner { body } => body.poll_frame(context),
            SourceProj::Problem { bytes } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Inner { body } => body.is_end_stream(),
            Source::Problem { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Inner { body } => body.size_hint(),
            Source::Problem { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}
