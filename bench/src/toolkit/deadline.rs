//! Whether to stop: asked, and put around work.

use std::time::Duration;

use sluicegate::cancel::{CancelToken, Checkpoints};
use sluicegate::clock::Clock;
use sluicegate::timer::TokioTime;
use tokio::time::{Instant, Timeout};
use tokio_util::sync::CancellationToken;

use super::work::{When, Work};
use super::{NO_DEARER, Subject};

/// It does not come while this is measured.
const FAR: Duration = Duration::from_secs(3600);

const TOKEN: &str = "CancellationToken and Instant";

pub(super) fn subjects() -> Vec<Subject> {
    let time = TokioTime::new();
    let at = time.now().saturating_add(3_600_000_000_000);
    let root = CancelToken::expiring(time, at);
    let mut all = Vec::new();

    let plain = CancelToken::new(time);
    all.push(Subject::new("is it cancelled", move || plain.cause().is_none()));
    let theirs = CancellationToken::new();
    let peer = Subject::new("is it cancelled", move || !theirs.is_cancelled());
    all.push(peer.of("CancellationToken", NO_DEARER));

    // A request's token below the server's, and a query's below that.
    let check = "a deadline check, third level";
    let token = root.child().child();
    all.push(Subject::new(check, move || token.cause().is_none()));
    all.push(Subject::new(check, theirs_at_third_level()).of(TOKEN, NO_DEARER));

    let checkpoint = "a checkpoint, third level";
    let mut checkpoints = Checkpoints::new(root.child().child());
    all.push(Subject::new(checkpoint, move || checkpoints.pass().is_ok()));
    all.push(Subject::new(checkpoint, theirs_at_third_level()).of(TOKEN, NO_DEARER));

    for when in When::BOTH {
        let case = format!("a deadline around work, {}", when.text());
        let token = root.clone();
        all.push(Subject::waiting(&case, async move || token.run(when.work(7)).await == Ok(Ok(7))));
        let deadline = far();
        let peer = Subject::waiting(&case, async move || by(deadline, when.work(7)).await == Ok(Ok(7)));
        all.push(peer.of("tokio's timeout_at", NO_DEARER));
        let (deadline, token) = (far(), CancellationToken::new());
        let peer = Subject::waiting(&case, async move || {
            token.run_until_cancelled(by(deadline, when.work(7))).await == Some(Ok(Ok(7)))
        });
        all.push(peer.of("timeout_at in run_until_cancelled", NO_DEARER));
    }
    all
}

fn theirs_at_third_level() -> impl FnMut() -> bool {
    let (token, deadline) = (CancellationToken::new().child_token().child_token(), far());
    move || !token.is_cancelled() && now() < deadline
}

#[expect(clippy::disallowed_methods, reason = "a peer")]
fn by(deadline: Instant, work: Work) -> Timeout<Work> {
    tokio::time::timeout_at(deadline, work)
}

#[expect(clippy::disallowed_methods, reason = "a peer's clock")]
fn now() -> Instant {
    Instant::now()
}

fn far() -> Instant {
    now() + FAR
}
