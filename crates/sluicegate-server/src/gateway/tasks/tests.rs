//! Tasks that panic, in a whole gateway over real sockets.

use std::path::Path;

use sluicegate::supervise::{Spec, Ward};
use sluicegate_testkit::client::{Answer, Client, get};
use sluicegate_testkit::metrics::Metrics;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::{eventually, within};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::*;
use crate::config::parse;
use crate::gateway::workers::Workers;
use crate::gateway::{Broken, Gateway};

/// A gateway in front of `upstream`, with whatever else the configuration says.
fn start(upstream: &Upstream, more: &str) -> Gateway {
    let text = format!(
        "admin = '127.0.0.1:0'\nworkers = 1\n{more}\n[[listener]]\naddress = '127.0.0.1:0'\n\
         [upstream.default]\nurl = '{}'",
        upstream.url()
    );
    Gateway::start(parse(Path::new("gateway.toml"), &text).unwrap().settings).unwrap()
}

/// Has a task panic so many times, from when it is next at the place for that.
fn panics(gateway: &Gateway, task: Task, times: u64) {
    gateway.tasks().faults[task as usize].store(times, Ordering::Relaxed);
}

async fn until_restarted(gateway: &Gateway, task: Task, times: u64) {
    eventually("it to be started again", async || (gateway.tasks().restarts(task) == times).then_some(()))
        .await;
}

#[tokio::test]
async fn an_accept_loop_that_panics_loses_no_connection_and_goes_on() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let client = Client::new(gateway.address());
    let mut kept = client.link().await.unwrap();
    let asked =
        tokio::spawn(async move { Answer::read(kept.send(get("/gated")).await.unwrap()).await.unwrap() });
    upstream.until("it at the gate", |seen| seen.in_flight == 1).await;
    panics(&gateway, Task::Accept, 3);
    // Whoever comes sets the loop going: it panics when it has handed that one on, and at both restarts that follow.
    for n in 0..10 {
        assert_eq!(client.get("/").await.status, 200, "{n}");
    }
    assert_eq!(gateway.tasks().restarts(Task::Accept), 3);
    upstream.open_all();
    assert_eq!(asked.await.unwrap().status, 200, "who was connected has noticed nothing");
    let admin = Client::new(gateway.admin_address().unwrap());
    let metrics = Metrics::parse(&admin.get("/metrics").await.text());
    assert_eq!(metrics.count("sluicegate_task_restarts_total", &[("task", "accept")]), 3);
    gateway.drain(Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
async fn who_connects_while_it_drains_and_panics_is_served_all_the_same() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let client = Client::new(gateway.address());
    panics(&gateway, Task::Accept, 1);
    assert_eq!(client.get("/").await.status, 200);
    let asked = tokio::spawn(async move { client.get("/gated").await.status });
    upstream.until("it at the gate", |seen| seen.in_flight == 1).await;
    let drained = tokio::spawn(gateway.drain(Duration::from_secs(60)));
    upstream.open_all();
    assert_eq!(asked.await.unwrap(), 200);
    drained.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_can_be_done_without_is_tried_for_ever() {
    let upstream = Upstream::start();
    let file = std::env::temp_dir().join(format!("sluicegate-tasks-{}.redb", std::process::id()));
    let mut gateway = start(&upstream, &format!("store = 'disk:{}'", file.display()));
    let admin = Client::new(gateway.admin_address().unwrap());
    // More often than an accept loop may.
    for (task, times) in [(Task::Admin, 7), (Task::Sweep, 7), (Task::Tell, 1)] {
        panics(&gateway, task, times);
        while task == Task::Admin && gateway.tasks().restarts(task) < times {
            assert_eq!(admin.get("/healthz").await.status, 200);
        }
        until_restarted(&gateway, task, times).await;
    }
    assert_eq!(admin.get("/healthz").await.status, 200);
    assert_eq!(Client::new(gateway.address()).get("/").await.status, 200);
    assert!(futures_util::FutureExt::now_or_never(gateway.ended()).is_none());
    gateway.drain(Duration::from_secs(60)).await.unwrap();
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn an_accept_loop_that_fails_for_good_is_the_gateway_s_end() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream, "");
    panics(&gateway, Task::Accept, u64::MAX);
    let address = gateway.address();
    let asked = tokio::spawn(async move { Client::new(address).get("/").await.status });
    let broken = within("the end", gateway.ended()).await;
    assert_eq!(broken, Broken::Listener(address));
    assert_eq!(gateway.tasks().restarts(Task::Accept), 5);
    gateway.drain(Duration::from_secs(60)).await.unwrap();
    assert_eq!(asked.await.unwrap(), 200, "who has connected is served, as in every drain");
}

