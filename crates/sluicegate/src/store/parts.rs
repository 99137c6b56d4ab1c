//! What stores are made of, for whoever writes one: who waits for what somebody may put, and who says that it is there.

mod presence;
mod watchers;

pub use presence::Presence;
pub use watchers::{Seen, Watchers, Watching};
