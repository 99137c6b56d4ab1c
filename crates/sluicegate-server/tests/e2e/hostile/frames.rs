//! HTTP/2 by hand (RFC 9113, section 4): frames as a client library would never send them.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use sluicegate_testkit::client::Client;
use sluicegate_testkit::wait::within;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// The error code that a GOAWAY tells too much by.
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The header block of a request, in HPACK without Huffman (RFC 7541): the method and scheme from the static table, then
/// literals that are not indexed.
pub(super) fn block(method: &str, path: &str) -> Vec<u8> {
    let mut block = vec![if method == "POST" { 0x83 } else { 0x82 }, 0x86];
    for (name, value) in [(4, path), (1, "a")] {
        block.push(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    }
    block
}

/// A literal field with a name of its own, whatever its lengths (RFC 7541, section 6.2.2).
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        length(&mut field, text.len());
        field.extend(text.as_bytes());
    }
    field
}

/// A string's length: seven bits, and the rest in groups of seven.
fn length(block: &mut Vec<u8>, len: usize) {
    let Some(mut rest) = len.checked_sub(127) else { return block.push(u8::try_from(len).unwrap()) };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// A request without a body.
pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block("GET", path))
}

/// How a connection ended, or what it answered so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The error code of the last GOAWAY.
    pub(super) goaway: Option<u32>,
    /// HEADERS frames: answers that began.
    pub(super) answers: usize,
    /// Streams reset.
    pub(super) resets: usize,
}

/// A connection of HTTP/2 whose frames are written by hand. What comes back is read beside, unless nobody wants it.
#[derive(Debug)]
pub(super) struct Two {
    write: WriteHalf<TcpStream>,
    read: Option<ReadHalf<TcpStream>>,
    reader: Option<JoinHandle<Heard>>,
    heard: watch::Sender<Heard>,
}

impl Two {
    /// Connects, and says what a client says first. `settings` are pairs of a number and a value.
    pub(super) async fn connect(server: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let socket = Client::new(server).connect().await.expect("the server accepts");
        socket.set_nodelay(true).unwrap();
        let (read, write) = tokio::io::split(socket);
        let mut two = Self { write, read: Some(read), reader: None, heard: watch::Sender::default() };
        let of_pair =
            |(number, value): &(u16, u32)| [&number.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let payload: Vec<u8> = settings.iter().flat_map(of_pair).collect();
        two.write(&[PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat()).await;
        two
    }

    /// The same, with all that comes back read and counted.
    pub(super) async fn connect_and_read(server: SocketAddr) -> Self {
        let mut two = Self::connect(server, &[]).await;
        two.read();
        two
    }

    /// Begins to read what comes back.
    pub(super) fn read(&mut self) {
        let read = self.read.take().expect("read once");
        self.reader = Some(tokio::spawn(hear(read, self.heard.clone())));
    }

    /// Sends these frames; false if the server has gone.
    pub(super) async fn write(&mut self, frames: &[u8]) -> bool {
        within("the server to read", self.write.write_all(frames)).await.is_ok()
    }

    /// Whether the server has ended it.
    pub(super) fn is_over(&self) -> bool {
        self.reader.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits until what was heard is as `wanted`.
    pub(super) async fn until(&self, what: &str, wanted: impl FnMut(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.subscribe();
        within(what, heard.wait_for(wanted)).await.unwrap().clone()
    }

    /// Waits until the server has ended it, and tells what it said.
    pub(super) async fn ended(mut self) -> Heard {
        if self.reader.is_none() {
            self.read();
        }
        within("the server to end the connection", self.reader.take().unwrap()).await.unwrap()
    }

    /// Says that no more comes, and tells what the server said until it ended.
    pub(super) async fn finish(mut self) -> Heard {
        // It may be over already.
        let _ = self.write.shutdown().await;
        self.ended().await
    }
}

async fn hear(mut read: ReadHalf<TcpStream>, heard: watch::Sender<Heard>) -> Heard {
    let mut head = [0; 9];
    while read.read_exact(&mut head).await.is_ok() {
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; len];
        if read.read_exact(&mut payload).await.is_err() {
            break;
        }
        heard.send_modify(|heard| match head[3] {
            HEADERS => heard.answers += 1,
            RST_STREAM => heard.resets += 1,
            GOAWAY => heard.goaway = payload[4..8].try_into().ok().map(u32::from_be_bytes),
            _ => {}
        });
    }
    heard.borrow().clone()
}
