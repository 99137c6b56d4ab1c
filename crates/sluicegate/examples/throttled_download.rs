//! A download that takes no more than its share of the line, from a server that gives all clients together no more than
//! theirs. Both are in this process, with a real socket between them.
//!
//! `cargo run -p sluicegate --example throttled_download`: two clients download at once, one of them throttled.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::io;
use std::net::SocketAddr;

use sluicegate::clock::{Clock, SystemClock};
use sluicegate::io::AsyncThrottled;
use sluicegate::limiter::TokenBucket;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What each client downloads, in bytes.
const LEN: u64 = 4_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // One bucket for all clients: what one leaves, the other has.
    let up = TokenBucket::new("6000000/s burst 600000".parse()?);
    let server = tokio::spawn(serve(listener, up));

    let clock = SystemClock::new();
    let own = TokenBucket::with_clock("2000000/s burst 200000".parse()?, clock);
    let modest = async { download(AsyncThrottled::reads(connect(address).await?, &own), clock).await };
    let greedy = async { download(connect(address).await?, clock).await };
    let (modest, greedy) = tokio::try_join!(modest, greedy)?;
    println!("{LEN} bytes at 2 MB/s of one's own: {modest} ms; with what the server has left: {greedy} ms");
    server.abort();
    Ok(())
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// Sends everybody the same, all of them together no faster than the bucket allows.
async fn serve(listener: TcpListener, up: TokenBucket) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        let mut client = AsyncThrottled::writes(client, &up);
        tokio::spawn(async move {
            // A client that leaves in the middle has its share given back to the others.
            let _ = tokio::io::copy(&mut tokio::io::repeat(7).take(LEN), &mut client).await;
            let _ = client.shutdown().await;
        });
    }
}

/// Reads to the end; says how many milliseconds that took.
async fn download(mut from: impl AsyncRead + Unpin, clock: SystemClock) -> io::Result<u64> {
    let began = clock.now();
    let mut buf = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match from.read(&mut buf).await? {
            0 => break,
            n => bytes += n as u64,
        }
    }
    if bytes != LEN {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((clock.now() - began) / 1_000_000)
}
