//! From turns to rows: what is compared, and whose numbers do not count.

use std::time::Duration;

use super::peers::Peer;
use super::wrk::Sample;
use crate::rounds::Summary;
use crate::table::{Goal, Row};

/// One turn of one proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    wrk: Sample,
    /// User and system time of the proxy's processes, in microseconds a request.
    pub(crate) cpu: f64,
}

impl Turn {
    /// What wrk saw, and the processor time the proxy used meanwhile.
    pub(crate) fn new(wrk: Sample, used: Duration) -> Self {
        Self { wrk, cpu: used.as_secs_f64() * 1e6 / wrk.requests.max(1.0) }
    }

    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.wrk.requests / self.wrk.seconds
    }
}

/// What is compared.
struct Case {
    name: &'static str,
    unit: &'static str,
    read: fn(&Turn) -> f64,
    goal: fn(Peer) -> Option<Goal>,
}

const CASES: [Case; 4] = [
    Case { name: "requests", unit: "1/s", read: Turn::rate, goal: Peer::goal },
    Case { name: "latency p50", unit: "ms", read: |turn| turn.wrk.p50, goal: |_| None },
    Case { name: "latency p99", unit: "ms", read: |turn| turn.wrk.p99, goal: |_| None },
    Case { name: "CPU a request", unit: "us", read: |turn| turn.cpu, goal: |_| None },
];

/// For each case a row a peer; where only ours or only peers ran, one side stays empty.
pub(crate) fn rows(measured: &[(Peer, Vec<Turn>)]) -> Vec<Row> {
    let (ours, peers): (Vec<_>, Vec<_>) = measured.iter().partition(|(peer, _)| *peer == Peer::Sluicegate);
    let remark =
        ours.iter().find_map(|ours| fault(ours)).map_or_else(String::new, |ours| format!(" ({ours})"));
    let mut rows = Vec::new();
    for case in CASES {
        let summary = |turns: &[Turn]| Summary::of(turns.iter().map(case.read));
        let own = ours.iter().find_map(|(_, turns)| summary(turns));
        let name = format!("{}{remark}", case.name);
        for (peer, turns) in &peers {
            let theirs = (marked(*peer, turns), summary(turns));
            let goal = (case.goal)(*peer);
            let mut row = Row::new((&name, case.unit), own, (&theirs.0, theirs.1), goal);
            if !remark.is_empty() || bad(turns).is_some() {
                // No ratio of such numbers meets a goal.
                row.met = goal.map(|_| false);
            }
            rows.push(row);
        }
        if peers.is_empty() {
            rows.push(Row::new((&name, case.unit), own, ("", None), None));
        }
    }
    rows
}

/// Why a proxy's numbers do not count, if they do not.
pub(crate) fn fault((peer, turns): &(Peer, Vec<Turn>)) -> Option<String> {
    bad(turns).map(|what| format!("{peer}: {what}"))
}

fn marked(peer: Peer, turns: &[Turn]) -> String {
    bad(turns).map_or_else(|| peer.to_string(), |what| format!("{peer} ({what})"))
}

/// A proxy that refused, broke connections or did not answer at all was not measured doing its work.
fn bad(turns: &[Turn]) -> Option<String> {
    let refused: u64 = turns.iter().map(|turn| turn.wrk.refused).sum();
    let broken: u64 = turns.iter().map(|turn| turn.wrk.broken).sum();
    if refused + broken > 0 {
        Some(format!("{refused} answers not 2xx, {broken} socket errors"))
    } else if turns.iter().any(|turn| turn.wrk.requests == 0.0) {
        Some("a round without an answer".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
