//! Published results, reproduced in virtual time on the machines that are shipped. Each experiment says what was published, and which
//! model brings that about. Everything is drawn from seeds, so a run is the same each time. The tests run them with a few seeds
//! and say what ours has to do; `bench tail` and `bench overload` print them with many, beside peers.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are small, and not negative"
)]

pub mod busy;
pub mod fan_out;
pub mod numbers;
pub mod overload;
pub mod tail;
