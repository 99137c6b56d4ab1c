//! Threads that serve connections: one a core, each with a runtime of its own.
//!
//! A connection stays on the thread it was given to, with its upstream connections, its timer and its wakes, so that
//! nothing is handed between cores while it is served, as it would be by a runtime that shares its tasks between
//! threads.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures_util::future::select_all;
use sluicegate::cancel::CancelToken;
use sluicegate::failure::FailureOf;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, watch};
use tracing::Level;

use super::refusal::Requests;

/// Threads with a runtime each. Dropped, they end what runs on them, and are joined.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
    /// Closed once the thread has done with its runtime.
    ended: watch::Receiver<()>,
}

impl Workers {
    /// Starts `count` of them, or one a core for 0.
    ///
    /// # Errors
    /// If the operating system gives no thread, or none that can wait for sockets.
    pub fn start(count: usize) -> io::Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = if count == 0 { cores() } else { count };
        // Where one fails, those before it are dropped, and so ended.
        let workers = (0..count).map(Worker::start).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { workers })
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether there are none, which does not happen.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Resolves if a thread ends by itself, which is a bug: its connections are gone, and it is not started again. Cancel-safe.
    pub async fn one_ended(&self) {
        let ended = self.workers.iter().map(|worker| Box::pin(worker.ended()));
        select_all(ended).await;
    }

    /// Ends what runs on them, and joins them. A thread that something blocks can't be stopped: where it has not ended by the
    /// deadline of `until`, it is left to the end of the process. How many those are is returned.
    pub async fn end(mut self, until: &CancelToken) -> usize {
        for worker in &self.workers {
            worker.stop.notify_one();
        }
        let mut left = 0;
        for worker in &mut self.workers {
            if until.run(worker.ended()).await.is_err() {
                // Not joined, then.
                drop(worker.thread.take());
                left += 1;
            }
        }
        left
    }

    /// What spawns on each, in order.
    #[must_use]
    pub fn handles(&self) -> Vec<Handle> {
        self.workers.iter().map(|worker| worker.handle.clone()).collect()
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, stop) = (runtime.handle().clone(), Arc::new(Notify::new()));
        let (stopped, (alive, ended)) = (Arc::clone(&stop), watch::channel(()));
        let thread = std::thread::Builder::new().name(format!("sluicegate-{number}")).spawn(move || {
            let _alive = alive;
            runtime.block_on(stopped.notified());
            // Not waiting for a name that is being looked up on a thread of tokio's own.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, stop, thread: Some(thread), ended })
    }

    async fn ended(&self) {
        // An error: the thread has dropped the other end.
        while self.ended.clone().changed().await.is_ok() {}
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Remembered if the thread has not come to wait for it yet.
        self.stop.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            // Tasks that panic do not end the thread; if it ended otherwise, what ran on it is gone all the same.
            FailureOf::<Requests>::bug("a worker thread died").log(Level::ERROR);
        }
    }
}
