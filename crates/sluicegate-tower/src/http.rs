//! What knows of HTTP: bodies that hold permits, refusals as answers, the fields that tell of limits.
//!
//! | module | holds |
//! | --- | --- |
//! | [`fields`] | `RateLimit`, `RateLimit-Policy` and the seconds of `Retry-After` |
//! | [`problem`] | a refusal as a response with a problem body |
//! | [`held`] | a body that holds a permit until it ends |
//! | [`answering`] | a layer that answers refusals, so that no error is left |
//! | [`again`] | which requests may be made more than once |
//! | [`judge`] | which responses are failures, and `Retry-After` |
//! | [`replay`] | request bodies that can be read again |
//! | [`deadline`] | how much time is left, carried from hop to hop |

pub mod again;
pub mod answering;
pub mod deadline;
pub mod fields;
pub mod held;
pub mod judge;
pub mod problem;
pub mod replay;
