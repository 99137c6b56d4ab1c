//! A connection that has changed protocols: bytes go both ways, and nobody looks at them, but to count
//! them where a limit does.

use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use sluicegate::permits::Permit;

use super::activity::Busy;
use super::body::Switched;
use super::counted::Counted;
use super::socket::Socket;

/// A connection that changes protocols as soon as its answer is written. It counts as one request in flight until it ends.
#[derive(Debug)]
pub struct Tunnel {
    /// Both sides.
    pub switched: Switched,
    /// The place at the upstream.
    pub permit: Option<Permit>,
    /// Has the client's connection count as busy.
    pub busy: Busy,
}

/// Why a tunnel ended early.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The client's connection could not be had.
    #[error("the client's connection does not change: {0}")]
    Upgrade(#[source] hyper::Error),
    /// One side broke off.
    #[error("one side broke off: {0}")]
    Broken(#[source] io::Error),
}

impl Tunnel {
    /// Passes on bytes until both sides have ended. Dropping it closes both connections and gives back its place.
    ///
    /// # Errors
    /// If one side breaks off.
    pub async fn run(self) -> Result<(), TunnelError> {
        let Self { switched: Switched { upgrade, upstream, gauges, place: _place }, permit: _permit, busy } =
            self;
        let (socket, ahead) = upstream;
        let mut client = TokioIo::new(upgrade.await.map_err(TunnelError::Upgrade)?);
        let activity = busy.activity();
        activity.may_be_quiet();
        activity.reply_body(true);
        // What either side sends is a sign of life, noted by the sockets.
        let upstream = Socket::of_service(socket, ahead, Arc::clone(activity));
        let mut upstream = Counted::new(upstream, gauges);
        let copied = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
        copied.map(|_| ()).map_err(TunnelError::Broken)
    }
}
