//! A TCP port of 127.0.0.1 that stays reserved while nobody listens on it.
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpSocket};

/// Connections kept waiting by the kernel; above what any test opens at once.
const BACKLOG: u32 = 4096;

/// A port held by a bound socket that does not listen: a connection to it is refused, the kernel gives it to
/// nobody else, and whoever binds it by number with `SO_REUSEADDR` (every common server) can listen on it.
#[derive(Debug)]
pub struct Reserved {
    addr: SocketAddr,
    /// Never listens; holds the number.
    _holder: TcpSocket,
}

impl Reserved {
    /// Reserves a free port.
    #[must_use]
    pub fn new() -> Self {
        let holder = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let addr = holder.local_addr().expect("a bound socket has an address");
        Self { addr, _holder: holder }
    }

    /// The address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Listens on the port. Must be called inside a tokio runtime.
    #[must_use]
    pub fn listen(&self) -> TcpListener {
        bind(self.addr).listen(BACKLOG).expect("a reserved port can be listened on")
    }
}

impl Default for Reserved {
    fn default() -> Self {
        Self::new()
    }
}

fn bind(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_reuseaddr(true).expect("SO_REUSEADDR can be set");
    socket.bind(addr).expect("the address can be bound");
    socket
}
