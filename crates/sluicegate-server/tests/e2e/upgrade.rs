//! Connections that change protocols: WebSocket between a client and a server that know nothing of the gateway, and
//! what no library of it would do.
mod raw;
mod websocket;

use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::wait::within;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A service in a test's own hands: its connections, in the order they come.
#[derive(Debug)]
pub(crate) struct Service {
    addr: SocketAddr,
    accepted: mpsc::UnboundedReceiver<TcpStream>,
    accepting: JoinHandle<()>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (give, accepted) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = give.send(stream);
            }
        });
        Self { addr, accepted, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) async fn connection(&mut self) -> TcpStream {
        within("a connection", self.accepted.recv()).await.expect("a connection")
    }
}

/// Reads from a service's connection until `end` has come, and returns all that has.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let read = within("the gateway to write", stream.read_buf(&mut text)).await.expect("it lives");
        assert!(read > 0, "closed before {end:?}, after {:?}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).unwrap()
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A WebSocket's request, without its last empty line.
pub(crate) const ASK: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The answer to it.
pub(crate) const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

async fn assert_exits(mut gateway: Sluicegate, code: i32) {
    let status = gateway.wait().await;
    assert_eq!(status.code(), Some(code), "{status}\n{}", gateway.log());
}
