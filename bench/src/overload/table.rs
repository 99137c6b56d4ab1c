//! One table an experiment, for people.

use comfy_table::{CellAlignment, Table, presets};
use sluicegate_testkit::lab::overload::{Bound, Measure, Shape};

use super::seen::{Seen, is_ours, met, published};
use crate::rounds::Summary;

/// What the experiment is, and its table.
pub(super) fn text(seen: &Seen) -> String {
    let about = seen.about;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["measure", "", "subject", "median [min..max]", "published", "pass line", ""]);
    for measure in seen.measures.iter().filter(|it| it.shape != Shape::OnlyChart) {
        for x in seen.places(measure) {
            add(seen, measure, x, &mut table);
        }
    }
    for numeric in [3, 4] {
        if let Some(column) = table.column_mut(numeric) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!(
        "\n## {}: {}\n\nPublished: {}.\nHere: {}.\n\n{table}\n",
        about.name, about.title, about.published, about.model
    )
}

/// All subjects at one place. What is the same as in the line above is left out.
fn add(seen: &Seen, measure: &Measure, x: f64, table: &mut Table) {
    let axis = measure.axis;
    let mut head = [format!("{}, {}", measure.name, measure.unit), format!("{} {x}", axis.name)];
    let mut told = published(measure, x).map_or_else(String::new, number);
    for subject in seen.subjects(measure) {
        let Some(summary) = seen.at(measure, subject, x) else { continue };
        let goal = measure.goal.filter(|_| is_ours(subject));
        let [name, place] = std::mem::take(&mut head);
        table.add_row([
            name,
            place,
            subject.into(),
            range(summary),
            std::mem::take(&mut told),
            goal.map_or_else(String::new, line),
            goal.map_or("", |goal| if met(goal, summary) { "met" } else { "MISSED" }).into(),
        ]);
    }
}

/// A pass line.
pub(super) fn line(bound: Bound) -> String {
    match bound {
        Bound::AtMost(most) => format!("<= {}", number(most)),
        Bound::AtLeast(least) => format!(">= {}", number(least)),
        Bound::Within(part) => format!("1 +- {part}"),
        Bound::NoneAbove(most) => format!("<= {}, each seed", number(most)),
        Bound::NoneBelow(least) => format!(">= {}, each seed", number(least)),
    }
}

fn range(Summary { median, min, max }: Summary) -> String {
    format!("{} [{}..{}]", number(median), number(min), number(max))
}

/// With three significant digits or so.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    // What is less than nothing by chance of rounding is nothing.
    format!("{:.decimals$}", value + 0.0)
}
