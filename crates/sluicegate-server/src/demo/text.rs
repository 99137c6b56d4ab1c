//! The demo in words: what is about to be shown, what the numbers mean, and where it goes on running.

use std::fmt::Write as _;
use std::time::Duration;

use super::phases::{CAPACITY, DEADLINE, FACTORS, PATIENCE, Path, Phase, SERVICE, SLOTS, Stage, WARM_UP};
use super::table::find;
use crate::load::{FailureKind, Milliseconds};

/// Columns of a line of prose.
const WIDTH: usize = 80;

/// What is about to be shown, each load being counted for `each`.
pub(super) fn introduction(each: Duration) -> String {
    let [low, high, flood] = FACTORS.map(|factor| factor * CAPACITY);
    wrap(&format!(
        "A service works on {SLOTS} requests at a time, each for {SERVICE:?}: {CAPACITY} a second. It is offered \
         {low}, {high} and {flood} requests a second for {each:?} each (and {WARM_UP:?} before that, not counted), first straight, \
         then through sluicegate. An answer is in time within {DEADLINE:?}. After {PATIENCE:?} a client gives up."
    ))
}

/// What the numbers of the largest load mean.
pub(super) fn verdict(phases: &[Phase]) -> String {
    let largest = FACTORS.into_iter().fold(0.0, f64::max);
    let sentences = [straight(phases, largest), gateway(phases, largest)];
    let mut text: String = sentences.into_iter().flatten().map(|sentence| wrap(&sentence)).collect();
    for phase in phases {
        text.extend(not_in_the_table(phase).map(|sentence| wrap(&sentence)));
    }
    text
}

fn straight(phases: &[Phase], factor: f64) -> Option<String> {
    let report = find(phases, factor, Path::Straight)?;
    let good = match report.good {
        0 => "not one answer".to_owned(),
        _ => format!("{:.0} answers a second", report.goodput),
    };
    let share = percent(report.goodput, CAPACITY);
    let mut sentence = format!(
        "Offered {factor} times what it can do, the service alone gave {good} in time, {share} of the {CAPACITY} a second it could"
    );
    let wasted = report.late + report.failed(FailureKind::Timeout);
    sentence.push_str(if wasted > report.good {
        ": it spent its time on requests that it answered too late, or that nobody waited for any more."
    } else {
        "."
    });
    Some(sentence)
}

fn gateway(phases: &[Phase], factor: f64) -> Option<String> {
    let report = find(phases, factor, Path::Gateway)?;
    let mut sentence = format!(
        "Behind sluicegate it gave {:.0} a second, {} of what it could",
        report.goodput,
        percent(report.goodput, CAPACITY)
    );
    if report.refused > 0 {
        // Writing to a string does not fail.
        let _ = write!(
            sentence,
            "; {} a second were refused instead, 99 in 100 of them within {}",
            (report.refused as f64 / report.offered_seconds).round(),
            Milliseconds(report.latency.refusals.p99_ms)
        );
        let _ = match report.retry_after {
            0 => Ok(()),
            told if told >= report.refused => write!(sentence, ", all of them told when to come back"),
            told => write!(
                sentence,
                ", {} of them told when to come back",
                percent(told as f64, report.refused as f64)
            ),
        };
    }
    sentence.push('.');
    Some(sentence)
}

/// Requests that failed otherwise than by the client giving up; there should be none.
fn not_in_the_table(phase: &Phase) -> Option<String> {
    let failures = phase.report.failures.iter().filter(|(kind, _)| **kind != FailureKind::Timeout);
    let counts: Vec<_> = failures.map(|(kind, count)| format!("{count} {kind}")).collect();
    let Phase { factor, path, .. } = phase;
    (!counts.is_empty()).then(|| format!("Not in the table, of {factor}x {path}: {}.", counts.join(", ")))
}

/// Where the service and the gateway are, and what to do with them.
pub(super) fn addresses(stage: &Stage) -> String {
    let mut text = format!(
        "\nStill running, until Ctrl-C:\n  the service:         curl -i http://{}/\n",
        stage.upstream.address()
    );
    // Writing to a string does not fail.
    if let Some(gateway) = &stage.gateway {
        let _ = writeln!(text, "  through sluicegate:  curl -i http://{}/", gateway.address());
        if let Some(admin) = gateway.admin_address() {
            let _ = writeln!(text, "  its metrics:         curl http://{admin}/metrics");
        }
    }
    let _ = writeln!(
        text,
        "  another load:        sluicegate load http://{}/ --rate 1000 --deadline {DEADLINE:?}",
        stage.address()
    );
    text
}

/// Breaks prose into lines of at most [`WIDTH`] columns, each with its end.
fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            wrapped.push('\n');
            column = 0;
        }
        if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped.push('\n');
    wrapped
}

fn percent(part: f64, whole: f64) -> String {
    format!("{:.0}%", 100.0 * part / whole)
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::phases;
    use super::*;
    use crate::load::Report;

    /// Undoes [`wrap`].
    fn unwrapped(phases: &[Phase]) -> String {
        let text = verdict(phases);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_verdict_is_made_of_the_numbers() {
        assert_eq!(
            unwrapped(&phases()),
            "Offered 10 times what it can do, the service alone gave 17 answers a second in time, 8% of the 200 a \
             second it could: it spent its time on requests that it answered too late, or that nobody waited for any more. \
             Behind sluicegate it gave 198 a second, 99% of what it could; 1802 a second were refused instead, 99 \
             in 100 of them within 3.00 ms, all of them told when to come back. \
             Not in the table, of 10x through sluicegate: 3 reset by peer."
        );
    }

    #[test]
    fn a_service_that_stood_is_not_called_fallen() {
        let [mut straight, _] = phases();
        straight.report = Report { good: 2_000, goodput: 200.0, offered_seconds: 10.0, ..Report::default() };
        assert!(
            unwrapped(&[straight])
                .ends_with("200 answers a second in time, 100% of the 200 a second it could.")
        );
    }

    #[test]
    fn none_is_called_none() {
        let [mut straight, _] = phases();
        straight.report = Report { late: 1, offered_seconds: 10.0, ..Report::default() };
        assert!(
            unwrapped(&[straight])
                .contains("gave not one answer in time, 0% of the 200 a second it could: it")
        );
    }

    #[test]
    fn a_long_word_has_a_line_of_its_own() {
        let long = "x".repeat(WIDTH + 1);
        assert_eq!(wrap(&format!("a {long} b")), format!("a\n{long}\nb\n"));
        assert_eq!(wrap(""), "\n");
    }
}
