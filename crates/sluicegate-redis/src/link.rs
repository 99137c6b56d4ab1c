//! The connection: made when it is first needed, and again when it has broken.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use redis::{Cmd, RedisError, Value};
use sluicegate::clock::{Clock, nanos};
use sluicegate::store::StoreError;
use sluicegate::store::parts::Watchers;
use sluicegate::timer::{Timer, TokioTime};
use tokio::sync::Mutex;

use crate::connection::Connection;
use crate::error::{Failed, away, of};
use crate::job::Beat;
use crate::script::{Call, Given, Scripts, Text};
use crate::settings::Settings;

/// How long Redis is left alone after it could not be reached: first, and at the most.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a node that is not the right one, or not ready, is given.
const MOMENT: Duration = Duration::from_millis(10);

/// After how many failed calls in a row for the same slot a Cluster's nodes are asked anew who has which.
const MEND_AFTER: u32 = 2;

/// A test's time, in microseconds.
pub(crate) type TestTime = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The way to Redis.
pub(crate) struct Link {
    settings: Arc<Settings>,
    watchers: Arc<Watchers<Vec<u8>>>,
    time: TokioTime,
    test_time: Option<TestTime>,
    scripts: Scripts,
    state: Mutex<State>,
    /// Slots of a Cluster that could not be asked, and how often in a row.
    failing: std::sync::Mutex<HashMap<u16, u32>>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    made: u64,
    /// How often in a row it could not be reached, and until when it is left alone.
    failures: u32,
    not_before: u64,
}

/// A connection that works, as far as is known.
#[derive(Clone)]
struct Live {
    connection: Connection,
    /// When all buckets began, in microseconds; 0 if the node of a Cluster that knows could not be asked.
    epoch: u64,
    /// The how manieth it is.
    number: u64,
    /// Whether it has told that it has ended.
    has_ended: Arc<AtomicBool>,
}

impl Link {
    pub(crate) fn new(
        settings: Arc<Settings>,
        watchers: Arc<Watchers<Vec<u8>>>,
        test_time: Option<TestTime>,
    ) -> Self {
        let scripts = Scripts::new(test_time.is_some());
        let (state, failing) = (Mutex::default(), std::sync::Mutex::default());
        Self { settings, watchers, time: TokioTime::new(), test_time, scripts, state, failing }
    }

    /// Has the script decide.
    pub(crate) async fn call(&self, call: &Call, slot: u16) -> Result<Value, StoreError> {
        self.run(&self.scripts.buckets, |given| call.command(given), slot, call.needs_epoch()).await
    }

    /// Says that an instance is there.
    pub(crate) async fn beat(&self, beat: &Beat, slot: u16) -> Result<Value, StoreError> {
        self.run(&self.scripts.presence, |given| beat.command(given), slot, false).await
    }

    /// Runs a script. What is not done because a node was not the right one is asked again, for as long as the timeout.
    async fn run(
        &self,
        script: &Text,
        command: impl Fn(Given<'_>) -> Cmd + Send,
        slot: u16,
        needs_epoch: bool,
    ) -> Result<Value, StoreError> {
        let until = self.time.now().saturating_add(nanos(self.settings.timeout));
        let mut elsewhere: Option<String> = None;
        let mut is_known = true;
        loop {
            let mut live = self.live().await?;
            let now = self.test_time.as_ref().map(|time| time());
            if live.epoch == 0 && needs_epoch {
                live.epoch = self.epoch(&mut live.connection).await?;
            }
            let (name, text) = if is_known { ("EVALSHA", &*script.hash) } else { ("EVAL", script.text) };
            let (epoch, publish) = (live.epoch, live.connection.publish());
            let command = command(Given { command: name, script: text, now, epoch, publish });
            let answer = match elsewhere.take() {
                Some(address) => live.connection.run_at(&command, &address).await,
                None => live.connection.run(&command).await,
            };
            let error = match answer {
                Ok(value) => {
                    self.failing().remove(&slot);
                    return Ok(value);
                }
                Err(error) => error,
            };
            match of(error, &self.settings) {
                Failed::NoScript => is_known = false,
                Failed::Elsewhere(error) => {
                    let is_over = self.time.now().saturating_add(nanos(MOMENT)) >= until;
                    if is_over || !self.settings.names.is_cluster {
                        self.failed(live.number, slot).await;
                        return Err(away(error));
                    }
                    if error.code() == Some("ASK") {
                        elsewhere = error.redirect_node().map(|(address, _)| address.to_owned());
                    } else {
                        self.time.sleep_for(nanos(MOMENT)).await;
                    }
                }
                Failed::Connection(error) => {
                    self.failed(live.number, slot).await;
                    return Err(error);
                }
                Failed::Refused(error) => return Err(error),
            }
        }
    }

    fn failing(&self) -> std::sync::MutexGuard<'_, HashMap<u16, u32>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call has failed. One connection is of no more use then; those to a Cluster's nodes are mended one by one, as a rule.
    async fn failed(&self, number: u64, slot: u16) {
        if self.settings.names.is_cluster {
            *self.failing().entry(slot).or_default() += 1;
        } else {
            self.discard(number).await;
        }
    }

    /// Learns anew who has which slot, where one could not be asked again and again: a node that is frozen says nothing of
    /// whoever has taken its place. Meanwhile the others are asked as before.
    pub(crate) async fn mend(&self, slot: u16) {
        if self.failing().get(&slot).is_none_or(|failures| *failures < MEND_AFTER) {
            return;
        }
        self.failing().remove(&slot);
        let (number, made) = {
            let state = self.state.lock().await;
            let Some(live) = &state.live else { return };
            (live.number, state.made)
        };
        if let Some(Ok(live)) = self.within(self.settings.connect_timeout, self.connect(made)).await {
            let mut state = self.state.lock().await;
            if state.live.as_ref().is_some_and(|live| live.number == number) {
                state.made += 1;
                state.live = Some(live);
            }
        }
    }

    /// Whether it answers: every master does, in a Cluster.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        let mut live = self.live().await?;
        match live.connection.run(&redis::cmd("PING")).await {
            Ok(_) => Ok(()),
            Err(error) => match of(error, &self.settings) {
                Failed::Elsewhere(error) => Err(away(error)),
                Failed::Refused(error) => Err(error),
                Failed::Connection(error) => {
                    if !self.settings.names.is_cluster {
                        self.discard(live.number).await;
                    }
                    Err(error)
                }
                Failed::NoScript => Ok(()),
            },
        }
    }

