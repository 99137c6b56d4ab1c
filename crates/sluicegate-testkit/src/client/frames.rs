//! HTTP/2 frame by frame, for clients that do what no library does.
use super::Raw;
use std::io;
use std::net::SocketAddr;

/// What a connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame's type (RFC 9113, section 6).
pub mod kind {
    /// A part of a body.
    pub const DATA: u8 = 0;
    /// A request's or an answer's fields.
    pub const HEADERS: u8 = 1;
    /// The end of a stream, before its time.
    pub const RST_STREAM: u8 = 3;
    /// What the sender wants.
    pub const SETTINGS: u8 = 4;
    /// Are you there?
    pub const PING: u8 = 6;
    /// The end of a connection.
    pub const GOAWAY: u8 = 7;
}

/// Flags of frames.
pub mod flag {
    /// The stream's last one.
    pub const END_STREAM: u8 = 1;
    /// An answer to SETTINGS or PING.
    pub const ACK: u8 = 1;
    /// The last one of a field section.
    pub const END_HEADERS: u8 = 4;
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// The rest.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of a `RST_STREAM` or `GOAWAY`.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        let bytes = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    }
}

/// A connection, frame by frame.
#[derive(Debug)]
pub struct Frames(Raw);

impl Frames {
    /// Connects, and says so.
    pub async fn connect(server: SocketAddr) -> Self {
        let mut raw = Raw::connect(server).await;
        raw.write(PREFACE).await;
        let mut frames = Self(raw);
        frames.write(kind::SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// Sends a frame.
    pub async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_write(kind, flags, stream, payload).await.expect("the server reads");
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn try_write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let len = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.try_write(frame).await
    }

    /// GETs `path`, with these fields besides.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn get(&mut self, stream: u32, path: &str, more: &[(&str, &str)]) -> io::Result<()> {
        let fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a.test")];
        let flags = flag::END_STREAM | flag::END_HEADERS;
        self.try_write(kind::HEADERS, flags, stream, &block(&[&fields, more].concat())).await
    }

    /// Resets a stream: nobody wants it any more.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn reset(&mut self, stream: u32) -> io::Result<()> {
        const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
        self.try_write(kind::RST_STREAM, 0, stream, &CANCEL).await
    }

    /// The next frame; none at the end of the connection. What wants an acknowledgement gets it.
    pub async fn next(&mut self) -> Option<Frame> {
        let frame = self.read().await?;
        if matches!(frame.kind, kind::SETTINGS | kind::PING) && frame.flags & flag::ACK == 0 {
            let payload = if frame.kind == kind::PING { &frame.payload[..] } else { &[] };
            // Where the server is gone, the next read says so.
            let _ = self.try_write(frame.kind, flag::ACK, 0, payload).await;
        }
        Some(frame)
    }

    /// The next frame, which is not answered in any way; none at the end of the connection.
    pub async fn read(&mut self) -> Option<Frame> {
        let head = self.0.try_read(9).await?;
        let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.0.try_read(len).await?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame that is `wanted`; those before are left out. Panics if the connection ends before.
    pub async fn until(&mut self, mut wanted: impl FnMut(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection lives");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// What came before the answer to a ping that is sent now: all that the server had to say before it read it.
    pub async fn until_now(&mut self) -> Vec<Frame> {
        self.write(kind::PING, 0, 0, b"are here").await;
        let mut before = Vec::new();
        self.until(|frame| {
            before.push(frame.clone());
            frame.kind == kind::PING && frame.flags == flag::ACK
        })
        .await;
        before
    }
}

/// Fields as literals that nobody needs to remember (RFC 7541, section 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn length(block: &mut Vec<u8>, len: usize) {
    let Some(mut rest) = len.checked_sub(127) else {
        return block.push(u8::try_from(len).expect("seven bits"));
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("seven bits"));
}
