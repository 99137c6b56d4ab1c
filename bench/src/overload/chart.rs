//! One chart an experiment: a panel for each measure.

mod legend;

use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use sluicegate_testkit::lab::overload::{Bound, Measure, Shape};

use super::seen::{Seen, is_ours, published};
use crate::error::Error;
use crate::rounds::Summary;

/// Pixels.
const WIDTH: u32 = 980;
const PANEL: u32 = 320;
const HEAD: u32 = 46;
const LEGEND: u32 = 215;

const TEXT: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// Colours that people who tell few of them apart tell apart. Ours are cold, others warm or grey.
const OURS: [RGBColor; 4] =
    [RGBColor(0, 90, 170), RGBColor(0, 150, 110), RGBColor(80, 175, 230), RGBColor(90, 60, 160)];
const OTHERS: [RGBColor; 8] = [
    RGBColor(120, 120, 120),
    RGBColor(230, 150, 0),
    RGBColor(210, 80, 0),
    RGBColor(200, 110, 165),
    RGBColor(140, 95, 60),
    RGBColor(180, 170, 40),
    RGBColor(235, 130, 130),
    RGBColor(40, 40, 40),
];

/// The whole chart, as a text.
///
/// # Errors
/// What the drawing library has found impossible.
pub(super) fn svg(seen: &Seen) -> Result<String, Error> {
    let mut text = String::new();
    draw(seen, &mut text).map_err(|source| Error::Chart { name: seen.about.name, source })?;
    Ok(text)
}

type Drawn<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(seen: &Seen, text: &mut String) -> Drawn {
    let panels: Vec<_> = seen.measures.iter().filter(|it| it.shape != Shape::OnlyTable).collect();
    let height = HEAD + PANEL * u32::try_from(panels.len())?;
    let root = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let head = format!("{}: {}", seen.about.name, seen.about.title);
    root.draw_text(&head, &("sans-serif", 22).into_font().color(&TEXT), (14, 14))?;
    let (_, rest) = root.split_vertically(HEAD);
    for (measure, area) in panels.iter().zip(rest.split_evenly((panels.len(), 1))) {
        panel(seen, measure, &area)?;
    }
    root.present()?;
    Ok(())
}

/// A subject's line: where it is on the axis, and what it was there.
struct Line<'a> {
    subject: &'a str,
    colour: RGBColor,
    points: Vec<(f64, Summary)>,
}

/// Each subject has the same colour in all panels.
fn colour(seen: &Seen, subject: &str) -> RGBColor {
    let mut all: Vec<&str> = Vec::new();
    for one in seen.measures.iter().flat_map(|measure| seen.subjects(measure)) {
        if is_ours(one) == is_ours(subject) && !all.contains(&one) {
            all.push(one);
        }
    }
    let place = all.iter().position(|one| *one == subject).unwrap_or(0);
    if is_ours(subject) { OURS[place % OURS.len()] } else { OTHERS[place % OTHERS.len()] }
}

fn panel(seen: &Seen, measure: &Measure, area: &Area<'_>) -> Drawn {
    let places = seen.places(measure);
    let over_time = measure.shape == Shape::OnlyChart;
    let subjects = seen.subjects(measure);
    // A few places are drawn as far apart as each other, with the subjects side by side.
    let at = |place: usize, subject: usize| {
        let (count, subject) = (float(subjects.len()), float(subject));
        float(place) + 0.64 * ((subject + 0.5) / count - 0.5)
    };
    let line = |(number, &subject): (usize, &&'_ str)| {
        let points = places.iter().enumerate().filter_map(|(place, &x)| {
            let x_drawn = if over_time { x } else { at(place, number) };
            Some((x_drawn, seen.at(measure, subject, x)?))
        });
        Line { subject: subjects[number], colour: colour(seen, subject), points: points.collect() }
    };
    let lines: Vec<_> = subjects.iter().enumerate().map(line).collect();
    let x = if over_time {
        places.first().copied().unwrap_or(0.0)..places.last().copied().unwrap_or(1.0)
    } else {
        -0.5..float(places.len()) - 0.5
    };
    let (left, right) = area.split_horizontally(WIDTH - LEGEND);
    legend::draw(measure, &lines, &right)?;
    let y = range(measure, &lines);
    let one = Panel { measure, lines, places, over_time };
    if measure.logarithmic { one.draw(&left, x, y.log_scale()) } else { one.draw(&left, x, y) }
}

