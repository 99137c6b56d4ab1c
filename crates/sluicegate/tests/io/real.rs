//! Real files, real sockets, the machine's time.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use sluicegate::clock::{Clock, SystemClock};
use sluicegate::io::{AsyncThrottled, Throttled};
use sluicegate::limiter::TokenBucket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LEN: usize = 600_000;
const RATE: u64 = 10_000_000;
const BURST: u64 = 100_000;

fn bytes() -> Vec<u8> {
    (0..LEN).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

/// A bucket, and the clock that it reads.
fn shared() -> (TokenBucket<SystemClock>, SystemClock) {
    let clock = SystemClock::new();
    (TokenBucket::with_clock(format!("{RATE}/s burst {BURST}").parse().unwrap(), clock), clock)
}

/// No more was moved by now than the bucket may have let through, whatever the machine was busy with.
fn holds(moved: usize, clock: SystemClock) {
    let flows = u128::from(RATE) * u128::from(clock.now()) / 1_000_000_000;
    assert!(moved as u128 <= u128::from(BURST) + flows, "{moved} bytes in {} ns", clock.now());
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_are_copied_by_threads_that_share_a_bucket() {
    let folder = Folder::new("threads");
    let (bucket, clock) = shared();
    fs::write(folder.0.join("from"), bytes()).unwrap();
    let copies: Vec<_> = (0..3)
        .map(|number| {
            let (from, to) = (folder.0.join("from"), folder.0.join(format!("to{number}")));
            let bucket = bucket.clone();
            let mut reader = Throttled::reads(File::open(from).unwrap(), &bucket);
            thread::spawn(move || io::copy(&mut reader, &mut File::create(&to).unwrap()).map(|_| to))
        })
        .collect();
    for copy in copies {
        assert!(fs::read(copy.join().unwrap().unwrap()).unwrap() == bytes());
    }
    holds(3 * LEN, clock);
}

#[test]
fn a_file_goes_over_a_socket_and_back() {
    let folder = Folder::new("socket");
    let (bucket, clock) = shared();
    fs::write(folder.0.join("from"), bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Sends back what it is sent, once that has ended.
    let echo = thread::spawn(move || {
        let (mut there, _) = listener.accept()?;
        let mut all = Vec::new();
        there.read_to_end(&mut all)?;
        there.write_all(&all)
    });
    let here = TcpStream::connect(address).unwrap();
    let mut here = Throttled::new(here, &bucket);
    io::copy(&mut File::open(folder.0.join("from")).unwrap(), &mut here).unwrap();
    here.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    here.read_to_end(&mut back).unwrap();
    assert!(back == bytes());
    holds(2 * LEN, clock);
    echo.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_of_tokio_is_throttled_both_ways_at_once() {
    let (down, clock) = shared();
    let up = TokenBucket::with_clock(format!("{RATE}/s burst {BURST}").parse().unwrap(), clock);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let (mut there, _) = listener.accept().await?;
        let (mut from, mut to) = there.split();
        tokio::io::copy(&mut from, &mut to).await?;
        to.shutdown().await
    });
    let here = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = tokio::io::split(AsyncThrottled::both(here, &down, &up));
    let sends = async {
        to.write_all(&bytes()).await?;
        to.shutdown().await
    };
    let mut back = Vec::new();
    let (sent, read) = tokio::join!(sends, from.read_to_end(&mut back));
    assert_eq!((sent.unwrap(), read.unwrap()), ((), LEN));
    assert!(back == bytes());
    holds(LEN, clock);
    echo.await.unwrap().unwrap();
}
