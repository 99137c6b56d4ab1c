//! The one form of a result: rows of ours beside a peer's, printed as a table or written as JSON.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::rounds::Summary;

/// What every subcommand can do with its result.
#[derive(clap::Args)]
pub(crate) struct ReportArgs {
    /// Also write the rows to this file, as a JSON list
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Exit with code 2 when a goal is missed
    #[arg(long)]
    pub(crate) strict: bool,
}

/// What the ratio of ours to theirs should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// More is better: throughput.
    AtLeast(f64),
    /// Less is better: time.
    AtMost(f64),
    /// As near to 1 as that: what was asked for.
    Within(f64),
}

impl Goal {
    fn met_by(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
            Self::Within(bound) => (ratio - 1.0).abs() <= bound,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
            Self::Within(bound) => write!(f, "1 +- {bound}"),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// One number of ours beside one peer's. These fields, and no others, are the JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) case: String,
    /// Ours; none where only peers ran.
    pub(crate) ours: Option<Summary>,
    /// Whose number stands beside ours.
    pub(crate) peer: String,
    /// Theirs; none where only ours ran.
    pub(crate) theirs: Option<Summary>,
    /// Of `ours` and `theirs`.
    pub(crate) unit: &'static str,
    /// The medians, ours / theirs.
    pub(crate) ratio: Option<f64>,
    /// What `ratio` should be, where that was decided beforehand.
    pub(crate) goal: Option<Goal>,
    /// Whether it is; none without a goal or without a ratio.
    pub(crate) met: Option<bool>,
}

impl Row {
    /// A row whose ratio and verdict follow from the two numbers.
    pub(crate) fn new(
        (case, unit): (&str, &'static str),
        ours: Option<Summary>,
        (peer, theirs): (&str, Option<Summary>),
        goal: Option<Goal>,
    ) -> Self {
        let ratio =
            ours.zip(theirs).map(|(ours, theirs)| ours.median / theirs.median).filter(|r| r.is_finite());
        let met = goal.zip(ratio).map(|(goal, ratio)| goal.met_by(ratio));
        Self { case: case.into(), ours, peer: peer.into(), theirs, unit, ratio, goal, met }
    }

    fn cells(&self) -> [String; 8] {
        let number = |number: Option<Summary>| number.map_or_else(String::new, text);
        [
            self.case.clone(),
            number(self.ours),
            self.peer.clone(),
            number(self.theirs),
            self.unit.into(),
            self.ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
            self.goal.map_or_else(String::new, |goal| goal.to_string()),
            self.met.map_or("", |met| if met { "yes" } else { "NO" }).into(),
        ]
    }
}

/// A run: its conditions, its rows, and what went wrong in it.
#[derive(Debug)]
pub(crate) struct Report {
    /// What a reader must know to judge the numbers, a line each.
    pub(crate) conditions: Vec<String>,
    /// The numbers.
    pub(crate) rows: Vec<Row>,
    /// Wrong answers and the like; a run with any has failed.
    pub(crate) faults: Vec<String>,
}

impl Report {
    /// How many goals were missed.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.met == Some(false)).count()
    }

    /// Writes the rows as a JSON list.
    pub(crate) fn write_json(&self, path: &Path) -> Result<(), Error> {
        let what = || format!("writing {}", path.display());
        let json = serde_json::to_string_pretty(&self.rows).map_err(|e| Error::io(what())(e.into()))?;
        fs::write(path, json + "\n").map_err(Error::io(what()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.conditions {
            writeln!(f, "{line}")?;
        }
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["case", "ours", "peer", "theirs", "unit", "ratio", "goal", "met"]);
        table.add_rows(self.rows.iter().map(Row::cells));
        for numeric in [1, 3, 5] {
            if let Some(column) = table.column_mut(numeric) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "\n{table}\n\nmedian [min..max] of the rounds; ratio: ours / theirs, of the medians")?;
        for fault in &self.faults {
            write!(f, "\nFAULT: {fault}")?;
        }
        Ok(())
    }
}

/// `median [min..max]`, each with three or four significant digits.
fn text(Summary { median, min, max }: Summary) -> String {
    let decimals = match median.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        _ => 2,
    };
    format!("{median:.decimals$} [{min:.decimals$}..{max:.decimals$}]")
}

#[cfg(test)]
mod tests;
