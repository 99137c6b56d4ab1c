//! The load: `sluicegate load`, which offers on a schedule whether anything answers or not, and what it tells.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::error::Error;
use crate::gateway::place::Directory;
use crate::gateway::process::Process;
use crate::stop::Stop;

/// How often a running load is looked at: that exact is also the instant of what happens meanwhile.
const LOOK: Duration = Duration::from_millis(5);
/// How many times longer than planned a load may take before the run is given up.
const GRACE: u32 = 10;

/// Clients are gone after so long, and an answer within it is good.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What is offered.
#[derive(Debug)]
pub(super) struct Load<'a> {
    /// The `sluicegate` program.
    pub(super) program: &'a PathBuf,
    /// Requests a second.
    pub(super) rate: f64,
    /// Before it counts.
    pub(super) warm_up: Duration,
    /// While it counts.
    pub(super) duration: Duration,
    /// Of the arrivals: the same for all subjects of a round.
    pub(super) seed: u32,
}

/// What it told, as far as it matters here. Times are milliseconds from the instant a request was meant to leave.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Told {
    /// Answers in time, a second.
    pub(super) goodput: f64,
    /// Requests.
    pub(super) offered: u64,
    /// Without an answer, by kind.
    pub(super) failures: BTreeMap<String, u64>,
    /// By status.
    pub(super) statuses: BTreeMap<String, u64>,
    pub(super) latency: Latencies,
    /// How late the generator itself was.
    pub(super) lateness: Times,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Latencies {
    /// Answers with 2xx.
    pub(super) served: Times,
    /// With 429, 503 or 504.
    pub(super) refusals: Times,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Times {
    pub(super) count: u64,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
}

impl Load<'_> {
    /// Offers it to `port`; `meanwhile` is called all the time.
    pub(super) fn run(
        &self,
        port: u16,
        directory: &Directory,
        stop: &Stop,
        mut meanwhile: impl FnMut(),
    ) -> Result<Told, Error> {
        let whole = self.warm_up + self.duration + PATIENCE;
        let mut command = Command::new(self.program);
        command.args(["load", &format!("http://127.0.0.1:{port}/"), "--json", "--arrivals", "poisson"]);
        for (name, value) in [
            ("--rate", self.rate.to_string()),
            ("--warm-up", text(self.warm_up)),
            ("--for", text(self.duration)),
            ("--seed", self.seed.to_string()),
            ("--deadline", text(PATIENCE)),
            ("--timeout", text(PATIENCE)),
        ] {
            command.arg(name).arg(value);
        }
        let mut load = Process::start("the load", directory, &mut command)?;
        let looks = u32::try_from(whole.as_millis() / LOOK.as_millis()).unwrap_or(u32::MAX / GRACE) * GRACE;
        let ended = stop.poll(looks, LOOK, || {
            meanwhile();
            load.ended()
        })?;
        match ended {
            // 1: not one was answered, which is what was to be found out.
            Some(status) if matches!(status.code(), Some(0 | 1)) => parse(&load.output()),
            ended => {
                let status =
                    ended.map_or_else(|| "it did not end in time".into(), |status| status.to_string());
                Err(Error::Ended { name: "the load".into(), status, said: load.said() })
            }
        }
    }
}

