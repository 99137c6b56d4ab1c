//! An early end that still cleans up: SIGINT and SIGTERM set a flag, every wait looks at it, and what was started is
//! dropped on the way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::error::Error;

/// Whether somebody asked for an early end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that SIGINT or SIGTERM sets from now on, in place of ending the process.
    pub(crate) fn on_signals() -> Result<Self, Error> {
        let stop = Self::default();
        let flag = Arc::clone(&stop.0);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(Error::io("starting the signals' runtime"))?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            let listen = |kind| signal(kind).map_err(Error::io("listening for signals"));
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?)
        };
        let wait = move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
            });
            flag.store(true, Ordering::Relaxed);
        };
        // Not joined: it waits for a signal, and ends with the process where none comes.
        thread::Builder::new()
            .name("signals".into())
            .spawn(wait)
            .map_err(Error::io("starting the signals' thread"))?;
        Ok(stop)
    }

    /// An error once an early end was asked for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Tries `ready` up to `attempts` times, `every` apart, until it answers; `Ok(None)` when it never did.
    ///
    /// Counts attempts, not time, so it needs no clock; a wait is thereby at least `attempts * every` long.
    pub(crate) fn poll<T>(
        &self,
        attempts: u32,
        every: Duration,
        mut ready: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        for _ in 0..attempts {
            self.check()?;
            if let Some(answer) = ready()? {
                return Ok(Some(answer));
            }
            thread::park_timeout(every);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_bounded_and_ends_at_the_first_answer() {
        let mut asked = 0;
        let mut ask = |answer_at| {
            asked = 0;
            let answer = Stop::default().poll(5, Duration::ZERO, || {
                asked += 1;
                Ok((asked == answer_at).then_some(asked))
            });
            (answer.unwrap(), asked)
        };
        assert_eq!(ask(3), (Some(3), 3));
        assert_eq!(ask(9), (None, 5));
    }

    #[test]
    fn a_stop_ends_a_wait() {
        let stop = Stop::default();
        stop.0.store(true, Ordering::Relaxed);
        let answer = stop.poll(5, Duration::ZERO, || Ok(Some(())));
        assert!(matches!(answer, Err(Error::Interrupted)));
    }
}