    /// Has this key's channel be listened to. One that may not is told nothing, and looks again by and by.
    pub(crate) async fn watch(&self, name: Vec<u8>) -> Result<(), StoreError> {
        let mut live = self.live().await?;
        if let Err(error) = live.connection.subscribe(&[name]).await
            && let Failed::Connection(error) = of(error, &self.settings)
            && !self.settings.names.is_cluster
        {
            self.discard(live.number).await;
            return Err(error);
        }
        Ok(())
    }

    /// No longer, unless somebody watches again.
    pub(crate) async fn unwatch(&self, name: &[u8]) {
        let live = self.state.lock().await.live.clone();
        if let Some(mut live) = live
            && !self.watchers.has(name)
        {
            // If it is not heard, some messages more come that nobody waits for.
            drop(live.connection.unsubscribe(name).await);
        }
    }

    /// This connection has broken: the next that is needed is a new one.
    async fn discard(&self, number: u64) {
        let mut state = self.state.lock().await;
        if state.live.as_ref().is_some_and(|live| live.number == number) {
            state.live = None;
        }
    }

    /// The connection; made if there is none. Whoever else wants it waits meanwhile.
    async fn live(&self) -> Result<Live, StoreError> {
        let mut state = self.state.lock().await;
        if let Some(live) = &state.live
            && !live.has_ended.load(Ordering::Acquire)
        {
            return Ok(live.clone());
        }
        if self.time.now() < state.not_before {
            return Err(StoreError::Away { cause: None });
        }
        let late = StoreError::Timeout { after: self.settings.connect_timeout };
        let made = self.within(self.settings.connect_timeout, self.connect(state.made)).await;
        match made.unwrap_or(Err(StoreError::Away { cause: Some(Arc::new(late)) })) {
            Ok(live) => {
                (state.failures, state.not_before) = (0, 0);
                state.made += 1;
                state.live = Some(live.clone());
                drop(state);
                // What came while nobody listened.
                self.watchers.wake_all();
                Ok(live)
            }
            Err(error) => {
                let pause = PAUSE.saturating_mul(1 << state.failures.min(8)).min(PAUSE_MAX);
                state.failures += 1;
                state.not_before = self.time.now().saturating_add(nanos(pause));
                Err(error)
            }
        }
    }

    async fn connect(&self, number: u64) -> Result<Live, StoreError> {
        let has_ended = Arc::new(AtomicBool::new(false));
        let opened = Connection::open(&self.settings, &self.watchers, Arc::clone(&has_ended)).await;
        let mut connection = opened.map_err(|error| self.unreachable(error))?;
        let epoch = match self.epoch(&mut connection).await {
            // A node that is away must not keep the others.
            Err(StoreError::Away { .. }) if self.settings.names.is_cluster => 0,
            epoch => epoch?,
        };
        let names = self.watchers.keys();
        if !names.is_empty() {
            // Who may not subscribe looks again by and by.
            drop(connection.subscribe(&names).await);
        }
        Ok(Live { connection, epoch, number, has_ended })
    }

    /// When all buckets began: now, if nobody has come before.
    async fn epoch(&self, connection: &mut Connection) -> Result<u64, StoreError> {
        let key = self.settings.names.epoch();
        let mut ask = async |command: &Cmd| connection.run(command).await;
        let asked = async {
            let epoch = ask(redis::cmd("GET").arg(&key)).await?;
            if epoch != Value::Nil {
                return Ok(epoch);
            }
            let now = match &self.test_time {
                Some(time) => time(),
                None => {
                    let (seconds, micros): (u64, u64) =
                        redis::from_redis_value(ask(&redis::cmd("TIME")).await?)?;
                    seconds.saturating_mul(1_000_000).saturating_add(micros)
                }
            };
            // Whoever was first.
            ask(redis::cmd("SET").arg(&key).arg(now).arg("NX")).await?;
            ask(redis::cmd("GET").arg(&key)).await
        };
        let epoch = asked.await.map_err(|error| self.unreachable(error))?;
        let what = "no instant".to_owned();
        redis::from_redis_value(epoch).map_err(|_| StoreError::Foreign { name: key.clone(), what })
    }

    /// Why there is no connection.
    fn unreachable(&self, error: RedisError) -> StoreError {
        match of(error, &self.settings) {
            Failed::Refused(error @ StoreError::Broken { .. }) => error,
            Failed::Elsewhere(error) => away(error),
            Failed::NoScript => StoreError::Away { cause: None },
            Failed::Refused(error) | Failed::Connection(error) => match error {
                StoreError::Lost { cause } => StoreError::Away { cause: Some(cause) },
                error @ StoreError::Timeout { .. } => StoreError::Away { cause: Some(Arc::new(error)) },
                error => error,
            },
        }
    }

    /// What comes of it within a time; none where it takes longer.
    async fn within<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        let (mut future, mut late) = (pin!(future), pin!(self.time.sleep_for(nanos(time))));
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => late.as_mut().poll(context).map(|()| None),
        })
        .await
    }
}
