//! A network between stores and a server that can be cut, or made slow.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Forwards all connections to a server. Its threads end with their connections.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    network: Arc<Network>,
}

#[derive(Default)]
struct Network {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Whether bytes get nowhere; nobody is told.
    is_cut: bool,
    /// How long they take.
    delay: Duration,
}

impl Network {
    /// Waits until bytes may go on.
    #[expect(clippy::disallowed_methods, reason = "this is a slow network")]
    fn pass(&self) {
        let state = self.state.lock().expect("no panic");
        let state = self.changed.wait_while(state, |state| state.is_cut).expect("no panic");
        let delay = state.delay;
        drop(state);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
    }
}

impl Proxy {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let own = listener.local_addr().expect("a bound socket").port();
        let network = Arc::new(Network::default());
        let shared = Arc::clone(&network);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) =
                    (client, TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))))
                else {
                    continue;
                };
                let other = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                for (from, to) in [(client, server), (other.1, other.0)] {
                    let network = Arc::clone(&shared);
                    std::thread::spawn(move || forward(from, to, &network));
                }
            }
        });
        Self { port: own, network }
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.network.state.lock().expect("no panic").is_cut = is_cut;
        self.network.changed.notify_all();
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.network.state.lock().expect("no panic").delay = delay;
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, network: &Network) {
    let mut bytes = [0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        network.pass();
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // Either may be gone already.
    drop(to.shutdown(std::net::Shutdown::Both));
    drop(from.shutdown(std::net::Shutdown::Both));
}
