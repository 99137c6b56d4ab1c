//! The service the demo overloads: a real HTTP server on a real socket that can do only so much at a time.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluicegate::clock::{Clock as _, nanos};
use sluicegate::timer::{Timer as _, TokioTime};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections the system may hold before they are accepted: a flood arrives in bursts.
const BACKLOG: u32 = 4096;
/// After an accept fails, for want of files mostly, this many nanoseconds until the next try.
const ACCEPT_AGAIN: u64 = 10_000_000;

/// Who is served when: a fixed number of slots, each busy for a fixed time a request, first come first served.
///
/// A request books its slot when it arrives and the booking stands. So the line is unbounded, and work is done
/// for clients that have long left: what servers do that read a request, queue it, and look at the connection
/// again only when they write the answer.
#[derive(Debug)]
pub(super) struct Slots {
    /// When each slot is free again, in nanoseconds of a clock.
    free_at: Vec<u64>,
    /// Nanoseconds a request takes.
    service: u64,
}

/// When a request is worked on, in nanoseconds of the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Booking {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Slots {
    pub(super) fn new(count: usize, service: Duration) -> Self {
        Self { free_at: vec![0; count], service: nanos(service) }
    }

    /// Books the slot that is free first. O(slots).
    pub(super) fn book(&mut self, now: u64) -> Booking {
        let Some(free_at) = self.free_at.iter_mut().min() else {
            // No slots, no end.
            return Booking { start: u64::MAX, end: u64::MAX };
        };
        let start = now.max(*free_at);
        *free_at = start.saturating_add(self.service);
        Booking { start, end: *free_at }
    }
}

/// The running service. Stops when dropped; [`Upstream::stop`] also waits for that.
#[derive(Debug)]
pub(super) struct Upstream {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Upstream {
    /// Listens on a free port of 127.0.0.1 and answers `slots` requests at a time, each after `service`.
    ///
    /// # Errors
    /// What the system says if no port can be listened on.
    pub(super) fn start(slots: usize, service: Duration) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let upstream = Self { address, stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let shared =
            Arc::new(Shared { time: TokioTime::new(), slots: Mutex::new(Slots::new(slots, service)) });
        let (stop, tasks) = (upstream.stop.clone(), upstream.tasks.clone());
        upstream.tasks.spawn(async move {
            let accepting = accept(listener, &shared, &stop, &tasks);
            stop.run_until_cancelled(accepting).await;
        });
        Ok(upstream)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection, whatever is open on it, and returns when all are closed.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Shared {
    time: TokioTime,
    slots: Mutex<Slots>,
}

async fn accept(listener: TcpListener, shared: &Arc<Shared>, stop: &CancellationToken, tasks: &TaskTracker) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (shared, stop) = (Arc::clone(shared), stop.clone());
                tasks.spawn(async move { stop.run_until_cancelled(serve(stream, shared)).await });
            }
            Err(_) => shared.time.sleep_for(ACCEPT_AGAIN).await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Without it an answer on a connection kept alive may wait for an acknowledgement: slower, not wrong.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, Arc::clone(&shared)));
    // A client that leaves ends its connection with an error, which is no news here.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(_: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, Infallible> {
    let now = shared.time.now();
    let booking = shared.slots.lock().unwrap_or_else(PoisonError::into_inner).book(now);
    shared.time.sleep_until(booking.end).await;
    let mut text = String::new();
    let milliseconds = |span: u64| span / 1_000_000;
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "waited {} ms for a slot, then took {} ms",
        milliseconds(booking.start - now),
        milliseconds(booking.end - booking.start)
    );
    let mut response = Response::new(Full::from(text));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn slots_serve_first_come_first_served_at_their_rate() {
        let mut slots = Slots::new(20, Duration::from_millis(100));
        for request in 0..2000 {
            let booking = slots.book(0);
            assert_eq!(booking.start, request / 20 * 100 * MS);
            assert_eq!(booking.end, booking.start + 100 * MS);
        }
        // Ten seconds of work are booked, whoever of them still waits.
        assert_eq!(slots.book(5_000 * MS).start, 10_000 * MS);
    }

    #[test]
    fn an_idle_slot_serves_at_once() {
        let mut slots = Slots::new(2, Duration::from_millis(100));
        assert_eq!(slots.book(7), Booking { start: 7, end: 7 + 100 * MS });
        assert_eq!(slots.book(9), Booking { start: 9, end: 9 + 100 * MS });
        assert_eq!(slots.book(11), Booking { start: 7 + 100 * MS, end: 7 + 200 * MS });
        assert_eq!(slots.book(500 * MS).start, 500 * MS);
    }

    #[tokio::test]
    async fn it_answers_over_a_socket_and_stops() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let upstream = Upstream::start(1, Duration::from_millis(1)).unwrap();
        let mut client = TcpStream::connect(upstream.address()).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("waited 0 ms for a slot, then took 1 ms\n"), "{answer}");

        let mut idle = TcpStream::connect(upstream.address()).await.unwrap();
        upstream.stop().await;
        // Closed or reset, but over.
        assert!(matches!(idle.read(&mut [0]).await, Ok(0) | Err(_)));
    }
}
