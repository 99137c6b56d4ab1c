//! Changes one after the other, under load.
use super::{Configured, listening};
use http::StatusCode;
use sluicegate_testkit::client::{Answer, Http2, get};
use sluicegate_testkit::port::Reserved;
use sluicegate_testkit::upstream::Upstream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

const OK: StatusCode = StatusCode::OK;
const RELOADS: u32 = 50;
const REQUESTS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_1000_requests_under_50_changes_none_is_lost() {
    let upstream = Upstream::start();
    let (port, other) = (Reserved::new(), Reserved::new());
    let address = port.addr().to_string();
    let config = |generation: u32| {
        // Everything that may change does: places, a quota, and a second listener that comes and goes.
        let listener = format!("[[listener]]\naddress = \"{}\"\n", other.addr());
        let more = format!(
            "{}[limit.all]\nkey = \"client.ip\"\nquota = \"{}/s\"\n[queue.main]\nconcurrency = {}\nwaiting = 1000\n\
             [[route]]\nqueue = \"main\"\nlimits = [\"all\"]\n",
            if generation.is_multiple_of(2) { &listener } else { "" },
            1_000_000 + generation,
            2 + generation % 5,
        );
        listening(&address, &upstream, generation, &more)
    };
    let served = Configured::serve(&config(1)).await;
    let asked = Arc::new(AtomicUsize::new(0));
    // Each asks until all changes are made and all were asked.
    let reloaded = Arc::new(AtomicUsize::new(0));
    let more = {
        let (asked, reloaded) = (Arc::clone(&asked), Arc::clone(&reloaded));
        move || {
            let n = asked.fetch_add(1, Ordering::SeqCst);
            n < REQUESTS || reloaded.load(Ordering::SeqCst) < RELOADS as usize
        }
    };
    let mut clients = JoinSet::new();
    for kind in 0..6 {
        let (client, more) = (served.gateway.client(), more.clone());
        clients.spawn(async move {
            let mut served = 0;
            match kind % 3 {
                // A connection each, one for all, and one for all of HTTP/2.
                0 => {
                    while more() {
                        assert_eq!(client.get("/bytes/100").await.status, OK);
                        served += 1;
                    }
                }
                1 => {
                    let mut link = client.link().await.unwrap();
                    while more() {
                        let answer = link.send(get("/bytes/100")).await.expect("the connection lives");
                        assert_eq!(Answer::read(answer).await.unwrap().status, OK);
                        served += 1;
                    }
                }
                _ => {
                    let link = Http2::connect(client).await;
                    while more() {
                        assert_eq!(link.get("/bytes/100").await.status, OK);
                        served += 1;
                    }
                }
            }
            served
        });
    }
    for generation in 2..=RELOADS + 1 {
        served.change_to(&config(generation), generation).await;
        reloaded.fetch_add(1, Ordering::SeqCst);
    }
    let answered: usize = clients.join_all().await.into_iter().sum();
    assert!(answered >= REQUESTS, "{answered}");
    let seen = upstream.counters();
    assert_eq!((seen.finished, seen.aborted), (answered, 0));
    let metrics = served.gateway.metrics().await;
    assert_eq!(metrics.count("sluicegate_requests_total", &[]), answered as u64);
    assert_eq!(metrics.count("sluicegate_config_reloads_total", &[("result", "failed")]), 0);
    assert!(served.taken_on().await >= u64::from(RELOADS));
}
