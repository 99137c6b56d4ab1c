//! Well-behaved clients at work beside an attack, on a thread of their own: what they wait for is the gateway, and not the
//! attacker's turn in the test.

use super::{heavy, tls};
use sluicegate_testkit::client::Client;
use sluicegate_testkit::wait::{eventually, now, within};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;

/// How many clients there are.
const CLIENTS: usize = 2;

/// How many are served before the attack, to see how they fare without.
const CALM: usize = 200;

/// What they ask for: small, and the same each time.
const REQUEST: &[u8] = b"GET /bytes/100 HTTP/1.1\r\nhost: a\r\nx-client: well-behaved\r\n\r\n";

/// Clients that ask one request after the other over connections that they keep.
#[derive(Debug)]
pub(super) struct Others {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// How long each answer took.
    times: Mutex<Vec<Duration>>,
    /// The first thing that was wrong.
    wrong: Mutex<Option<String>>,
}

impl Others {
    /// Has them ask this server, in TLS if it wants that.
    pub(super) fn of(client: Client, tls: bool) -> Self {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for _ in 0..CLIENTS {
                    let shared = Arc::clone(&of_thread);
                    clients.spawn(async move {
                        if let Err(wrong) = connect_and_work(&shared, client, tls).await {
                            shared.wrong.lock().unwrap().get_or_insert(wrong.to_string());
                        }
                    });
                }
                clients.join_all().await;
            });
        });
        Self { shared, thread: Some(thread) }
    }

    /// Waits until those before the attack were served, and tells how long each took.
    pub(super) async fn calm(&self) -> Vec<Duration> {
        self.served(CALM).await;
        self.shared.times.lock().unwrap()[..CALM].to_vec()
    }

    /// Waits until so many more of them were served.
    pub(super) async fn served(&self, requests: usize) {
        let wanted = self.shared.times.lock().unwrap().len() + heavy(requests, 5 * requests);
        eventually("well-behaved clients to be served", async || {
            self.shared.assert_right();
            (self.shared.times.lock().unwrap().len() >= wanted).then_some(())
        })
        .await;
    }

    /// Waits for so many more and has them stop; tells how long each took since the calm.
    pub(super) async fn end(mut self, requests: usize) -> Vec<Duration> {
        self.served(requests).await;
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap();
        self.shared.assert_right();
        self.shared.times.lock().unwrap().split_off(CALM)
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn assert_right(&self) {
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_none(), "a well-behaved client was not served: {}", wrong.as_ref().unwrap());
    }
}

async fn connect_and_work(shared: &Shared, client: Client, tls: bool) -> io::Result<()> {
    let socket = client.connect().await?;
    socket.set_nodelay(true)?;
    if tls { work(shared, tls::connect(socket).await?).await } else { work(shared, socket).await }
}

async fn work(shared: &Shared, mut socket: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    while !shared.stop.load(Ordering::Relaxed) {
        let began = now();
        socket.write_all(REQUEST).await?;
        socket.flush().await?;
        let mut answer = Vec::new();
        while !is_whole(&answer)? {
            if within("an answer", socket.read_buf(&mut answer)).await? == 0 {
                return Err(io::Error::other(format!("closed after {}", String::from_utf8_lossy(&answer))));
            }
        }
        shared.times.lock().unwrap().push(now().duration_since(began));
    }
    Ok(())
}

/// Whether the whole answer is here; an error if it is not the right one.
fn is_whole(answer: &[u8]) -> io::Result<bool> {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
    let begins = &answer[..answer.len().min(OK.len())];
    if begins != &OK[..begins.len()] {
        return Err(io::Error::other(format!("answered {}", String::from_utf8_lossy(answer))));
    }
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
    Ok(head.is_some_and(|end| answer.len() >= end + 4 + 100))
}
