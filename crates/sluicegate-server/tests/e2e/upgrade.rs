//! Connections that change protocols: WebSocket between a client and a server that know nothing of the gateway, and
//! what no library of it would do.
mod raw;
mod websocket;

use sluicegate_testkit::process::Sluicegate;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A service in a test's own hands: its connections, in the order they come.
#[derive(Debug)]
struct Service {
    addr: SocketAddr,
    accepted: mpsc::UnboundedReceiver<TcpStream>,
    accepting: JoinHandle<()>,
}

impl Service {
    async fn start() -> Self {
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

    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A WebSocket's request, without its last empty line.
const ASK: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn assert_exits(mut gateway: Sluicegate, code: i32) {
    let status = gateway.wait().await;
    assert_eq!(status.code(), Some(code), "{status}\n{}", gateway.log());
}
