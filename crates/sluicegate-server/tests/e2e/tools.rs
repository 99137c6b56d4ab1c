//! `sluicegate load` and `sluicegate demo`, as commands.
use crate::SLUICEGATE;
use serde::Deserialize;
use sluicegate_testkit::process::{Ended, run};
use sluicegate_testkit::upstream::Upstream;
use std::collections::BTreeMap;

/// What a load's report says of counts; the names are a promise.
#[derive(Debug, Deserialize)]
struct Report {
    offered: u64,
    good: u64,
    goodput: f64,
    late: u64,
    refused: u64,
    unfinished: u64,
    body_bytes: u64,
    connections_opened: u64,
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<String, u64>,
    latency: Latency,
}

#[derive(Debug, Deserialize)]
struct Latency {
    good: Summary,
    served: Summary,
    answers: Summary,
    refusals: Summary,
}

#[derive(Debug, Deserialize)]
struct Summary {
    count: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

#[derive(Debug, Deserialize)]
struct Demo {
    capacity_per_second: f64,
    phases: Vec<Phase>,
}

#[derive(Debug, Deserialize)]
struct Phase {
    factor: f64,
    path: String,
    report: Report,
}

impl Report {
    /// Each request has one fate, and each count says the same of it.
    #[track_caller]
    fn assert_consistent(&self) {
        let (answers, failures): (u64, u64) = (self.statuses.values().sum(), self.failures.values().sum());
        assert_eq!(answers + failures + self.unfinished, self.offered, "{self:?}");
        let refusals: u64 = [429, 503, 504].iter().filter_map(|status| self.statuses.get(status)).sum();
        assert_eq!((self.refused, self.latency.refusals.count), (refusals, refusals), "{self:?}");
        let good: u64 = self.statuses.range(200..300).map(|(_, count)| count).sum();
        assert_eq!((self.good + self.late, self.latency.served.count), (good, good), "{self:?}");
        assert_eq!((self.latency.good.count, self.latency.answers.count), (self.good, answers), "{self:?}");
        let all = &self.latency.answers;
        assert!(all.p50_ms <= all.p99_ms && all.p99_ms <= all.max_ms, "{self:?}");
        assert_eq!(self.goodput > 0.0, self.good > 0, "{self:?}");
    }
}

async fn sluicegate(args: &[&str]) -> Ended {
    run(SLUICEGATE, args).await
}

#[track_caller]
fn json<'a, T: Deserialize<'a>>(ended: &'a Ended) -> T {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[tokio::test]
async fn load_reports_what_the_service_saw() {
    let upstream = Upstream::start();
    let url = format!("{}/bytes/10", upstream.url());
    // No answer is meant to be late, however slow this machine is.
    let args = ["load", &url, "--rate", "200", "--for", "1s", "--deadline", "50s", "--timeout", "50s"];
    let ended = sluicegate(&[&args[..], &["--json"]].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Report = json(&ended);
    report.assert_consistent();
    assert_eq!((report.offered, report.good, report.refused), (200, 200, 0), "{report:?}");
    assert_eq!((&report.statuses, report.body_bytes), (&[(200, 200)].into(), 2000));
    let seen = upstream.counters();
    assert_eq!((seen.total as u64, seen.connections as u64), (200, report.connections_opened));
    assert!(upstream.targets().iter().all(|target| target == "/bytes/10"));

    let text = sluicegate(&args).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.stdout.contains("200") && serde_json::from_str::<Report>(&text.stdout).is_err(), "{text:?}");
    assert_eq!(text.stderr, "", "no bar where there is no terminal");
}

#[tokio::test]
async fn load_of_a_service_that_refuses_is_answered() {
    let upstream = Upstream::start();
    let url = format!("{}/status/503", upstream.url());
    let args =
        ["load", &url, "--rate", "100", "--for", "500ms", "--deadline", "50s", "--timeout", "50s", "--json"];
    let ended = sluicegate(&args).await;
    assert_eq!(ended.code, Some(0), "an answer is an answer: {ended:?}");
    let report: Report = json(&ended);
    report.assert_consistent();
    assert_eq!((report.offered, report.good, report.refused), (50, 0, 50), "{report:?}");
}

#[tokio::test]
async fn load_of_nobody_is_a_failure() {
    let upstream = Upstream::stopped();
    let ended = sluicegate(&["load", &upstream.url(), "--rate", "100", "--for", "500ms", "--json"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report: Report = json(&ended);
    report.assert_consistent();
    assert_eq!(report.failures, [("connect_refused".to_owned(), 50)].into());
}

#[tokio::test]
async fn wrong_usage_is_named_before_anything_is_done() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let cases: &[(&[&str], &str)] = &[
        (&["load", &url, "--for", "0s"], "for: "),
        (&["load", &url, "--for", "1000d"], "for"),
        (&["load", &url, "--for", "10"], "--for"),
        (&["load", &url, "--deadline", "2s", "--timeout", "1s"], "timeout: "),
        (&["load", &url, "--method", "CONNECT"], "method: "),
        (&["load", &url, "--header", "content-length: 3"], "header: "),
        (&["load", &url, "--rate", "0"], "rate"),
        (&["load", "https://127.0.0.1/"], "TLS"),
        (&["load"], "URL"),
        (&["demo", "--for", "0s"], "for: "),
        (&["demo", "--for", "0s", "--json"], "for: "),
        (&["demo", "--for", "soon"], "--for"),
    ];
    let mut wrong = Vec::new();
    for (args, named) in cases {
        let ended = sluicegate(args).await;
        let said = ended.stdout.is_empty() && ended.stderr.contains(named);
        if ended.code != Some(2) || !said || ended.stderr.contains("panicked") {
            wrong.push(format!("{args:?}: {ended:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(upstream.counters().total, 0);
}

/// What of it is no speed: each load both ways, every request with one fate, and refusals by the gateway alone. How much of what the
/// service can do is still done is for a machine that has nothing else to do, and in the bench of overloads.
#[tokio::test]
async fn the_demo_offers_each_load_both_ways_and_only_the_gateway_refuses() {
    let ended = sluicegate(&["demo", "--for", "500ms", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let demo: Demo = json(&ended);
    let phases: Vec<_> = demo.phases.iter().map(|phase| (phase.path.as_str(), phase.factor)).collect();
    let ways = ["straight", "gateway"].into_iter();
    assert_eq!(phases, ways.flat_map(|way| [0.5, 2.0, 10.0].map(|factor| (way, factor))).collect::<Vec<_>>());
    for phase in &demo.phases {
        let report = &phase.report;
        report.assert_consistent();
        let offered = phase.factor * demo.capacity_per_second / 2.0;
        assert!((report.offered as f64 - offered).abs() <= 1.0, "{offered}: {report:?}");
        if phase.path == "straight" {
            assert_eq!(report.refused, 0, "{report:?}");
        }
    }
    assert!(demo.phases[5].report.refused > 0, "{:?}", demo.phases[5].report);
}
