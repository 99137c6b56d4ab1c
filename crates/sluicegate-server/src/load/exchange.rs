//! One request from its intended start to the last byte of its answer, or to the client's time limit.

use std::pin::pin;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use sluicegate::clock::Clock as _;
use sluicegate::timer::{Timer as _, TokioTime};

use super::connections::{Connection, Connections, Lent};
use super::failure::FailureKind;
use super::plan::Plan;

/// An answer read to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Of the body.
    pub(super) bytes: u64,
    pub(super) retry_after: bool,
    /// Clock reading at its last byte, in nanoseconds.
    pub(super) finished: u64,
}

/// Sends one request and hands its fate to `settle` exactly once. Ends by `give_up`, an instant of the clock;
/// a request unanswered by then is abandoned and its connection closed.
pub(super) async fn exchange(
    plan: &Plan,
    connections: &Connections,
    time: TokioTime,
    lent: Lent,
    give_up: u64,
    settle: impl FnOnce(Result<Answer, FailureKind>),
) {
    let mut limit = pin!(time.sleep_until(give_up));
    let result = tokio::select! {
        biased;
        result = attempt(plan, connections, time, lent) => result,
        () = &mut limit => Err(FailureKind::Timeout),
    };
    let (connection, result) = match result {
        Ok((connection, answer)) => (Some(connection), Ok(answer)),
        Err(kind) => (None, Err(kind)),
    };
    settle(result);
    let Some(mut connection) = connection else { return };
    // The answer has been read, but the connection is free for another request only once it says so; it never
    // is if the peer asked to close it.
    tokio::select! {
        biased;
        ready = connection.sender.ready() => if ready.is_ok() {
            connections.give_back(connection);
        },
        () = &mut limit => {}
    }
}

async fn attempt(
    plan: &Plan,
    connections: &Connections,
    time: TokioTime,
    mut lent: Lent,
) -> Result<(Connection, Answer), FailureKind> {
    let mut request = request(plan);
    loop {
        let (mut connection, reused) = match lent {
            Lent::Idle(connection) => (connection, true),
            Lent::New(slot) => (connections.open(slot).await?, false),
            Lent::Nothing => return Err(FailureKind::NoConnection),
        };
        match connection.sender.try_send_request(request).await {
            Ok(response) => {
                let answer = read(response, time).await?;
                return Ok((connection, answer));
            }
            Err(mut error) => match error.take_message() {
                // The peer closed an idle connection before a byte of this request was written to it: that is
                // no answer to the request, so another connection carries it. A new one ends the loop.
                Some(unsent) if reused => {
                    drop(connection);
                    request = unsent;
                    lent = connections.lend();
                }
                _ => return Err(FailureKind::of_exchange(&error.into_error())),
            },
        }
    }
}

fn request(plan: &Plan) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(plan.body.clone()));
    *request.method_mut() = plan.method.clone();
    *request.uri_mut() = Uri::from(plan.target.path());
    *request.headers_mut() = plan.headers.clone();
    request
}

async fn read(
    response: http::Response<hyper::body::Incoming>,
    time: TokioTime,
) -> Result<Answer, FailureKind> {
    let status = response.status();
    let retry_after = response.headers().contains_key(header::RETRY_AFTER);
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| FailureKind::of_exchange(&error))?;
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(Answer { status, bytes, retry_after, finished: time.now() })
}
