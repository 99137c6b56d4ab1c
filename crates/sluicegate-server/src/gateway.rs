//! The gateway: what stands in front of a service and keeps it standing. Built from nothing but the library.
//!
//! | module | holds |
//! | --- | --- |
//! | [`settings`] | what an operator can set |
//! | [`metrics`] | what is counted |
//! | [`activity`] | what a client connection waits for, and since when |
//! | [`body`] | bodies on their way, with what they hold |
//! | [`relay`] | a waker that leaves out what a task tells itself |
//! | [`upstream`] | connections to the service, kept alive |
//! | [`headers`] | what is stripped and added between client and service |
//! | [`limits`] | which limits a request meets |
//! | [`refusal`] | a request that is not served: one typed value, rendered once |
//! | [`wellformed`] | what a request must be to be passed on |
//! | [`request`] | the way of a request, in order |
//! | [`connection`] | one client connection and its timeouts |
//! | [`workers`] | the threads that serve |
//! | [`listener`] | sockets, the accept loop and draining |
//! | [`admin`] | health, readiness and metrics over HTTP |

pub mod activity;
pub mod admin;
pub mod body;
pub mod connection;
pub mod headers;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod refusal;
pub mod relay;
pub mod request;
pub mod settings;
pub mod upstream;
pub mod wellformed;
pub mod workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sluicegate::timer::TokioTime;

pub use listener::Unfinished;
pub use settings::{LimitRule, Settings, SettingsError};

use admin::Admin;
use listener::Listener;
use request::Shared;
use workers::Workers;

/// Why a gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting that can't be.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// An address that can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system gives no threads to serve with.
    #[error("can't start a thread to serve with: {0}")]
    Thread(#[source] std::io::Error),
}

/// A running gateway. Dropping it ends it at once; [`drain`](Self::drain) ends it well.
#[derive(Debug)]
pub struct Gateway {
    listener: Listener,
    admin: Option<Admin>,
    /// Last, so that what runs on them is asked to end before they are.
    workers: Workers,
}

impl Gateway {
    /// Listens on the tokio runtime this is called in, and serves on threads of its own.
    ///
    /// # Errors
    /// If a setting is wrong, or an address can't be listened on. Nothing is left running then.
    pub fn start(settings: Settings) -> Result<Self, ServeError> {
        let settings = settings.checked()?;
        let admin_address = settings.admin;
        let workers = Workers::start(settings.workers).map_err(ServeError::Thread)?;
        let shared = Arc::new(Shared::new(settings, TokioTime::new(), workers.len()));
        let listener = Listener::start(Arc::clone(&shared), &workers)?;
        let admin = admin_address.map(|address| Admin::start(address, shared)).transpose()?;
        Ok(Self { listener, admin, workers })
    }

    /// Where it serves. The port is the one that the operating system chose, if it was asked to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Where it serves its health and metrics, if it does.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Resolves if serving ends by itself, which is a bug. Cancel-safe.
    pub async fn ended(&mut self) {
        self.listener.ended().await;
    }

    /// Stops accepting, finishes what is in flight, and ends. Who is connected and silent is told to close with its
    /// next answer, or closed after half a second. What is not finished within `grace` is cut.
    ///
    /// # Errors
    /// How many connections were cut.
    pub async fn drain(self, grace: Duration) -> Result<(), Unfinished> {
        // The admin side answers "not ready" until the end.
        let Self { listener, admin, workers } = self;
        let drained = listener.drain(grace).await;
        drop((admin, workers));
        drained
    }
}