/// From nothing, or from near the least if all are alike, to a little above the greatest; with the pass line and what was published.
fn range(measure: &Measure, lines: &[Line<'_>]) -> Range<f64> {
    let seen = lines.iter().flat_map(|line| &line.points).flat_map(|(_, it)| [it.min, it.max]);
    let told = measure.published.iter().map(|it| it.value);
    let all: Vec<f64> = seen.chain(told).chain(measure.goal.and_then(pass_line)).collect();
    let most = all.iter().copied().fold(f64::MIN, f64::max);
    if measure.logarithmic {
        let least = all.iter().copied().filter(|it| *it > 0.0).fold(most, f64::min);
        return 10_f64.powf(least.log10().floor())..most * 1.5;
    }
    let least = all.iter().copied().fold(f64::MAX, f64::min);
    let span = (most - least).max(most.abs() * 0.02).max(1e-9);
    let from = if least > 0.7 * most { least - 0.2 * span } else { least.min(0.0) };
    from..most + 0.08 * span
}

/// Where a pass line is drawn.
const fn pass_line(bound: Bound) -> Option<f64> {
    match bound {
        Bound::AtMost(line) | Bound::AtLeast(line) | Bound::NoneAbove(line) | Bound::NoneBelow(line) => {
            Some(line)
        }
        Bound::Within(_) => Some(1.0),
    }
}

struct Panel<'a> {
    measure: &'a Measure,
    lines: Vec<Line<'a>>,
    places: Vec<f64>,
    over_time: bool,
}

impl Panel<'_> {
    fn draw<Y>(&self, area: &Area<'_>, x: Range<f64>, y: Y) -> Drawn
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let Measure { name, unit, axis, .. } = self.measure;
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_left(14)
            .caption(name, ("sans-serif", 16).into_font().color(&TEXT))
            .x_label_area_size(44)
            .y_label_area_size(66)
            .build_cartesian_2d(x.clone(), y)?;
        let label = |value: &f64| {
            if self.over_time {
                return tick(*value);
            }
            let near = value.round();
            let place = self.places.iter().enumerate().find(|(at, _)| float(*at) == near);
            place.filter(|_| (value - near).abs() < 1e-9).map_or_else(String::new, |(_, x)| tick(*x))
        };
        let small = ("sans-serif", 13).into_font().color(&TEXT);
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(WHITE.mix(0.0)).bold_line_style(GRID).axis_style(TEXT);
        let across =
            if axis.unit.is_empty() { axis.name.into() } else { format!("{}, {}", axis.name, axis.unit) };
        mesh.x_desc(across).y_desc(*unit);
        mesh.x_label_formatter(&label).y_label_formatter(&|value| tick(*value));
        mesh.label_style(small.clone()).axis_desc_style(small).y_labels(6);
        if self.over_time {
            mesh.x_labels(10);
        } else {
            mesh.disable_x_mesh().x_labels(self.places.len() * 2 + 1);
        }
        mesh.draw()?;
        self.series(&mut chart, x)
    }

    fn series<Y>(
        &self,
        chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<RangedCoordf64, Y>>,
        x: Range<f64>,
    ) -> Drawn
    where
        Y: Ranged<ValueType = f64>,
    {
        let across = |y: f64| [(x.start, y), (x.end, y)].into_iter();
        if let Some(line) = self.measure.goal.and_then(pass_line) {
            chart.draw_series(DashedLineSeries::new(across(line), 6, 4, TEXT.stroke_width(1)))?;
        }
        for Line { colour, points, subject } in &self.lines {
            let width = if is_ours(subject) { 2 } else { 1 };
            let middle = points.iter().map(|(x, it)| (*x, it.median));
            chart.draw_series(LineSeries::new(middle.clone(), colour.stroke_width(width)))?;
            if self.over_time {
                continue;
            }
            let ranges = points.iter().map(|(x, it)| {
                PathElement::new(vec![(*x, it.min), (*x, it.max)], colour.stroke_width(width + 1))
            });
            chart.draw_series(ranges)?;
            chart.draw_series(middle.map(|at| Circle::new(at, 4, colour.filled())))?;
        }
        let told = self.places.iter().enumerate().filter_map(|(place, x)| {
            let value = published(self.measure, *x)?;
            Some(Cross::new((float(place) + 0.38, value), 5, TEXT.stroke_width(2)))
        });
        chart.draw_series(told)?;
        Ok(())
    }
}

/// With as few digits as it takes.
fn tick(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[expect(clippy::cast_precision_loss, reason = "a few places")]
const fn float(n: usize) -> f64 {
    n as f64
}
