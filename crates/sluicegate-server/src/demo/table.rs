//! The demo's result as a table.

use comfy_table::{CellAlignment, Table, presets};

use super::phases::{CAPACITY, FACTORS, Path, Phase};
use crate::load::{FailureKind, Milliseconds, Report};

/// A row for each load, a line in it for each way. The counts of a line add up to its load, but for requests that
/// failed otherwise; of those the text below it speaks.
pub(super) fn table(phases: &[Phase]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["load", "", "in time\n(goodput)", "p99 of\nanswers", "too late", "refused", "gave up"]);
    for factor in FACTORS {
        let mut row = vec![format!("{factor}x\n{}/s", factor * CAPACITY), "straight\nsluicegate".to_owned()];
        let ways = [Path::Straight, Path::Gateway].map(|path| cells(find(phases, factor, path)));
        let [straight, gateway] = ways;
        row.extend(straight.into_iter().zip(gateway).map(|(above, below)| format!("{above}\n{below}")));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// The numbers of one line. The p99 is that of the service's own answers, late ones included and refusals not:
/// those are so quick that they would make it look good.
fn cells(report: Option<&Report>) -> [String; 5] {
    let Some(report) = report else {
        return Default::default();
    };
    let served = report.latency.served;
    [
        if report.good == 0 { "0/s".to_owned() } else { a_second(report, report.good) },
        if served.count == 0 { "none".to_owned() } else { Milliseconds(served.p99_ms).to_string() },
        a_second(report, report.late),
        a_second(report, report.refused),
        a_second(report, report.failed(FailureKind::Timeout)),
    ]
}

/// The report of one load on one way.
pub(super) fn find(phases: &[Phase], factor: f64, path: Path) -> Option<&Report> {
    let same = |phase: &&Phase| phase.path == path && (phase.factor - factor).abs() < f64::EPSILON;
    phases.iter().find(same).map(|phase| &phase.report)
}

fn a_second(report: &Report, count: u64) -> String {
    match count {
        0 => "-".to_owned(),
        // A handful must not look like none.
        _ if (count as f64) < report.offered_seconds => "<1/s".to_owned(),
        _ => format!("{:.0}/s", count as f64 / report.offered_seconds),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::load::{Latencies, Summary};

    fn summary(count: u64, p99_ms: f64) -> Summary {
        Summary { count, p99_ms, ..Summary::default() }
    }

    /// Ten seconds of ten times the capacity.
    pub(in crate::demo) fn phases() -> [Phase; 2] {
        let straight = Report {
            offered_seconds: 10.0,
            good: 170,
            goodput: 17.0,
            late: 1_830,
            failures: BTreeMap::from([(FailureKind::Timeout, 18_000)]),
            latency: Latencies { served: summary(2_000, 2_950.0), ..Latencies::default() },
            ..Report::default()
        };
        let gateway = Report {
            offered_seconds: 10.0,
            good: 1_980,
            goodput: 198.0,
            refused: 18_017,
            retry_after: 18_017,
            failures: BTreeMap::from([(FailureKind::Reset, 3)]),
            latency: Latencies {
                served: summary(1_980, 402.0),
                refusals: summary(18_017, 3.0),
                ..Latencies::default()
            },
            ..Report::default()
        };
        [
            Phase { factor: 10.0, path: Path::Straight, report: straight },
            Phase { factor: 10.0, path: Path::Gateway, report: gateway },
        ]
    }

    #[test]
    fn a_row_says_what_became_of_a_load() {
        let table = table(&phases());
        let line = |words: &str| {
            let same = |line: &&str| line.split_whitespace().eq(words.split_whitespace());
            assert!(table.lines().any(|line| same(&line)), "{words:?} is not in\n{table}");
        };
        line("10x straight 17/s 2.95 s 183/s - 1800/s");
        line("2000/s sluicegate 198/s 402 ms - 1802/s -");
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }

    #[test]
    fn a_handful_is_not_none() {
        let report = Report { offered_seconds: 10.0, ..Report::default() };
        assert_eq!([0, 9, 10, 14].map(|count| a_second(&report, count)), ["-", "<1/s", "1/s", "1/s"]);
    }
}
