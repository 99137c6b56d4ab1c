//! Who is which line, beside a panel.

use plotters::prelude::*;
use sluicegate_testkit::lab::overload::Measure;

use super::{Area, Drawn, Line, TEXT};
use crate::overload::seen::is_ours;
use crate::overload::table;

const ROW: i32 = 20;
const TOP: i32 = 44;

/// A line each, and what is drawn besides.
pub(super) fn draw(measure: &Measure, lines: &[Line<'_>], area: &Area<'_>) -> Drawn {
    let style = ("sans-serif", 13).into_font().color(&TEXT);
    let mut y = TOP;
    let mut row = |text: &str, mark: &dyn Fn(i32) -> Drawn| -> Drawn {
        mark(y)?;
        area.draw_text(text, &style, (36, y - 6))?;
        y += ROW;
        Ok(())
    };
    for line in lines {
        let width = if is_ours(line.subject) { 2 } else { 1 };
        row(line.subject, &|y| {
            area.draw(&PathElement::new(vec![(4, y), (28, y)], line.colour.stroke_width(width)))?;
            area.draw(&Circle::new((16, y), 4, line.colour.filled()))?;
            Ok(())
        })?;
    }
    if !measure.published.is_empty() {
        row("published", &|y| Ok(area.draw(&Cross::new((16, y), 5, TEXT.stroke_width(2)))?))?;
    }
    if let Some(goal) = measure.goal {
        row(&format!("pass line: {}", table::line(goal)), &|y| {
            for x in [4, 14, 24] {
                area.draw(&PathElement::new(vec![(x, y), (x + 6, y)], TEXT.stroke_width(1)))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
