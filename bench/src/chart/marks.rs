//! One panel: axes, and the bars or lines within.

use anyhow::{Result, anyhow};
use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Scale;
use super::draw::{INK, Zoom, colour};
use super::{Bar, Line, Marks, Panel, Set};

const GRID: RGBColor = RGBColor(225, 228, 232);
const RULE: RGBColor = RGBColor(200, 30, 30);
/// The part of a group's width that its bars fill.
const FILLED: f64 = 0.8;

type Area<DB> = DrawingArea<DB, Shift>;
type Bars<'a, DB> = ChartContext<'a, DB, Cartesian2d<RangedCoordf64, Scale>>;
type Curves<'a, DB> = ChartContext<'a, DB, Cartesian2d<Scale, Scale>>;

/// Draws a panel; colours go by the place of a name in `names`.
pub(super) fn draw<DB: DrawingBackend>(
    area: &Area<DB>,
    panel: &Panel,
    names: &[String],
    zoom: Zoom,
) -> Result<()> {
    match &panel.marks {
        Marks::Bars { groups, sets } => {
            let tops = sets.iter().flat_map(|set| set.bars.iter().flatten()).map(top);
            let scale = Scale::of(tops.chain(panel.rule), panel.y.is_log);
            let mut chart = framed(area, panel, groups, (scale, zoom))?;
            let width = FILLED / sets.len().max(1) as f64;
            for (index, set) in sets.iter().enumerate() {
                let left =
                    |group: usize| group as f64 + (1.0 - FILLED) / 2.0 + width * index as f64;
                let colour = colour_of(&set.name, names);
                for (group, bar) in set.bars.iter().enumerate() {
                    if let Some(bar) = bar {
                        one_bar(&mut chart, (left(group), width), bar, (colour, scale, zoom))?;
                    }
                }
            }
            rule(&mut chart, panel, groups.len() as f64, zoom)
        }
        Marks::Stacks { groups, sets } => {
            let heights = (0..groups.len()).map(|group| height(sets, group));
            let scale = Scale::of(heights.chain(panel.rule), false);
            let mut chart = framed(area, panel, groups, (scale, zoom))?;
            for group in 0..groups.len() {
                stack(&mut chart, sets, group, names)?;
            }
            rule(&mut chart, panel, groups.len() as f64, zoom)
        }
        Marks::Lines(lines) => curves(area, panel, lines, (names, zoom)),
    }
}

fn colour_of(name: &str, names: &[String]) -> RGBColor {
    colour(names.iter().position(|known| known == name).unwrap_or_default())
}

fn top(bar: &Bar) -> f64 {
    bar.interval.map_or(bar.value, |(_, high)| high.max(bar.value))
}

fn height(sets: &[Set], group: usize) -> f64 {
    sets.iter().filter_map(|set| set.bars.get(group)?.map(|bar| bar.value)).sum()
}

/// Axes for groups of bars, with the names of the groups below.
fn framed<'a, DB: DrawingBackend>(
    area: &'a Area<DB>,
    panel: &Panel,
    groups: &[String],
    (scale, zoom): (Scale, Zoom),
) -> Result<Bars<'a, DB>> {
    let broken = |error: DrawingAreaErrorKind<DB::ErrorType>| anyhow!("{error}");
    let mut builder = margins(area, zoom);
    let count = groups.len() as f64;
    let mut chart = builder.build_cartesian_2d(0.0..count, scale).map_err(broken)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_desc(panel.y.label.as_str())
        .x_desc(panel.x.label.as_str())
        .label_style(zoom.text(11))
        .axis_desc_style(zoom.text(12))
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .draw()
        .map_err(broken)?;
    let style = zoom.text(11).pos(Pos::new(HPos::Center, VPos::Top));
    let (xs, ys) = area.get_pixel_range();
    for (index, group) in groups.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(index as f64 + 0.5, scale.from()));
        let at = (x - xs.start, y - ys.start + zoom.at(6));
        area.draw_text(group, &style, at).map_err(broken)?;
    }
    Ok(chart)
}

fn margins<'a, 'b, DB: DrawingBackend>(area: &'a Area<DB>, zoom: Zoom) -> ChartBuilder<'a, 'b, DB> {
    let mut builder = ChartBuilder::on(area);
    builder
        .margin_top(zoom.px(26))
        .margin_right(zoom.px(20))
        .margin_left(zoom.px(8))
        .margin_bottom(zoom.px(6))
        .x_label_area_size(zoom.px(42))
        .y_label_area_size(zoom.px(62));
    builder
}

