//! Bodies that are read again, beside a model that keeps everything.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test support: a failure here is a test's failure")]

mod cases;
mod fed;
mod model;
