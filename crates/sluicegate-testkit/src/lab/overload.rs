//! Overloads: servers, a door before them, and clients who come whatever becomes of others, in virtual time.
//!
//! What decides is shipped: a [`Gate`](door::Gate) is the library's permits on the lab's time, and clients that try again are driven by
//! `retry` and `throttle`. The lab only has servers, clients and a clock. A peer's door comes from
//! outside, as a [`Peer`].
//!
//! An [`Experiment`] runs each subject once a seed and answers with readings; from those of all seeds [`tables`](Measure) and charts are
//! made, by the tests with a few seeds and by `bench overload` with many.

pub mod burst;
pub mod clients;
pub mod collapse;
pub mod door;
mod experiment;
pub mod learned;
pub mod play;
pub mod probing;
pub mod rounds;
pub mod service;
pub mod standing;
pub mod step;
pub mod tasks;

pub use experiment::{About, Axis, Bound, Experiment, Hand, Measure, OURS, Peer, Published, Reading, Shape};

/// A second, in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
/// A millisecond, in nanoseconds.
pub const MILLI: u64 = 1_000_000;
