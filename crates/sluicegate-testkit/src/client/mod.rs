//! Clients: [`Client`] for ordinary requests, [`Raw`] for a socket in a test's own hands.
mod http;
mod raw;

pub use self::http::{Answer, Client, Link, Problem, get, request};
pub use self::raw::{Ending, Raw};
