//! The flags of the commands that ask a store.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use sluicegate::quota::Quota;

use super::{Asked, Operation};
use crate::flags::{duration, timeout};

/// Text that may hold a password: it is read later, where errors don't repeat it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl FromStr for Hidden {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// Which bucket, and how it is asked.
#[derive(Debug, Args)]
pub struct Where {
    /// Whose tokens: any text
    #[arg(value_name = "KEY")]
    pub key: String,
    /// The name of the limit: the same key in two spaces is two keys
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub space: String,
    /// Where the quota lives: disk:PATH, redis://HOST:PORT, rediss://… (TLS) or redis+cluster://HOST:PORT,HOST:PORT; if
    /// not said, what SLUICEGATE_STORE in the environment says, where no list of processes shows a password
    #[arg(long, value_name = "ADDRESS")]
    pub store: Option<Hidden>,
    /// How long the store may take to answer [default: 1s, or what the address says]
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub timeout: Option<Duration>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

const CODES: &str = "Exit codes: 0 granted or done, 1 refused, 2 wrong usage, 3 the store has no answer, 130 and 143 \
                     interrupted by SIGINT or SIGTERM (what was taken is given back).";

/// Flags of `take`.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct TakeArgs {
    /// Which bucket.
    #[command(flatten)]
    pub place: Where,
    /// How much the key may have, such as `10/m`, `5/s burst 20` or `stock 100`
    #[arg(long, value_name = "QUOTA")]
    pub quota: Quota,
    /// How many tokens
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub n: u64,
    /// Wait for the tokens, if they come within this; a wait that would take longer is refused at once
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub wait: Option<Duration>,
    /// Take fewer than N where there are fewer; refused only if there are none
    #[arg(long, conflicts_with = "wait")]
    pub up_to: bool,
    /// Take all there are; refused only if there are none
    #[arg(long, conflicts_with_all = ["wait", "up_to", "n"])]
    pub all: bool,
}

/// Flags of `put`.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct PutArgs {
    /// Which bucket.
    #[command(flatten)]
    pub place: Where,
    /// How much the key may have; what is beyond it is not put
    #[arg(long, value_name = "QUOTA")]
    pub quota: Quota,
    /// How many tokens
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub n: u64,
}

/// Flags of `peek`.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct PeekArgs {
    /// Which bucket.
    #[command(flatten)]
    pub place: Where,
    /// How much the key may have, such as `10/m`, `5/s burst 20` or `stock 100`
    #[arg(long, value_name = "QUOTA")]
    pub quota: Quota,
    /// How many tokens
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub n: u64,
}

/// Flags of `watch`.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct WatchArgs {
    /// Which bucket.
    #[command(flatten)]
    pub place: Where,
    /// How much the key may have, such as `10/m`, `5/s burst 20` or `stock 100`
    #[arg(long, value_name = "QUOTA")]
    pub quota: Quota,
    /// How many tokens
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub n: u64,
    /// How long to watch; without, until they are there
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub wait: Option<Duration>,
}

/// Flags of `reset`.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct ResetArgs {
    /// Which bucket.
    #[command(flatten)]
    pub place: Where,
}

impl Where {
    fn asks(self, operation: Operation, quota: Option<Quota>, n: Option<u64>) -> Asked {
        let store = self.store.map(|Hidden(text)| text);
        let Self { key, space, timeout, json, .. } = self;
        Asked { operation, key, space, quota, n, store, timeout, json }
    }
}

impl From<TakeArgs> for Asked {
    fn from(args: TakeArgs) -> Self {
        let (operation, n) = match (args.all, args.up_to) {
            (true, _) => (Operation::TakeAll, None),
            (_, true) => (Operation::TakeUpTo, Some(args.n)),
            _ => (Operation::Take { wait: args.wait.unwrap_or_default() }, Some(args.n)),
        };
        args.place.asks(operation, Some(args.quota), n)
    }
}

impl From<PutArgs> for Asked {
    fn from(args: PutArgs) -> Self {
        args.place.asks(Operation::Put, Some(args.quota), Some(args.n))
    }
}

impl From<PeekArgs> for Asked {
    fn from(args: PeekArgs) -> Self {
        args.place.asks(Operation::Peek, Some(args.quota), Some(args.n))
    }
}

impl From<WatchArgs> for Asked {
    fn from(args: WatchArgs) -> Self {
        args.place.asks(Operation::Watch { wait: args.wait }, Some(args.quota), Some(args.n))
    }
}

impl From<ResetArgs> for Asked {
    fn from(args: ResetArgs) -> Self {
        args.place.asks(Operation::Reset, None, None)
    }
}
