//! The service that is overloaded: over HTTP on a socket, one worker, so much time a request, and a line without an end.
//!
//! Who has sent a request stays in the line, also once it has left: a real service reads its requests, keeps them, and looks at the
//! connection again only when it writes the answer. That the worker is woken late makes an answer late, but not the next one: the time
//! of each request counts from the end of the one before, so the capacity is what was asked for, to the microsecond.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sluicegate::clock::{Clock as _, SystemClock, nanos};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// What it answers with.
pub(super) const BODY: &str = "done\n";
/// Connections the system may hold before they are accepted: a flood arrives in bursts.
const BACKLOG: u32 = 4096;

/// One request that was worked on, in nanoseconds of the upstream's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// When it was read.
    pub(super) arrived: u64,
    /// When it was done.
    pub(super) finished: u64,
    /// Whether the connection it came on was closed by then.
    pub(super) gone: bool,
}

/// The running service. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Upstream {
    port: u16,
    shared: Arc<Shared>,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    clock: SystemClock,
    /// Nanoseconds a request takes.
    service: AtomicU64,
    /// Requests of earlier turns are not worked on any more.
    turn: AtomicU64,
    /// When the first request of this turn was read; `u64::MAX` before.
    first: AtomicU64,
    done: Mutex<Vec<Work>>,
}

/// A request in the line.
struct Job {
    arrived: u64,
    turn: u64,
    done: oneshot::Sender<()>,
}

impl Upstream {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// What the system says if there is no port or no thread.
    pub(super) fn start(service: Duration) -> Result<Self, Error> {
        let starting = || Error::io("starting the upstream");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(starting())?;
        let listener = {
            let _inside = runtime.enter();
            listen().map_err(starting())?
        };
        let port = listener.local_addr().map_err(starting())?.port();
        let shared = Arc::new(Shared::new(service));
        let (line, jobs) = mpsc::channel();
        let stop = CancellationToken::new();
        let worker = thread::Builder::new().name("upstream-worker".into()).spawn({
            let shared = Arc::clone(&shared);
            move || work(&shared, &jobs)
        });
        let mut upstream =
            Self { port, shared, stop: stop.clone(), threads: vec![worker.map_err(starting())?] };
        let server = thread::Builder::new().name("upstream-server".into()).spawn({
            let shared = Arc::clone(&upstream.shared);
            move || {
                runtime.block_on(stop.run_until_cancelled(accept(listener, shared, line)));
            }
        });
        upstream.threads.push(server.map_err(starting())?);
        Ok(upstream)
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// From the next request on, each takes so long.
    pub(super) fn set_service(&self, service: Duration) {
        self.shared.service.store(nanos(service), Ordering::Relaxed);
    }

    /// A new turn: who is still in the line is sent away, and what was done is forgotten.
    pub(super) fn begin(&self) {
        self.shared.turn.fetch_add(1, Ordering::AcqRel);
        self.shared.first.store(u64::MAX, Ordering::Release);
        self.shared.done().clear();
    }

    /// Nanoseconds since the first request of this turn was read.
    pub(super) fn since_first(&self) -> Option<u64> {
        let first = self.shared.first.load(Ordering::Acquire);
        (first < u64::MAX).then(|| self.shared.clock.now().saturating_sub(first))
    }

    /// What was done in this turn so far, its instants counted from the first request's.
    pub(super) fn done(&self) -> Vec<Work> {
        let first = self.shared.first.load(Ordering::Acquire);
        let since = |at: u64| at.saturating_sub(first);
        let done = self.shared.done();
        done.iter()
            .map(|work| Work { arrived: since(work.arrived), finished: since(work.finished), ..*work })
            .collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..).rev() {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn new(service: Duration) -> Self {
        Self {
            clock: SystemClock::new(),
            service: AtomicU64::new(nanos(service)),
            turn: AtomicU64::new(0),
            first: AtomicU64::new(u64::MAX),
            done: Mutex::default(),
        }
    }

    fn done(&self) -> MutexGuard<'_, Vec<Work>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker: one request after the other, until nobody can send any more.
fn work(shared: &Shared, jobs: &mpsc::Receiver<Job>) {
    let mut free_at = 0;
    while let Ok(job) = jobs.recv() {
        if job.turn != shared.turn.load(Ordering::Acquire) {
            continue;
        }
        free_at = job.arrived.max(free_at) + shared.service.load(Ordering::Relaxed);
        loop {
            let now = shared.clock.now();
            if now >= free_at {
                break;
            }
            thread::park_timeout(Duration::from_nanos(free_at - now));
        }
        let gone = job.done.send(()).is_err();
        if job.turn == shared.turn.load(Ordering::Acquire) {
            shared.done().push(Work { arrived: job.arrived, finished: free_at, gone });
        }
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, line: mpsc::Sender<Job>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, Arc::clone(&shared), line.clone()));
            }
            // No file was free; others will be.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, line: mpsc::Sender<Job>) {
    // Without it the connection is slower, not wrong.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, &shared, &line));
    // A client that leaves ends its connection with an error, which is no news here.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Waits until the work is done. If the client leaves, this is dropped, and the job stays in the line.
///
/// # Errors
/// Its turn is over: the connection ends.
async fn answer(
    _: Request<Incoming>,
    shared: &Shared,
    line: &mpsc::Sender<Job>,
) -> Result<Response<Full<Bytes>>, oneshot::error::RecvError> {
    let (done, answered) = oneshot::channel();
    let (arrived, turn) = (shared.clock.now(), shared.turn.load(Ordering::Acquire));
    shared.first.fetch_min(arrived, Ordering::AcqRel);
    // Without a worker the receiver says so.
    let _ = line.send(Job { arrived, turn, done });
    answered.await?;
    Ok(Response::new(Full::new(Bytes::from_static(BODY.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    const MS: u64 = 1_000_000;

    fn ask(port: u16) -> TcpStream {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        stream
    }

    fn answer_of(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_works_on_one_after_the_other_in_its_time() {
        let upstream = Upstream::start(Duration::from_millis(2)).unwrap();
        upstream.begin();
        let clients: Vec<_> = (0..5).map(|_| ask(upstream.port())).collect();
        for client in clients {
            assert!(answer_of(client).ends_with(BODY));
        }
        let done = upstream.done();
        assert_eq!(done.len(), 5);
        assert!(done[0].finished >= 2 * MS, "{done:?}");
        for pair in done.windows(2) {
            let free = pair[0].finished.max(pair[1].arrived);
            assert_eq!(pair[1].finished, free + 2 * MS, "{done:?}");
        }
        upstream.begin();
        assert!(upstream.done().is_empty() && upstream.since_first().is_none());
    }

    #[test]
    fn it_works_for_who_has_left_but_not_for_an_earlier_turn() {
        let shared = Shared::new(Duration::from_millis(1));
        shared.turn.store(1, Ordering::Relaxed);
        let (line, jobs) = mpsc::channel();
        let mut waits = Vec::new();
        for (turn, stays) in [(0, true), (1, true), (1, false), (1, true)] {
            let (done, answered) = oneshot::channel();
            line.send(Job { arrived: 0, turn, done }).unwrap();
            waits.extend(stays.then_some(answered));
        }
        drop(line);
        work(&shared, &jobs);
        let done: Vec<_> = shared.done().iter().map(|work| (work.finished, work.gone)).collect();
        assert_eq!(done, [(MS, false), (2 * MS, true), (3 * MS, false)]);
        let answers: Vec<_> = waits.into_iter().map(|mut wait| wait.try_recv().is_ok()).collect();
        assert_eq!(answers, [false, true, true]);
    }
}
