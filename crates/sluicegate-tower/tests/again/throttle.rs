//! What a throttle makes of an answer over HTTP.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sluicegate::throttle::{Settings, Throttle};
use sluicegate::timer::ManualTime;
use sluicegate_tower::http::judge::Statuses;
use sluicegate_tower::http::replay::{ReplayError, ReplayingLayer};
use sluicegate_tower::refused::{BoxError, Refused};
use sluicegate_tower::throttle::{Accepts, Answer, ThrottleLayer};
use tower::{ServiceBuilder, ServiceExt};

use super::support::{Server, answer, pieces};

fn throttle() -> Throttle<ManualTime> {
    Throttle::with_random(Settings::default(), ManualTime::new(), || u64::MAX)
}

#[tokio::test]
async fn a_status_that_is_a_failure_is_a_refusal() {
    for (status, chance) in
        [(200, 0.0), (404, 0.0), (500, 0.0), (429, 0.5), (502, 0.5), (503, 0.5), (504, 0.5)]
    {
        let server = Server::start(move |_, _| async move { answer(status, "") }).await;
        let throttle = throttle();
        let client = ServiceBuilder::new()
            .layer(ThrottleLayer::new(throttle.clone(), Statuses::new()))
            .service(Client::builder(TokioExecutor::new()).build_http());
        let request = Request::get(&server.address).body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(client.oneshot(request).await.unwrap().status().as_u16(), status);
        assert_eq!(throttle.chance(), chance, "{status}");
    }
}

/// A request whose own body fails, and one that reaches nobody.
#[tokio::test]
async fn a_body_that_fails_says_nothing_of_the_other_side() {
    let server = Server::start(|_, request| async {
        let _ = request.into_body().collect().await;
        answer(200, "")
    })
    .await;
    // A port that nobody listens on any more.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (address, chance) in [(server.address, 0.0), (format!("http://{gone}/"), 0.5)] {
        let throttle = throttle();
        let client = ServiceBuilder::new()
            .layer(ReplayingLayer::new(100))
            .layer(ThrottleLayer::new(throttle.clone(), Statuses::new()))
            .map_err(BoxError::from)
            .service(Client::builder(TokioExecutor::new()).build_http());
        let (sender, body) = pieces();
        sender.send(Err("the client went away")).unwrap();
        assert!(client.oneshot(Request::put(&address).body(body).unwrap()).await.is_err());
        assert_eq!(throttle.chance(), chance, "{address}");
    }
}

fn of<E: 'static>(error: &E) -> Option<Answer> {
    Accepts::<Response<()>, E>::answer(&Statuses::new(), Err(error))
}

#[test]
fn an_error_of_the_body_is_one_boxed_or_not_and_what_is_refused_here_was_not_sent() {
    assert_eq!(of(&ReplayError::Behind), None);
    assert_eq!(of(&BoxError::from(ReplayError::Broken)), None);
    assert_eq!(of(&BoxError::from("reset")), Some(Answer::Refused));
    assert_eq!(of(&Refused::Late { admitted: Some(false) }), None);
    assert_eq!(of(&BoxError::from(Refused::Late { admitted: None })), Some(Answer::Refused));
}
