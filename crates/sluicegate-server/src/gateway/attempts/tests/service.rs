//! Both ends of the gateway, which do what there is to do when they are told to: a future may be dropped between any two of their turns.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::unconstrained;

/// What a service does with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// Answers with this status, and `ok`.
    Says(u16),
    /// Closes the connection.
    Closes,
}

/// A service on a real socket. What it has nothing to do with, it leaves unanswered.
#[derive(Debug)]
pub(super) struct Service {
    listener: TcpListener,
    links: Vec<Link>,
    does: VecDeque<Does>,
    /// The bodies of the requests that have come whole.
    pub(super) bodies: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Link {
    socket: TcpStream,
    /// What is read of a request that is not whole.
    read: Vec<u8>,
    /// A request that is whole has no answer.
    owes: bool,
}

impl Service {
    pub(super) fn new(does: &[Does]) -> Self {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        listener.set_nonblocking(true).unwrap();
        let does = does.iter().copied().collect();
        Self { listener, links: Vec::new(), does, bodies: Vec::new() }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// Takes in what has come, and does what is due for each request that is whole.
    pub(super) fn turn(&mut self) {
        self.look();
        for mut link in std::mem::take(&mut self.links) {
            match link.owes.then(|| self.does.pop_front()).flatten() {
                Some(Does::Closes) => continue,
                Some(Does::Says(status)) => {
                    let answer = format!("HTTP/1.1 {status} so\r\ncontent-length: 2\r\n\r\nok");
                    // Who has left meanwhile is seen with the next look.
                    let _ = link.socket.write_all(answer.as_bytes());
                    link.owes = false;
                }
                None => {}
            }
            self.links.push(link);
        }
    }

    /// Takes in what has come, and lets go of connections that were closed.
    fn look(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            socket.set_nonblocking(true).unwrap();
            self.links.push(Link { socket, read: Vec::new(), owes: false });
        }
        let bodies = &mut self.bodies;
        self.links.retain_mut(|link| link.is_open_after(bodies));
    }

    /// Fails if it has not so many connections once what is under way has come, or one on which something is left of a request.
    pub(super) fn has(&mut self, connections: usize) {
        // The system closes them in its own time.
        for _ in 0..100_000 {
            self.look();
            if self.links.len() == connections {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(self.links.len(), connections, "connections");
        let left = self.links.iter().filter(|link| link.owes || !link.read.is_empty()).count();
        assert_eq!(left, 0, "connections with something of a request");
    }
}

impl Link {
    /// Whether it is open, when what has come is read.
    fn is_open_after(&mut self, bodies: &mut Vec<Vec<u8>>) -> bool {
        let mut bytes = [0; 1024];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return false,
                Ok(read) => self.read.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let text = String::from_utf8_lossy(&self.read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let len = len.map_or(0, |len| len.parse().unwrap());
            if body.len() >= len {
                assert_eq!(body.len(), len, "one request after the other");
                bodies.push(body.as_bytes().to_vec());
                self.read.clear();
                self.owes = true;
            }
        }
        true
    }
}

/// A client's connection, of which the gateway has the request.
pub(super) struct Door {
    connection: Pin<Box<dyn Future<Output = ()>>>,
    socket: DuplexStream,
    /// What the client has still to send, a part each turn.
    rest: VecDeque<&'static str>,
}

impl Door {
    /// The client sends this much at first, in which the header is whole.
    pub(super) fn open(first: &str, rest: &[&'static str]) -> (Self, Request<Incoming>) {
        let (socket, served) = duplex(1024);
        let asked = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&asked);
        let service = service_fn(move |request: Request<Incoming>| {
            *slot.lock().unwrap() = Some(request);
            pending::<Result<Response<Empty<Bytes>>, Infallible>>()
        });
        let connection = Builder::new().serve_connection(TokioIo::new(served), service);
        let connection = Box::pin(async move { drop(connection.await) });
        let mut door = Self { connection, socket, rest: rest.iter().copied().collect() };
        door.send(first);
        let request = asked.lock().unwrap().take().unwrap();
        (door, request)
    }

    /// The client sends some more.
    pub(super) fn turn(&mut self) {
        let part = self.rest.pop_front().unwrap_or_default();
        self.send(part);
    }

    /// Whether all of it was sent.
    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    fn send(&mut self, part: &str) {
        unconstrained(self.socket.write_all(part.as_bytes())).now_or_never().unwrap().unwrap();
        let gone = unconstrained(self.connection.as_mut()).now_or_never();
        assert!(gone.is_none(), "a client that stays");
    }
}
