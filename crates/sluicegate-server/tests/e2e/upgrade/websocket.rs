//! A WebSocket client and a WebSocket server.
use super::{Service, assert_exits};
use crate::programs::Authority;
use crate::{serve, serve_url, until_idle};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use sluicegate_testkit::client::{Client, handshake};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::within;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

type Socket<S = TcpStream> = WebSocketStream<S>;

/// Asks the gateway for a WebSocket.
async fn open(gateway: &Sluicegate) -> Result<Socket, Error> {
    open_over(gateway.client(), gateway.client().connect().await.unwrap()).await
}

async fn open_over<S: AsyncRead + AsyncWrite + Unpin>(client: Client, stream: S) -> Result<Socket<S>, Error> {
    let url = format!("ws://{}/chat?room=1", client.server());
    within("a WebSocket", client_async(url, stream)).await.map(|(socket, answer)| {
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        socket
    })
}

impl Service {
    /// The service's side of the next one.
    async fn take(&mut self) -> Socket {
        let stream = within("a connection", self.accepted.recv()).await.expect("a connection");
        within("a WebSocket", accept_async(stream)).await.expect("a WebSocket")
    }
}

async fn both(gateway: &Sluicegate, service: &mut Service) -> (Socket, Socket) {
    let (client, served) = tokio::join!(open(gateway), service.take());
    (client.expect("a WebSocket"), served)
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>) -> Option<Result<Message, Error>> {
    within("a message", socket.next()).await
}

/// Sends a message on one side and has it come out on the other.
async fn passes<A, B>(from: &mut Socket<A>, to: &mut Socket<B>, message: Message)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (sent, came) = tokio::join!(from.send(message.clone()), next(to));
    sent.expect("it is sent");
    assert!(came.expect("a message").expect("a message") == message);
}

/// One and a queue of none, so that a place not given back shows in the next request.
const ONE: &[&str] = &["--concurrency", "1", "--queue", "0", "--deadline", "60s"];

#[tokio::test]
async fn messages_go_both_ways_until_it_is_closed() {
    let mut service = Service::start().await;
    let gateway = serve_url(&service.url(), ONE).await;
    for round in 1..=2 {
        let (mut client, mut served) = both(&gateway, &mut service).await;
        for n in 0..10 {
            passes(&mut client, &mut served, Message::text(format!("up {n}"))).await;
            passes(&mut served, &mut client, Message::text(format!("down {n}"))).await;
        }
        let large: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        passes(&mut client, &mut served, Message::binary(large.clone())).await;
        passes(&mut served, &mut client, Message::binary(large)).await;
        passes(&mut client, &mut served, Message::Ping("are you there".into())).await;
        // The server answers by itself, when it next sends something.
        served.flush().await.unwrap();
        assert_eq!(next(&mut client).await.unwrap().unwrap(), Message::Pong("are you there".into()));

        gateway.until_metric("sluicegate_in_flight", &[], 1).await;
        assert_eq!(gateway.client().get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
        let (closing, other) =
            if round == 1 { (&mut client, &mut served) } else { (&mut served, &mut client) };
        closing.close(None).await.unwrap();
        assert!(matches!(next(other).await, Some(Ok(Message::Close(_)))));
        let _ = other.flush().await;
        drop((client, served));
        until_idle(&gateway).await;
        gateway.until_metric("sluicegate_requests_total", &[("status", "101")], round).await;
        gateway.until_metric("sluicegate_connections_open", &[], 0).await;
    }
}

#[tokio::test]
async fn an_open_one_has_the_next_wait_in_the_queue() {
    let mut service = Service::start().await;
    let args = ["--concurrency", "1", "--queue", "1", "--deadline", "60s"];
    let gateway = serve_url(&service.url(), &args).await;
    let (client, served) = both(&gateway, &mut service).await;
    let waiting = tokio::spawn(open_over(gateway.client(), gateway.client().connect().await.unwrap()));
    gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
    let full = open(&gateway).await.expect_err("there is no room to wait");
    assert!(matches!(full, Error::Http(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE));
    drop((client, served));
    let mut served = service.take().await;
    let mut client = waiting.await.unwrap().expect("its turn has come");
    passes(&mut client, &mut served, Message::text("hello")).await;
    drop((client, served));
    until_idle(&gateway).await;
}

#[tokio::test]
async fn either_side_that_vanishes_gives_back_its_place() {
    let mut service = Service::start().await;
    let gateway = serve_url(&service.url(), ONE).await;
    for reset in [true, false] {
        for of_client in [true, false] {
            let (client, served) = both(&gateway, &mut service).await;
            let (gone, mut left) = if of_client { (client, served) } else { (served, client) };
            if reset {
                gone.get_ref().set_zero_linger().unwrap();
            }
            drop(gone);
            let end = next(&mut left).await;
            assert!(matches!(end, None | Some(Err(_))), "reset {reset}, of client {of_client}: {end:?}");
            drop(left);
            until_idle(&gateway).await;
        }
    }
}

#[tokio::test]
async fn one_over_a_quota_is_an_ordinary_refusal() {
    let mut service = Service::start().await;
    let gateway = serve_url(&service.url(), &["--limit", "client.ip stock 1"]).await;
    let open_one = both(&gateway, &mut service).await;
    let Err(Error::Http(refused)) = open(&gateway).await else { panic!("one more than the quota") };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert!(refused.headers().contains_key("ratelimit"));
    drop(open_one);
    until_idle(&gateway).await;
}

#[tokio::test]
async fn a_service_that_does_not_change_answers_as_ever() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, ONE).await;
    for _ in 0..2 {
        let Err(Error::Http(answer)) = open(&gateway).await else { panic!("the service speaks HTTP only") };
        assert_eq!(answer.status(), StatusCode::OK);
        until_idle(&gateway).await;
    }
    assert_eq!(upstream.targets(), ["/chat?room=1", "/chat?room=1"]);
}

