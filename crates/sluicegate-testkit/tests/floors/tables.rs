//! Who stands where. The one place to edit when a crate or a module comes.
use crate::forbidden::{Rule, Rule::*};

/// A crate's place.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its name.
    pub(crate) name: &'static str,
    /// The crates of the workspace that it may import. As a dev-dependency it may also have [`TESTKIT`].
    pub(crate) imports: &'static [&'static str],
    /// Its modules from low to high: each may import those above it in this list. A module with `::` in its
    /// name is a submodule with a place of its own. None where the order is not held.
    pub(crate) modules: Option<&'static [&'static str]>,
    /// What it must not do.
    pub(crate) forbidden: &'static [Rule],
    /// Where it may all the same: a file and the beginning of a path, each with its reason.
    pub(crate) except: &'static [(&'static str, &'static str)],
}

/// Support for tests: only a dev-dependency, except of a crate that is nothing but measurements.
pub(crate) const TESTKIT: &str = "sluicegate-testkit";

const CORE: &str = "sluicegate-core";
const LIBRARY: &str = "sluicegate";

/// A library neither prints nor reads the environment: what it knows, it was told.
const QUIET: &[Rule] = &[Printing, Environment];

/// The crates, low to high.
pub(crate) const CRATES: &[Place] = &[
    Place {
        name: CORE,
        imports: &[],
        modules: Some(&[
            "sync",        // what threads share: std's, or loom's
            "clock",       // time, as a number
            "units",       // arithmetic that can't overflow
            "span",        // times as text
            "setting",     // why settings can't be
            "quota",       // how much, how fast
            "decision",    // yes, later, never
            "bucket",      // one quota's arithmetic
            "cell",        // the bucket's one atomic word
            "line",        // who is next
            "queue",       // what is admitted, what is shed
            "heaviest",    // who weighs most
            "pool",        // which buffers are kept
            "concurrency", // how many at once
            "deadline",    // until when
            "budget",      // how many more than were asked for
            "race",        // who starts, and when it is over
            "hedge",       // when to ask a second time
            "retry",       // when to ask again
            "throttle",    // when to refuse oneself
            "choice",      // whom to ask
            "breaker",     // when to stop asking
            "lease",       // tokens taken in advance
            "detector",    // whether somebody is alive
            "restart",     // when to start it again
            "shelf",       // what has ended and may be asked for
        ]),
        forbidden: &[Async, Io, Globals, Printing, Environment],
        except: &[
            ("clock.rs", "std::thread"),     // the coarse clock is a thread's work
            ("clock.rs", "std::io::Result"), // the operating system may refuse that thread
        ],
    },
    Place {
        name: LIBRARY,
        imports: &[CORE],
        modules: Some(&[
            "timer",      // the only sleep
            "wake",       // who waits for the same
            "safety",     // waits that never end
            "attendance", // who works in the background
            "numbers",    // a small one for each thread
            "counts",     // what has happened, nearly for nothing
            "begun",      // requests, counted beside a lock
            "limiter",    // a bucket behind a handle
            "striped",    // one bucket, many cores
            "all_of",     // several limits, one decision
            "keyed",      // a bucket a key
            "store",      // where buckets live
            "memory",     // the store in this process
            "outage",     // what to do when a store is away
            "lease",      // its tokens, taken in advance
            "io",         // readers and writers with a rate
            "pool",       // buffers, bounded
            "queue",      // work in front of workers
            "permits",    // the right to be in flight
            "cancel",     // deadlines, carried
            // What a panic says.
            "failure::panic",
            "rollback",   // halves, undone
            "fence",      // publishing, by one at a time
            "publish",    // one result of several
            "heartbeat",  // signs of life
            "supervise",  // restarts
            "idempotent", // what may be done twice
            "race",       // the first answer wins
            "hedge",      // a second request, within a budget
            "retry",      // another try, within a budget
            "throttle",   // what would be refused, refused here
            "failure",    // well-formed errors
            "contained",  // a panic that gets no further
            "operations", // what takes long, asked for later
            "workers",    // jobs, done by so many
            "pipeline",   // stages, one behind the other
            "guide",      // chapters, no code
        ]),
        forbidden: QUIET,
        except: &[],
    },
    Place {
        name: "sluicegate-tower",
        imports: &[CORE, LIBRARY],
        modules: Some(&[
            "refused",          // why a request was not passed on
            "admission",        // whether it has reached the service
            "drive",            // readies, calls, drives
            "cost",             // what a request costs
            "limit",            // what a rate limit asks
            "one_bucket",       // a limit for all
            "by_key",           // a limit for each
            "in_store",         // limits in a store
            "rate_limit",       // the layer that charges
            "async_rate_limit", // the same, once a store has answered
            "hold",             // how long an answer holds its permit
            "who",              // who asks for a permit
            "throttle",         // the layer that refuses what would be refused
            "queue",            // the layer with a line
            "due",              // when a request is late
            "deadline",         // the layer that gives up
            "again",            // what may be done twice, and how
            "judge",            // what a failure is
            "retry",            // the layer that tries again
            "hedge",            // the layer that asks a second time
            "http",             // bodies, answers, fields
            "guide",            // chapters, no code
        ]),
        forbidden: QUIET,
        except: &[],
    },
    Place {
        name: "sluicegate-redis",
        imports: &[CORE, LIBRARY],
        modules: Some(&[
            "numbers",    // a quota, as the script counts
            "names",      // what keys are called
            "settings",   // where Redis is
            "said",       // what the script says
            "job",        // what there is to do
            "script",     // the script's words
            "error",      // what an error means
            "connection", // as the client library has it
            "link",       // the way to Redis
            "driver",     // the task that talks
            "shared",     // the way to it
            "booking",    // tokens booked ahead
            "watch",      // until tokens are there
            "store",      // the store
            "fuzzed",     // what a reply is read as
            "guide",      // chapters, no code
        ]),
        forbidden: QUIET,
        except: &[],
    },
    Place {
        name: "sluicegate-disk",
        imports: &[CORE, LIBRARY],
        modules: None,
        forbidden: QUIET,
        except: &[],
    },
    Place {
        name: "sluicegate-server",
        imports: &[CORE, LIBRARY, "sluicegate-tower", "sluicegate-redis", "sluicegate-disk"],
        modules: Some(&[
            "flags",    // values of flags, as text
            "stores",   // from an address to a store
            "config",   // what an operator can set
            "gateway",  // a request's way
            "check",    // a configuration, looked at
            "explain",  // a request, followed on paper
            "load",     // the load generator
            "demo",     // both, shown
            "serve",    // the gateway as a process
            "commands", // one question to a store
            "cli",      // the arguments
            "guide",    // chapters, no code
        ]),
        forbidden: &[],
        except: &[],
    },
    Place { name: TESTKIT, imports: &[CORE, LIBRARY], modules: None, forbidden: &[], except: &[] },
    Place {
        name: "bench",
        imports: &[
            CORE,
            LIBRARY,
            "sluicegate-tower",
            "sluicegate-redis",
            "sluicegate-disk",
            "sluicegate-server",
            TESTKIT,
        ],
        modules: None,
        forbidden: &[],
        except: &[],
    },
    Place {
        name: "sluicegate-fuzz",
        imports: &[
            CORE,
            LIBRARY,
            "sluicegate-tower",
            "sluicegate-redis",
            "sluicegate-disk",
            "sluicegate-server",
        ],
        modules: None,
        forbidden: &[],
        except: &[],
    },
];
