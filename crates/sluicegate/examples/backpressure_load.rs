//! Load for the example `backpressure`: 500 requests, one each 6 ms, for a server that can do one each 10 ms.
//!
//! `cargo run -p sluicegate --example backpressure_load` while that runs; another address is an argument. What was wrong in the Go original:
//! * The error of a request is thrown away, and the answer that is not there is used then: the first refused connection ends the program.
//! * Each request waits for as long as it takes, so nobody learns how long that was. Here each has a deadline, and is counted by what came of it.
//! * It says nothing at the end. Here it says how many were answered, and how long the slowest of a hundred took.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::error::Error;
use std::sync::Arc;

use sluicegate::cancel::CancelToken;
use sluicegate::clock::Clock;
use sluicegate::timer::{Timer, TokioTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MS: u64 = 1_000_000;
const REQUESTS: u64 = 500;
/// Nanoseconds from one to the next.
const PAUSE: u64 = 6 * MS;
/// A client waits for so long.
const PATIENCE: u64 = 1000 * MS;

/// What came of a request.
enum Came {
    /// Done, after so many nanoseconds.
    Done(u64),
    Refused,
    TooLate,
    Failed,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let time = TokioTime::new();
    let server: Arc<str> = std::env::args().nth(1).map_or_else(|| "127.0.0.1:9000".into(), Arc::from);
    let mut requests = Vec::new();
    for number in 0..REQUESTS {
        // By the clock, not by how long the last pause was: a slow machine sends no less.
        time.sleep_until(number * PAUSE).await;
        requests.push(tokio::spawn(request(time, Arc::clone(&server))));
    }
    let (mut done, mut refused, mut late, mut failed) = (Vec::new(), 0, 0, 0);
    for request in requests {
        match request.await? {
            Came::Done(took) => done.push(took),
            Came::Refused => refused += 1,
            Came::TooLate => late += 1,
            Came::Failed => failed += 1,
        }
    }
    done.sort_unstable();
    let slowest = done.get(done.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(0) / MS;
    println!(
        "{} done (99 of 100 within {slowest} ms), {refused} refused, {late} too late, {failed} failed",
        done.len()
    );
    Ok(())
}

async fn request(time: TokioTime, server: Arc<str>) -> Came {
    let began = time.now();
    match CancelToken::expiring(time, began + PATIENCE).run(get(&server)).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => Came::Done(time.now() - began),
        Ok(Ok(_)) => Came::Refused,
        Ok(Err(_)) => Came::Failed,
        Err(_) => Came::TooLate,
    }
}

async fn get(server: &str) -> std::io::Result<String> {
    let mut server = TcpStream::connect(server).await?;
    server.write_all(b"GET /requests HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).await?;
    Ok(answer)
}
