//! A question to a store.

use std::fmt;
use std::time::Duration;

use sluicegate::clock::nanos;
use sluicegate::decision::Decision;
use sluicegate::keyed::Decided;
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Limiter, Store, StoreError, StoreKey, Verdict};
use sluicegate::timer::Timer;

use super::Told;

/// What is asked of one key's bucket.
///
/// ```
/// use sluicegate::timer::TokioTime;
/// use sluicegate_server::commands::{Asked, Operation};
/// use sluicegate_server::stores::open;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = open(&"memory".parse()?)?;
/// let asked = Asked {
///     operation: Operation::TakeUpTo,
///     key: "ann".to_owned(),
///     space: "downloads".to_owned(),
///     quota: Some("stock 3".parse()?),
///     n: Some(5),
///     store: None,
///     timeout: None,
///     json: false,
/// };
/// let told = asked.ask(&store, TokioTime::new()).await?;
/// assert_eq!(told.to_string(), "granted 3 of 5, 0 of 3 left");
/// let told = asked.ask(&store, TokioTime::new()).await?;
/// assert_eq!((told.is_fine(), told.tokens), (false, Some(0)));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Asked {
    /// What is done.
    pub operation: Operation,
    /// Whose bucket.
    pub key: String,
    /// The name of the limit.
    pub space: String,
    /// How much the key may have; none where nothing is charged.
    pub quota: Option<Quota>,
    /// How many tokens; none where all are meant, or nothing is charged.
    pub n: Option<u64>,
    /// The address of the store, if a flag says it. It may hold a password.
    pub store: Option<String>,
    /// How long the store may take to answer.
    pub timeout: Option<Duration>,
    /// Whether the answer is told as JSON.
    pub json: bool,
}

/// But for the store's address, which may hold a password.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, key, space, quota, n, store: _, timeout, json } = self;
        let mut asked = f.debug_struct("Asked");
        asked.field("operation", operation).field("key", key).field("space", space).field("quota", quota);
        asked.field("n", n).field("timeout", timeout).field("json", json).finish_non_exhaustive()
    }
}

/// What is done with a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// All of the tokens or none, if they are there within a time.
    Take {
        /// The time; zero is now.
        wait: Duration,
    },
    /// As many as there are.
    TakeUpTo,
    /// All there are.
    TakeAll,
    /// Puts tokens.
    Put,
    /// What a take would say.
    Peek,
    /// Waits until they are there, and takes none.
    Watch {
        /// How long; none is for as long as it takes.
        wait: Option<Duration>,
    },
    /// As if never used.
    Reset,
}

impl Operation {
    /// The name of its command.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Take { .. } | Self::TakeUpTo | Self::TakeAll => "take",
            Self::Put => "put",
            Self::Peek => "peek",
            Self::Watch { .. } => "watch",
            Self::Reset => "reset",
        }
    }
}

impl Asked {
    /// Asks the store.
    ///
    /// Cancel-safe: dropped before it is ready, what was taken or booked is given back by the store.
    ///
    /// # Errors
    /// If the store has no answer.
    pub async fn ask<S: Store + Clone, T: Timer>(&self, store: &S, timer: T) -> Result<Told, StoreError> {
        let Some(quota) = self.quota else {
            store.reset(&self.space, self.key.as_bytes()).await?;
            return Ok(Told::done(self));
        };
        let n = self.n.unwrap_or(u64::MAX);
        let charge = Charge::new(&self.space, self.key.as_bytes(), &quota).of(n);
        match self.operation {
            Operation::Take { wait } => {
                let verdict = match wait.is_zero() {
                    true => store.take(&[charge]).await?,
                    false => {
                        let key = StoreKey::new(self.space.as_str(), self.key.as_bytes(), quota);
                        Limiter::new(store.clone(), timer, key)?.take_within(n, wait).await?
                    }
                };
                let taken = if verdict.is_granted() { n } else { 0 };
                Ok(Told::decided(self, Some(taken), &verdict))
            }
            Operation::Peek => Ok(Told::decided(self, None, &store.peek(&[charge]).await?)),
            Operation::Watch { wait } => {
                let decision = match wait {
                    None => Some(store.watch(charge).await?),
                    Some(wait) => tokio::select! {
                        biased;
                        decision = store.watch(charge) => Some(decision?),
                        () = timer.sleep_for(nanos(wait)) => None,
                    },
                };
                let verdict = match decision {
                    Some(decision) => Verdict::new(vec![decision]),
                    None => store.peek(&[charge]).await?,
                };
                Ok(Told::decided(self, None, &verdict))
            }
            Operation::TakeUpTo => Ok(self.taken(store, charge, store.take_up_to(charge).await?).await),
            Operation::TakeAll => Ok(self.taken(store, charge, store.take_all(charge).await?).await),
            Operation::Put => {
                let put = store.put(charge).await?;
                Ok(Told::put(self, put, stands(store, charge.of(0)).await))
            }
            Operation::Reset => Ok(Told::done(self)),
        }
    }

    /// So many were taken; where none were, it is told when there is one.
    async fn taken(&self, store: &impl Store, charge: Charge<'_>, taken: u64) -> Told {
        let is_refused = taken == 0 && charge.n > 0;
        let stands = stands(store, charge.of(u64::from(is_refused))).await;
        Told::some(self, taken, is_refused, stands)
    }
}

/// Where a bucket stands after what was done to it. What was done is, also if nobody can be told any more where that left it.
async fn stands(store: &impl Store, charge: Charge<'_>) -> Option<(Decision, Decided)> {
    store.peek(&[charge]).await.ok().map(|verdict| (verdict.decision, verdict.by))
}
