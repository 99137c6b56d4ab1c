//! What scenarios with tasks wait for.

use tokio::runtime::Handle;
use tokio::task::yield_now;

/// Lets all tasks go on for as long as they can.
pub(crate) async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// Until so many tasks are left: aborted ones are dropped when the runtime comes to it.
pub(crate) async fn tasks_are(count: usize) {
    while Handle::current().metrics().num_alive_tasks() > count {
        yield_now().await;
    }
}
