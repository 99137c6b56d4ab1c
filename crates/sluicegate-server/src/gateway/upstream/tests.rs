//! The pool, on real sockets.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use http::Method;
use sluicegate_testkit::upstream::{Echo, Upstream as Server};
use sluicegate_testkit::wait::within;

use super::super::choice::Standing;
use super::*;

fn pool(server: &Server) -> Arc<Upstream> {
    let settings = UpstreamSettings { url: server.url().parse().unwrap(), ..UpstreamSettings::default() };
    Upstream::new(settings, Standing::new(), TokioTime::new(), 1)
}

fn get(target: &str) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::Empty);
    *request.method_mut() = Method::GET;
    *request.uri_mut() = target.parse().unwrap();
    request.headers_mut().insert(http::header::HOST, HeaderValue::from_static("a"));
    request
}

async fn whole(mut exchange: Exchange) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| exchange.poll_frame(context)).await {
        bytes.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    exchange.finish();
    bytes
}

/// Polls so often at the most; none if it is then dropped.
async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), times);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The pool's next answer is that of its own request.
async fn answers_right(upstream: &Arc<Upstream>, what: &str) {
    let target = format!("/right/{what}");
    let (head, exchange) = within("an answer", upstream.send(0, get(&target), |_| None)).await.unwrap();
    assert_eq!(head.status(), 200, "{what}");
    let echo: Echo = serde_json::from_slice(&whole(exchange).await).unwrap();
    assert_eq!(echo.target, target);
}

/// blockfrost-platform #183: a request that is dropped gives back a connection on which its answer is still to come, and the next
/// request gets that.
#[tokio::test]
async fn pitfall_42_a_request_that_is_dropped_never_gives_back_a_half_used_connection() {
    let server = Server::start();
    server.open_all();
    for (kind, target) in
        [("short", "/gated/dropped"), ("long", "/bytes/300000"), ("chunks", "/chunked/300000")]
    {
        // Over a new connection, and over one that was kept.
        for kept in [false, true] {
            for times in 0.. {
                let upstream = pool(&server);
                if kept {
                    answers_right(&upstream, "before").await;
                    assert_eq!(upstream.idle(), 1);
                }
                let whole = polled(times, async {
                    let (_, exchange) = upstream.send(0, get(target), |_| None).await.unwrap();
                    whole(exchange).await
                });
                let ended = within("an answer", whole).await.is_some();
                let what = format!("{kind}/{kept}/{times}");
                if !ended {
                    // Of the request before, where this one was dropped before it took anything.
                    assert!(
                        upstream.idle() <= usize::from(kept && times == 0),
                        "{what}: a connection came back"
                    );
                }
                for _ in 0..2 {
                    answers_right(&upstream, &what).await;
                }
                assert_eq!(upstream.idle(), 1, "{what}");
                if ended {
                    assert!(times > 1, "{what}: it was never dropped");
                    break;
                }
            }
        }
    }
}

/// An answer that nobody wants: its connection is kept only if all of it is here.
#[tokio::test]
async fn pitfall_42_an_answer_that_is_discarded_gives_back_its_connection_only_at_its_end() {
    let server = Server::start();
    let upstream = pool(&server);
    for (target, kept) in
        [("/status/503", true), ("/status/204", true), ("/stall/10", false), ("/drip/3", false)]
    {
        let (_, exchange) = within("a head", upstream.send(0, get(target), |_| None)).await.unwrap();
        exchange.discard();
        assert!(upstream.idle() <= usize::from(kept), "{target}");
        answers_right(&upstream, "after").await;
    }
    server.resume();
    // More than is read of what nobody wants, though it will all come.
    let (_, exchange) = upstream.send(0, get("/bytes/10000000"), |_| None).await.unwrap();
    exchange.discard();
    assert_eq!(upstream.idle(), 0);
    answers_right(&upstream, "after").await;
}

#[tokio::test]
async fn a_request_that_could_not_be_sent_comes_back() {
    let upstream = pool(&Server::stopped());
    let unanswered = upstream.send(0, get("/once"), |_| None).await.unwrap_err();
    assert!(matches!(unanswered.error, UpstreamError::Connect(_)));
    assert_eq!(unanswered.unsent.unwrap().uri(), "/once");
}
