//! Places that are taken, and those of them that nothing is sent from.

use super::*;
use crate::config::settings::UpstreamSettings;

/// It could not be reached once, and is avoided no more.
async fn recovered(time: TokioTime) -> (Group, Standing) {
    let standing = Standing(Arc::new(Mutex::new(Server::new(Duration::ZERO))));
    standing.lock().unreachable(0);
    tokio::time::advance(Duration::from_millis(1)).await;
    let upstream = Upstream::new(UpstreamSettings::default(), standing.clone(), time, 1);
    (Group::new(vec![upstream], time), standing)
}

#[tokio::test(start_paused = true)]
async fn a_place_that_nothing_is_sent_from_leaves_it_to_the_next_to_see_whether_an_upstream_is_back() {
    let (group, standing) = recovered(TokioTime::new()).await;
    let before = *standing.lock();
    let (_, _, place) = group.enter(&[], &[]).unwrap();
    assert_ne!(*standing.lock(), before, "it is to see");
    drop(place);
    assert_eq!(*standing.lock(), before, "it has not seen");
    // From this one something was sent, and nobody knows.
    let (_, _, mut place) = group.enter(&[], &[]).unwrap();
    place.begin();
    drop(place);
    assert_ne!(*standing.lock(), before);
}
