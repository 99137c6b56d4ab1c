//! A client that reads messages into buffers and a server that works on them, with a free list between the two.
//!
//! `cargo run -p sluicegate --example leaky_buffer`, then `seq 1000 | nc -N 127.0.0.1 9000`: each line is a message. Another address may be its argument.
//!
//! After the leaky buffer of Go's handbook. There the list is bounded in count alone, so that large messages pin memory for good;
//! nobody empties a buffer; and nothing bounds what is on its way to the server but a hand-over in which the reader blocks,
//! with no end when the server is gone. Here the bytes that are out are bounded, the reader waits for room, and both end. A client
//! that says nothing holds no buffer, and one that stops in the midst of a message does so for a second.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::io;
use std::pin::pin;
use std::time::Duration;

use sluicegate::cancel::CancelToken;
use sluicegate::clock::{Clock, nanos};
use sluicegate::pool::{BoundedPool, Charged, Pool, Settings};
use sluicegate::timer::TokioTime;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// No message is longer.
const LONGEST: usize = 4096;
/// Once begun, none takes longer to come.
const PATIENCE: Duration = Duration::from_secs(1);
/// No more are heard at once; others wait to be accepted.
const CLIENTS: usize = 1000;

type Buffers = BoundedPool<TokioTime>;
type Buffer = Charged<TokioTime, Vec<u8>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(Settings::new(&[LONGEST])?.with_most(100)?);
    let buffers = Buffers::new(pool, 64 * LONGEST as u64, TokioTime::new())?;
    let (to_server, messages) = mpsc::unbounded_channel();
    let server = tokio::spawn(serve(messages));
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    // One for the whole of it: between two, a signal would be lost.
    let mut ctrl_c = pin!(tokio::signal::ctrl_c());
    let mut readers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if readers.len() < CLIENTS => {
                let (socket, _) = accepted?;
                readers.spawn(read(socket, buffers.clone(), to_server.clone()));
            }
            // One has ended. What went wrong is between it and its client.
            Some(_) = readers.join_next() => {}
            _ = &mut ctrl_c => break,
        }
    }
    // Nothing more is read; what was, is worked on.
    readers.shutdown().await;
    drop(to_server);
    server.await?;
    let counts = buffers.pool().counts();
    println!("{} messages, {} buffers made for them", counts.hits + counts.misses, counts.misses);
    Ok(())
}

/// The book's client: a buffer, then a message into it, then on to the server.
async fn read(
    socket: TcpStream,
    buffers: Buffers,
    server: mpsc::UnboundedSender<Buffer>,
) -> Result<(), io::Error> {
    let mut socket = BufReader::new(socket);
    let time = TokioTime::new();
    // A buffer is for who has something to put into it.
    while !socket.fill_buf().await?.is_empty() {
        // As many bytes as may be out are out: the socket is left alone until the server has got on.
        let mut buffer = buffers.get(LONGEST).await.map_err(io::Error::other)?;
        // One more than may be is enough to know.
        let mut line = (&mut socket).take(LONGEST as u64);
        let message = line.read_until(b'\n', &mut buffer);
        let in_time = CancelToken::expiring(time, time.now() + nanos(PATIENCE)).run(message).await;
        match in_time.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
            LONGEST if !buffer.ends_with(b"\n") => return Err(io::Error::other("a message is too long")),
            _ => server.send(buffer).map_err(|_| io::Error::other("the server is gone"))?,
        }
    }
    Ok(())
}

/// The book's server: works on a message; the buffer goes back when it is dropped, or nowhere if there is no room.
async fn serve(mut messages: mpsc::UnboundedReceiver<Buffer>) {
    let mut bytes = 0;
    while let Some(message) = messages.recv().await {
        bytes += message.len();
        if bytes % 1000 < message.len() {
            println!("{bytes} bytes so far");
        }
    }
}
