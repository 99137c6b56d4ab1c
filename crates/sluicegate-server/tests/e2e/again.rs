//! Several upstreams, another try after a failure, and somebody else as well where an answer is late.
mod bodies;
mod deadlines;
mod ends;
mod hedges;
mod keys;
mod pool;
mod reload;
mod retries;

use crate::SLUICEGATE;
use sluicegate_testkit::process::Sluicegate;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Starts the gateway in front of all of these.
async fn serve_all(upstreams: &[&str], args: &[&str]) -> Sluicegate {
    let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--deadline", "60s"];
    // A machine that is busy with other tests is no upstream that can't be reached.
    all.extend(["--connect-timeout", "30s"]);
    all.extend(upstreams.iter().flat_map(|upstream| ["--upstream", upstream]));
    all.extend(args);
    Sluicegate::start(SLUICEGATE, &all).await
}

/// What is counted of the one route that the command line makes.
async fn counted(gateway: &Sluicegate, name: &str, reason: Option<&str>) -> u64 {
    let route = ("route", "default");
    let labels = [route, ("reason", reason.unwrap_or_default())];
    gateway.metrics().await.count(name, &labels[..1 + usize::from(reason.is_some())])
}

/// A server with one answer for each request, over a connection of its own.
struct Canned {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Canned {
    /// Answers by the number of requests before.
    async fn start(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (count, answer) = (Arc::clone(&count), Arc::clone(&answer));
                tokio::spawn(
                    async move { talk(stream, || answer(count.fetch_add(1, Ordering::SeqCst))).await },
                );
            }
        });
        Self { url, asked }
    }

    /// Always this status.
    async fn status(line: &'static str, more: &'static str) -> Self {
        Self::start(move |_| format!("HTTP/1.1 {line}\r\n{more}content-length: 4\r\n\r\nbusy")).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Reads a request with all of its body, and answers it. A connection without one is no request.
async fn talk(mut stream: TcpStream, answer: impl FnOnce() -> String) {
    let (mut request, mut buffer) = (Vec::new(), vec![0; 65536]);
    loop {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
            _ => return,
        }
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        let body = &request[end + 4..];
        let length: Option<usize> =
            head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let is_whole = match length {
            Some(length) => body.len() >= length,
            None => !head.contains("transfer-encoding") || body.ends_with(b"0\r\n\r\n"),
        };
        if is_whole {
            break;
        }
    }
    let _ = stream.write_all(answer().as_bytes()).await;
    let _ = stream.shutdown().await;
    while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
}