#[tokio::test]
async fn it_works_in_tls() {
    let mut service = Service::start().await;
    let authority = Authority::new().await;
    let (certificate, key) = authority.certify("gateway").await;
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
    let gateway = serve_url(&service.url(), &[&tls[..], ONE].concat()).await;
    let stream = handshake(gateway.client(), &authority.roots(), &[b"http/1.1"]).await.unwrap();
    let (client, mut served) = tokio::join!(open_over(gateway.client(), stream), service.take());
    let mut client = client.expect("a WebSocket");
    for n in 0..10 {
        passes(&mut client, &mut served, Message::text(format!("up {n}"))).await;
        passes(&mut served, &mut client, Message::binary(vec![n; 100_000])).await;
    }
    served.close(None).await.unwrap();
    assert!(matches!(next(&mut client).await, Some(Ok(Message::Close(_)))));
    drop((client, served));
    until_idle(&gateway).await;
}

#[tokio::test]
async fn a_drain_lets_it_end_and_cuts_what_does_not() {
    for ends in [true, false] {
        let mut service = Service::start().await;
        let grace = if ends { "60s" } else { "500ms" };
        let gateway = serve_url(&service.url(), &["--grace", grace]).await;
        let (mut client, mut served) = both(&gateway, &mut service).await;
        gateway.signal("TERM").await;
        gateway.until_log(&["draining"]).await;
        if ends {
            passes(&mut client, &mut served, Message::text("still here")).await;
            passes(&mut served, &mut client, Message::text("so am I")).await;
            drop((client, served));
            assert_exits(gateway, 0).await;
        } else {
            for mut side in [client, served] {
                let end = next(&mut side).await;
                assert!(matches!(end, None | Some(Err(_))), "{end:?}");
            }
            assert_exits(gateway, 1).await;
        }
    }
}

#[tokio::test]
async fn one_that_is_silent_too_long_is_cut() {
    let mut service = Service::start().await;
    let args = ["--stream-idle-timeout", "2s", "--body-stall-timeout", "200ms", "--idle-timeout", "200ms"];
    let gateway = serve_url(&service.url(), &args).await;
    let (mut client, mut served) = both(&gateway, &mut service).await;
    // Another connection is idle for longer than it may, and goes first.
    let idle = gateway.client().connect().await.unwrap();
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], 1).await;
    passes(&mut client, &mut served, Message::text("up")).await;
    passes(&mut served, &mut client, Message::text("down")).await;
    for mut side in [client, served] {
        let end = next(&mut side).await;
        assert!(matches!(end, None | Some(Err(_))), "{end:?}");
    }
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], 2).await;
    until_idle(&gateway).await;
    drop(idle);
}
