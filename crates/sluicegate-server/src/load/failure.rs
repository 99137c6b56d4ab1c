//! Why a request got no answer: the kinds a load counts.

use std::error::Error as _;
use std::fmt;
use std::io;

/// Why a request got no answer. Each kind is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// Nobody listens at the address.
    ConnectRefused,
    /// The connection could not be opened for another reason: no route, a firewall, the network's own timeout.
    ConnectFailed,
    /// The peer cut the connection off (RST) before the answer was complete.
    Reset,
    /// The peer closed the connection before the answer was complete.
    Closed,
    /// What came back was not HTTP/1.1.
    InvalidAnswer,
    /// The client's time limit passed.
    Timeout,
    /// Not sent: every connection the plan allows was busy.
    NoConnection,
    /// Not sent: this process may open no more files.
    FileLimit,
    /// Not sent: this machine has no free local port towards the address.
    NoPort,
}

impl FailureKind {
    /// Whether the fault lies with the generator's own means, so that the load was not what was asked for.
    #[must_use]
    pub fn is_own(self) -> bool {
        matches!(self, Self::NoConnection | Self::FileLimit | Self::NoPort)
    }

    /// The kind of an error that opening a connection ended with.
    pub(super) fn of_connect(error: &io::Error) -> Self {
        /// EMFILE and ENFILE, which `io::ErrorKind` does not name; the same on every Unix.
        const FILE_LIMITS: [i32; 2] = [24, 23];
        if cfg!(unix) && error.raw_os_error().is_some_and(|code| FILE_LIMITS.contains(&code)) {
            return Self::FileLimit;
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectRefused,
            io::ErrorKind::ConnectionReset => Self::Reset,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::NoPort,
            _ => Self::ConnectFailed,
        }
    }

    /// The kind of an error that an exchange on an open connection ended with.
    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        if error.is_parse() {
            return Self::InvalidAnswer;
        }
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<io::Error>()
                && matches!(io.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            {
                return Self::Reset;
            }
            source = cause.source();
        }
        Self::Closed
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectRefused => "connection refused",
            Self::ConnectFailed => "connection failed",
            Self::Reset => "reset by peer",
            Self::Closed => "closed by peer",
            Self::InvalidAnswer => "not HTTP/1.1",
            Self::Timeout => "timed out",
            Self::NoConnection => "no connection free",
            Self::FileLimit => "file limit",
            Self::NoPort => "no local port",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_errors_have_their_kind() {
        let of = |kind: io::ErrorKind| FailureKind::of_connect(&kind.into());
        assert_eq!(of(io::ErrorKind::ConnectionRefused), FailureKind::ConnectRefused);
        assert_eq!(of(io::ErrorKind::AddrNotAvailable), FailureKind::NoPort);
        assert_eq!(of(io::ErrorKind::NetworkUnreachable), FailureKind::ConnectFailed);
        #[cfg(unix)]
        assert_eq!(FailureKind::of_connect(&io::Error::from_raw_os_error(24)), FailureKind::FileLimit);
    }
}
