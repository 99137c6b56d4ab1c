//! A report for people.

use std::fmt;

use super::report::{Report, Summary};
use super::schedule::Arrivals;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrivals = match self.arrivals {
            Arrivals::Constant => "constant arrivals".to_owned(),
            Arrivals::Poisson => format!("Poisson arrivals with seed {}", self.seed),
        };
        writeln!(f, "{} {}, {arrivals}", self.method, self.url)?;
        writeln!(f)?;
        writeln!(
            f,
            "offered      {} requests in {:.2} s: {:.1}/s of the {}/s asked for",
            self.offered, self.offered_seconds, self.rate_reached, self.rate_asked
        )?;
        let deadline = Milliseconds(self.deadline_ms);
        writeln!(
            f,
            "goodput      {:.1}/s: good answers within {deadline}, {} of what was offered",
            self.goodput,
            Share { part: self.good, whole: self.offered }
        )?;
        writeln!(f, "answers      {}", List(self.statuses.iter()))?;
        if self.late > 0 {
            writeln!(f, "             {} would have been good but came later than {deadline}", self.late)?;
        }
        if self.refused > 0 {
            writeln!(
                f,
                "             {} refused (429, 503, 504); {} answers said when to come back (Retry-After)",
                self.refused, self.retry_after
            )?;
        }
        writeln!(f, "no answer    {}", List(self.failures.iter()))?;
        if self.unfinished > 0 {
            writeln!(f, "             {} still waiting when the load was stopped", self.unfinished)?;
        }
        writeln!(
            f,
            "connections  {} opened, {} at most at once",
            self.connections_opened, self.connections_peak
        )?;
        writeln!(f, "bodies       {} bytes received", self.body_bytes)?;
        writeln!(f)?;
        let title = "from the intended start";
        writeln!(
            f,
            "{title:<24}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "count", "p50", "p90", "p99", "p99.9", "max"
        )?;
        row(f, "good answers in time", &self.latency.good)?;
        row(f, "good answers, also late", &self.latency.served)?;
        row(f, "all answers", &self.latency.answers)?;
        row(f, "refusals", &self.latency.refusals)?;
        row(f, "the generator's lateness", &self.lateness)?;
        self.doubts(f)
    }
}

impl Report {
    /// What makes this load something else than what was asked for.
    fn doubts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Below this share of the asked rate, the rate was not reached.
        const REACHED: f64 = 0.99;
        let own: u64 = self.failures.iter().filter(|(kind, _)| kind.is_own()).map(|(_, count)| count).sum();
        // A stopped load and one of a handful of random arrivals say nothing about the generator.
        if self.arrivals == Arrivals::Constant && self.rate_reached < REACHED * self.rate_asked {
            writeln!(
                f,
                "\nThe generator could not keep up with the rate asked for: these are the answers to a smaller load."
            )?;
        }
        if own > 0 {
            writeln!(
                f,
                "\n{own} requests were not sent (see \"no answer\"): the service saw a smaller load than asked for."
            )?;
            writeln!(f, "More --connections or a higher file limit would let them out.")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, summary: &Summary) -> fmt::Result {
    write!(f, "{name:<24}{:>9}", summary.count)?;
    for value in [summary.p50_ms, summary.p90_ms, summary.p99_ms, summary.p999_ms, summary.max_ms] {
        if summary.count == 0 {
            write!(f, "{:>10}", "-")?;
        } else {
            write!(f, "{:>10}", Milliseconds(value).to_string())?;
        }
    }
    writeln!(f)
}

/// `key: count` of each, or "none".
struct List<I>(I);

impl<'a, K: fmt::Display + 'a, I: Iterator<Item = (&'a K, &'a u64)> + Clone> fmt::Display for List<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for (key, count) in self.0.clone() {
            write!(f, "{gap}{key}: {count}")?;
            gap = "   ";
        }
        if gap.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// A span written with the unit a reader would choose.
pub(crate) struct Milliseconds(pub(crate) f64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms < 10.0 => write!(f, "{ms:.2} ms"),
            ms if ms < 1000.0 => write!(f, "{ms:.0} ms"),
            ms if ms % 1000.0 == 0.0 => write!(f, "{:.0} s", ms / 1e3),
            ms => write!(f, "{:.2} s", ms / 1e3),
        }
    }
}

/// A percentage.
struct Share {
    part: u64,
    whole: u64,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.whole == 0 {
            return f.write_str("0%");
        }
        write!(f, "{:.1}%", 100.0 * self.part as f64 / self.whole as f64)
    }
}