fn text(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// The JSON after whatever notes there are.
fn parse(output: &str) -> Result<Told, Error> {
    let json = output.find('{').map_or("", |at| &output[at..]);
    serde_json::from_str(json)
        .map_err(|_| Error::Unreadable { what: "report in JSON", output: output.to_owned() })
}

impl Told {
    /// Clients that were neither answered nor sent away within their patience.
    pub(super) fn left(&self) -> u64 {
        self.failed("timeout")
    }

    fn failed(&self, kind: &str) -> u64 {
        self.failures.get(kind).copied().unwrap_or(0)
    }

    /// Requests that the generator was not able to send.
    pub(super) fn unsent(&self) -> u64 {
        ["no_connection", "file_limit", "no_port"].into_iter().map(|kind| self.failed(kind)).sum()
    }

    /// Requests that came to an end which is neither an answer, nor a refusal, nor the client's patience.
    pub(super) fn broken(&self) -> u64 {
        let failed: u64 = self.failures.values().sum();
        let answered: u64 = self.statuses.values().sum();
        let known = self.latency.served.count + self.latency.refusals.count;
        failed.saturating_sub(self.left() + self.unsent()) + answered.saturating_sub(known)
    }

    /// The time within which so many of those were answered who were not sent away, in milliseconds. Who left has waited for as long as
    /// it had the patience to. The report has five quantiles; between two it is the larger one. None if nobody was let in.
    pub(super) fn within(&self, share: f64) -> Option<f64> {
        let served = self.latency.served;
        let (answered, left) = (count(served.count), count(self.left()));
        if answered + left == 0.0 {
            return None;
        }
        let share = share * (answered + left) / answered;
        let known = [
            (0.5, served.p50_ms),
            (0.9, served.p90_ms),
            (0.99, served.p99_ms),
            (0.999, served.p999_ms),
            (1.0, served.max_ms),
        ];
        let found = known.into_iter().find(|(known, _)| *known >= share);
        Some(found.map_or(PATIENCE.as_secs_f64() * 1e3, |(_, time)| time))
    }
}

/// A count as a number to divide.
fn count(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(served: u64, left: u64) -> Told {
        let times =
            Times { count: served, p50_ms: 5.0, p90_ms: 9.0, p99_ms: 9.9, p999_ms: 9.99, max_ms: 10.0 };
        Told {
            latency: Latencies { served: times, ..Latencies::default() },
            failures: BTreeMap::from([("timeout".into(), left)]),
            ..Told::default()
        }
    }

    #[test]
    fn who_left_has_waited_that_long() {
        assert_eq!(told(100, 0).within(0.99), Some(9.9));
        assert_eq!(told(100, 0).within(0.5), Some(5.0));
        // A few in a thousand left: the 99th of all is a little later among the answered.
        assert_eq!(told(1000, 5).within(0.99), Some(9.99));
        assert_eq!(told(1000, 5).within(0.5), Some(9.0));
        // More than one in a hundred left.
        assert_eq!(told(100, 2).within(0.99), Some(1000.0));
        assert_eq!(told(0, 2).within(0.5), Some(1000.0));
        assert_eq!(told(0, 0).within(0.5), None);
    }

    #[test]
    fn the_report_is_found_among_notes() {
        let told = parse(
            "note: the file limit is low\n{\"goodput\": 99.5, \"offered\": 7, \"failures\": {\"timeout\": 2, \"reset\": 3, \
             \"no_port\": 4}, \"statuses\": {\"200\": 5, \"404\": 1}, \"latency\": {\"served\": {\"count\": 5, \"p50_ms\": 1.0, \
             \"p90_ms\": 1.0, \"p99_ms\": 1.0, \"p999_ms\": 1.0, \"max_ms\": 2.5}, \"refusals\": {\"count\": 0, \"p50_ms\": 0.0, \
             \"p90_ms\": 0.0, \"p99_ms\": 0.0, \"p999_ms\": 0.0, \"max_ms\": 0.0}}, \"lateness\": {\"count\": 7, \"p50_ms\": 0.0, \
             \"p90_ms\": 0.0, \"p99_ms\": 0.2, \"p999_ms\": 0.0, \"max_ms\": 0.0}}",
        )
        .unwrap();
        assert_eq!((told.goodput, told.offered, told.latency.served.max_ms), (99.5, 7, 2.5));
        assert_eq!((told.left(), told.unsent(), told.broken()), (2, 4, 3 + 1));
        assert!(parse("sluicegate: no such thing").is_err());
    }
}