fn one_bar<DB: DrawingBackend>(
    chart: &mut Bars<'_, DB>,
    (left, width): (f64, f64),
    bar: &Bar,
    (colour, scale, zoom): (RGBColor, Scale, Zoom),
) -> Result<()> {
    let broken = |error: DrawingAreaErrorKind<DB::ErrorType>| anyhow!("{error}");
    let corners = [(left, scale.from()), (left + width * 0.94, bar.value)];
    chart.draw_series([Rectangle::new(corners, colour.filled())]).map_err(broken)?;
    if let Some((low, high)) = bar.interval {
        let (middle, foot) = (left + width * 0.47, width * 0.12);
        let ink = INK.stroke_width(zoom.px(1));
        let strokes = [
            [(middle, low), (middle, high)],
            [(middle - foot, low), (middle + foot, low)],
            [(middle - foot, high), (middle + foot, high)],
        ];
        let strokes = strokes.map(|stroke| PathElement::new(stroke, ink));
        chart.draw_series(strokes).map_err(broken)?;
    }
    Ok(())
}

fn stack<DB: DrawingBackend>(
    chart: &mut Bars<'_, DB>,
    sets: &[Set],
    group: usize,
    names: &[String],
) -> Result<()> {
    let mut base = 0.0;
    for set in sets {
        let Some(Some(bar)) = set.bars.get(group) else { continue };
        let (left, right) = (group as f64 + 0.2, group as f64 + 0.8);
        let corners = [(left, base), (right, base + bar.value)];
        let part = Rectangle::new(corners, colour_of(&set.name, names).filled());
        chart.draw_series([part]).map_err(|error| anyhow!("{error}"))?;
        base += bar.value;
    }
    Ok(())
}

/// The line across at a value that matters.
fn rule<DB: DrawingBackend>(
    chart: &mut Bars<'_, DB>,
    panel: &Panel,
    width: f64,
    zoom: Zoom,
) -> Result<()> {
    let Some(at) = panel.rule else { return Ok(()) };
    let line = dashed([(0.0, at), (width, at)], RULE, zoom);
    chart.draw_series([line]).map(drop).map_err(|error| anyhow!("{error}"))
}

fn dashed(
    points: impl IntoIterator<Item = (f64, f64)>,
    colour: RGBColor,
    zoom: Zoom,
) -> DashedPathElement<std::vec::IntoIter<(f64, f64)>, u32> {
    let points: Vec<_> = points.into_iter().collect();
    let style = colour.stroke_width(zoom.px(1));
    DashedPathElement::new(points, zoom.px(6), zoom.px(4), style)
}

fn curves<DB: DrawingBackend>(
    area: &Area<DB>,
    panel: &Panel,
    lines: &[Line],
    (names, zoom): (&[String], Zoom),
) -> Result<()> {
    let broken = |error: DrawingAreaErrorKind<DB::ErrorType>| anyhow!("{error}");
    let points = || lines.iter().flat_map(|line| &line.points);
    let x = Scale::of(points().map(|point| point.0), panel.x.is_log);
    let y = Scale::of(points().map(|point| point.1).chain(panel.rule), panel.y.is_log);
    let mut chart: Curves<'_, DB> = margins(area, zoom).build_cartesian_2d(x, y).map_err(broken)?;
    chart
        .configure_mesh()
        .x_desc(panel.x.label.as_str())
        .y_desc(panel.y.label.as_str())
        .label_style(zoom.text(11))
        .axis_desc_style(zoom.text(12))
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .draw()
        .map_err(broken)?;
    for line in lines {
        let colour = colour_of(&line.name, names);
        let points = line.points.iter().copied();
        if line.is_ideal {
            chart.draw_series([dashed(points, colour, zoom)]).map_err(broken)?;
            continue;
        }
        let style = colour.stroke_width(zoom.px(2));
        chart.draw_series(LineSeries::new(points.clone(), style)).map_err(broken)?;
        // Curves of many points are smooth enough without dots.
        if line.points.len() <= 20 {
            let dots = points.map(|point| Circle::new(point, zoom.at(3), colour.filled()));
            chart.draw_series(dots).map_err(broken)?;
        }
    }
    if let Some(at) = panel.rule {
        let across = [(x.from(), at), (x.to(), at)];
        chart.draw_series([dashed(across, RULE, zoom)]).map_err(broken)?;
    }
    Ok(())
}
