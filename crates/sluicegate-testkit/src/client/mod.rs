//! Clients: [`Client`] for ordinary requests, [`Http2`] for many at once over one connection, [`Raw`] for a socket in a
//! test's own hands, and [`frames`] for the same in HTTP/2.
pub mod frames;
mod http;
mod http2;
mod raw;

pub use self::http::{Answer, Client, Link, Problem, get, request};
pub use self::http2::{Http2, handshake};
pub use self::raw::{Ending, Raw};
