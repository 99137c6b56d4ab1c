//! Published results, reproduced in virtual time on the machines that are shipped, with a few seeds. Each experiment says what ours has
//! to do; what was published, and which model brings that about, is said by [the lab](sluicegate_testkit::lab).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: what fails here is the test, and tables are printed"
)]

mod busy;
mod fan_out;
mod overload;
mod tail;
