//! What threads share: atomics, locks and reference counts, for the shells here and in the library.
//!
//! These are std's. Compiled with `--cfg sluicegate_loom` they are those of `loom`, which runs a test once for every
//! interleaving and for every value the memory model lets a load see: so the models in each crate's `tests/loom` run
//! the very code that is shipped. The flag has a name of its own since tokio takes `--cfg loom` as meant for itself.

#[cfg(not(sluicegate_loom))]
pub use std::sync::{Arc, Mutex, MutexGuard, atomic};

#[cfg(sluicegate_loom)]
pub use loom::sync::{Arc, Mutex, MutexGuard, atomic};

pub use std::sync::PoisonError;
