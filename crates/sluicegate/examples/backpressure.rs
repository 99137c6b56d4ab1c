//! A server that says no when its workers are behind: the bounded queue in front of workers, over a real socket.
//!
//! `cargo run -p sluicegate --example backpressure`, then `for i in $(seq 50); do echo $i | nc 127.0.0.1 9000 & done`.
//! Each line is work of 10 ms for one worker; ten wait at most, and the others hear so at once.

use std::io;

use sluicegate::queue::Queue;
use sluicegate::timer::{Timer, TokioTime};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A line to work on, and who asked.
struct Job {
    line: String,
    client: TcpStream,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let queue = Queue::<Job>::new(10);
    let worker = tokio::spawn(work(queue.clone()));
    let listener = TcpListener::bind("127.0.0.1:9000").await?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted?;
                tokio::spawn(admit(queue.clone(), client));
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    // What was admitted is still done.
    queue.close();
    worker.await.map_err(io::Error::other)
}

/// Reads a line and hands it to the worker, or says why not.
async fn admit(queue: Queue<Job>, client: TcpStream) -> io::Result<()> {
    let mut line = String::new();
    let mut client = BufReader::new(client);
    client.read_line(&mut line).await?;
    if let Err((mut job, why)) = queue.push(Job { line, client: client.into_inner() }) {
        let wait = why.retry_after().unwrap_or_default();
        job.client.write_all(format!("no: {why}; come back in {wait:?}\n").as_bytes()).await?;
    }
    Ok(())
}

/// Works until the queue is closed and empty. A client that has left costs nothing but its turn.
async fn work(queue: Queue<Job>) {
    let time = TokioTime::new();
    while let Some(Job { line, mut client }) = queue.pop().await {
        time.sleep_for(10_000_000).await;
        let _ = client.write_all(format!("done: {line}").as_bytes()).await;
    }
}
