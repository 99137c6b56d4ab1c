//! A socket in a test's own hands, for clients that send half a header, stop reading, or vanish.
use super::Client;
use crate::wait::within;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The kernel's smallest useful receive buffer, so that a client that stops reading is felt soon.
const SMALL: u32 = 4096;

/// A raw connection. Dropped, it is closed with FIN; see [`Raw::vanish`] for the harder way.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    /// Read and not yet asked for.
    buffer: Vec<u8>,
}

/// How a connection ended, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With FIN.
    Closed,
    /// With RST.
    Reset,
}

impl Raw {
    /// Connects.
    pub async fn connect(server: SocketAddr) -> Self {
        Self::over(Client::new(server).connect().await.expect("the server accepts"))
    }

    /// Connects with a small receive buffer, for a client that is going to stop reading.
    pub async fn connect_small(server: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.set_recv_buffer_size(SMALL).expect("a buffer's size can be set");
        Self::over(within("a connection", socket.connect(server)).await.expect("the server accepts"))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        Self { stream, buffer: Vec::new() }
    }

    /// Sends these bytes.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).await.expect("the server reads");
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("the server to read", self.stream.write_all(bytes.as_ref())).await
    }

    /// Reads up to and including the first `end`, and returns it as text. Panics if the connection ends before.
    pub async fn read_until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = find(&self.buffer, end.as_bytes()) {
                return self.split(at + end.len());
            }
            let more = self.fill().await.expect("the connection lives");
            assert!(more, "closed before {end:?}, after {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Reads one answer's head: its status line and headers, with the empty line.
    pub async fn read_head(&mut self) -> String {
        self.read_until("\r\n\r\n").await
    }

    /// Reads exactly `n` bytes, and returns them as text.
    pub async fn read_exact(&mut self, n: usize) -> String {
        while self.buffer.len() < n {
            assert!(self.fill().await.expect("the connection lives"), "closed before {n} bytes");
        }
        self.split(n)
    }

    /// Reads exactly `n` bytes; none if the connection ends before.
    pub async fn try_read(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < n {
            self.fill().await.ok().filter(|more| *more)?;
        }
        let rest = self.buffer.split_off(n);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// Reads all that comes until the server ends the connection, and tells how it did.
    pub async fn read_to_end(&mut self) -> (Vec<u8>, Ending) {
        loop {
            match self.fill().await {
                Ok(true) => {}
                Ok(false) => return (std::mem::take(&mut self.buffer), Ending::Closed),
                Err(_) => return (std::mem::take(&mut self.buffer), Ending::Reset),
            }
        }
    }

    /// Whether nothing has come that was not asked for yet, at this moment.
    #[must_use]
    pub fn silent(&self) -> bool {
        let mut byte = [0];
        let nothing = matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.buffer.is_empty() && nothing
    }

    /// Closes the writing half: the server sees the end of what is sent, and may answer.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.expect("a socket can be shut down");
    }

    /// Vanishes: the server sees RST, as from a host that crashed or a client that was killed.
    pub fn vanish(self) {
        self.stream.set_zero_linger().expect("SO_LINGER can be set");
    }

    /// Reads what there is; false at the end.
    async fn fill(&mut self) -> io::Result<bool> {
        Ok(within("the server to write", self.stream.read_buf(&mut self.buffer)).await? > 0)
    }

    fn split(&mut self, at: usize) -> String {
        let rest = self.buffer.split_off(at);
        let head = std::mem::replace(&mut self.buffer, rest);
        String::from_utf8_lossy(&head).into_owned()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