#[tokio::test]
async fn a_drained_gateway_leaves_no_task() {
    let upstream = Upstream::start();
    let file = std::env::temp_dir().join(format!("sluicegate-left-{}.redb", std::process::id()));
    let before = Handle::current().metrics().num_alive_tasks();
    let gateway = start(&upstream, &format!("store = 'disk:{}'", file.display()));
    {
        let admin = Client::new(gateway.admin_address().unwrap());
        assert_eq!(admin.get("/readyz").await.status, 200);
        assert_eq!(Client::new(gateway.address()).get("/").await.status, 200);
        assert!(Handle::current().metrics().num_alive_tasks() > before + 8, "stewards and their wards");
    }
    gateway.drain(Duration::from_secs(60)).await.unwrap();
    // The clients' and the upstream's end by themselves.
    eventually("all tasks to be gone", async || {
        (Handle::current().metrics().num_alive_tasks() <= before).then_some(())
    })
    .await;
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_thread_that_is_blocked_is_told_of_and_left() {
    let time = TokioTime::new();
    let workers = Workers::start(2).unwrap();
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let (tell, mut began) = mpsc::channel(1);
    workers.handles()[1].spawn(async move {
        tell.send(()).await.unwrap();
        // As a call does that blocks.
        let _ = held.recv();
    });
    began.recv().await.unwrap();
    let soon = sluicegate::cancel::CancelToken::expiring(time, 0);
    // The deadline has passed: whoever has ended by then counts as ended all the same.
    let left = within("an end in spite of it", workers.end(&soon)).await;
    assert!((1..=2).contains(&left), "{left}");
    drop(let_go);
}

#[tokio::test]
async fn a_connection_that_panics_is_counted() {
    let counts = Counts::default();
    let error = tokio::spawn(async { panic!("as a bug does") }).await.unwrap_err();
    counts.died(Passing::Connection, error);
    let aborted = tokio::spawn(std::future::pending::<()>());
    aborted.abort();
    counts.died(Passing::Request, aborted.await.unwrap_err());
    assert_eq!(Passing::ALL.map(|kind| counts.panics(kind)), [1, 0, 0]);
}

/// What a task has failed with is handed on: its ID finds it, and its causes are there.
#[tokio::test]
async fn a_task_s_own_failure_is_told_with_its_causes_and_its_id() {
    enum Disk {}
    impl Boundary for Disk {
        const NAME: &'static str = "disk";
    }
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let failure = FailureOf::<Disk>::bug("can't write").because(full());
    let (id, failure) = (failure.id(), std::sync::Mutex::new(Some(failure)));
    let (counts, told) = (Counts::default(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let heard = Arc::clone(&told);
    let settings = Settings::default().with_intensity(1, Duration::from_secs(60)).unwrap();
    let mut steward = Steward::new(settings, TokioTime::new()).with_report(move |report| {
        counts.told("here", report, |failure, level| {
            heard.lock().unwrap().push((failure.id(), level, failure.record()));
        });
    });
    let _ = steward.add(Spec::new(Task::Ledger.name()), move |_: Ward<()>| {
        let failed = failure.lock().unwrap().take();
        async move { failed.map_or(Ok(()), Err) }
    });
    let _ = within("its end", steward.run()).await;
    let told = told.lock().unwrap();
    let (told_id, level, record) = &told[0];
    assert_eq!((*told_id, *level), (id, Level::WARN));
    assert!(record.contains("because [bug] can't write"), "{record}");
    assert!(record.contains(&format!("because {}", full())), "{record}");
}

#[test]
fn names_are_told_apart() {
    for task in Task::ALL {
        assert_eq!(Task::named(task.name()), Some(task));
    }
}
