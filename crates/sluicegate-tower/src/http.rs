//! What knows of HTTP: bodies that hold permits, refusals as answers, the fields that tell of limits.
//!
//! | module | holds |
//! | --- | --- |
//! | [`fields`] | `RateLimit`, `RateLimit-Policy` and the seconds of `Retry-After` |
//! | [`problem`] | a refusal as a response with a problem body |
//! | [`held`] | a body that holds a permit until it ends |
//! | [`answering`] | a layer that answers refusals, so that no error is left |

pub mod answering;
pub mod fields;
pub mod held;
pub mod problem;
