//! Published results, reproduced in virtual time on the machines that are shipped. Each experiment says what was published, which
//! model brings that about, and what ours has to do in it. Everything is drawn from seeds, so a run is the same each time.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "test support: a failure here is a test's failure, times are small, and tables are printed"
)]

mod busy;
mod fan_out;
mod numbers;
mod tail;
