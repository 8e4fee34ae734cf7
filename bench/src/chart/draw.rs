//! Figures as files: SVG for reports, PNG for everything else. The font is part of the program, so
//! that no system without fonts is left without letters.

use std::path::Path;
use std::sync::Once;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

use super::marks;
use super::{Figure, Marks, Panel};

/// The size of a figure with one panel, and of each panel of others.
const ALONE: (u32, u32) = (900, 460);
const PANEL: (u32, u32) = (480, 300);
/// Above the panels: the title, and a legend where there is more than one colour.
const TITLE: u32 = 42;
const LEGEND: u32 = 26;
/// PNG has so many dots to a point, to be sharp on screens of today.
const DOTS: u32 = 2;
pub(super) const FONT: &str = "sans-serif";
pub(super) const INK: RGBColor = RGBColor(40, 44, 52);
const PAPER: RGBColor = WHITE;
/// Colours that people with any kind of sight tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
    RGBColor(190, 180, 50),
];

/// How large everything is: 1 in vectors, more in dots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Zoom(pub(super) u32);

impl Zoom {
    pub(super) const fn px(self, points: u32) -> u32 {
        points * self.0
    }

    pub(super) fn at(self, points: i32) -> i32 {
        points * self.0.cast_signed()
    }

    pub(super) fn text(self, points: u32) -> TextStyle<'static> {
        (FONT, f64::from(self.px(points))).into_font().color(&INK)
    }
}

/// The colour of the so-manieth name.
pub(super) const fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// Writes `NAME.svg` and `NAME.png` into a directory; nothing for a figure with nothing to see.
pub(crate) fn write(figure: &Figure, dir: &Path) -> Result<()> {
    static FONTS: Once = Once::new();
    // Whatever the figure asks for, there is one font in one style.
    FONTS.call_once(|| {
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
    });
    let rows = figure.panels.len().div_ceil(figure.columns.max(1)).max(1);
    let (width, height) = match figure.panels.len() {
        0 => return Ok(()),
        1 => ALONE,
        _ => (PANEL.0 * figure.columns as u32, PANEL.1 * rows as u32),
    };
    let head = if names(figure).len() > 1 { TITLE + LEGEND } else { TITLE };
    let (width, height) = (width, height + head);
    let failed = || format!("cannot draw `{}`", figure.name);
    let path = dir.join(format!("{}.svg", figure.name));
    let vector = SVGBackend::new(&path, (width, height)).into_drawing_area();
    draw(&vector, figure, (head, Zoom(1))).with_context(failed)?;
    let path = dir.join(format!("{}.png", figure.name));
    let size = (width * DOTS, height * DOTS);
    let dots = BitMapBackend::new(&path, size).into_drawing_area();
    draw(&dots, figure, (head, Zoom(DOTS))).with_context(failed)
}

type Area<DB> = DrawingArea<DB, Shift>;

fn draw<DB: DrawingBackend>(
    root: &Area<DB>,
    figure: &Figure,
    (head, zoom): (u32, Zoom),
) -> Result<()> {
    let broken = |error: DrawingAreaErrorKind<DB::ErrorType>| anyhow!("{error}");
    root.fill(&PAPER).map_err(broken)?;
    let (head, body) = root.split_vertically(zoom.px(head));
    let middle = zoom.text(17).pos(Pos::new(HPos::Left, VPos::Top));
    head.draw_text(&figure.title, &middle, (zoom.at(16), zoom.at(12))).map_err(broken)?;
    legend(&head, figure, zoom)?;
    let columns = figure.columns.min(figure.panels.len());
    let rows = figure.panels.len().div_ceil(columns);
    for (area, panel) in body.split_evenly((rows, columns)).iter().zip(&figure.panels) {
        let title = zoom.text(13).pos(Pos::new(HPos::Center, VPos::Top));
        let (width, _) = area.dim_in_pixel();
        let at = (width.cast_signed() / 2, zoom.at(4));
        area.draw_text(&panel.title, &title, at).map_err(broken)?;
        marks::draw(area, panel, &names(figure), zoom)?;
    }
    root.present().map_err(broken)
}

/// The names of all colours of a figure, in the order in which they appear.
fn names(figure: &Figure) -> Vec<String> {
    let mut names = Vec::new();
    for name in figure.panels.iter().flat_map(panel_names) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn panel_names(panel: &Panel) -> Vec<String> {
    match &panel.marks {
        Marks::Bars { sets, .. } | Marks::Stacks { sets, .. } => {
            sets.iter().map(|set| set.name.clone()).collect()
        }
        Marks::Lines(lines) => lines.iter().map(|line| line.name.clone()).collect(),
    }
}

/// A square of each colour with its name, side by side; none where there is one colour only.
fn legend<DB: DrawingBackend>(head: &Area<DB>, figure: &Figure, zoom: Zoom) -> Result<()> {
    let names = names(figure);
    if names.len() < 2 {
        return Ok(());
    }
    let broken = |error: DrawingAreaErrorKind<DB::ErrorType>| anyhow!("{error}");
    let style = zoom.text(12).pos(Pos::new(HPos::Left, VPos::Center));
    let (mut x, y, side) = (zoom.at(16), zoom.at(50), zoom.at(11));
    for (index, name) in names.iter().enumerate() {
        let square = [(x, y - side / 2), (x + side, y + side / 2)];
        head.draw(&Rectangle::new(square, colour(index).filled())).map_err(broken)?;
        x += side + zoom.at(6);
        head.draw_text(name, &style, (x, y)).map_err(broken)?;
        let (width, _) = head.estimate_text_size(name, &style).map_err(broken)?;
        x += width.cast_signed() + zoom.at(18);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{Axis, Bar, Line, Set};

    fn bars(is_stacked: bool) -> Panel {
        let groups = vec!["native".to_owned(), "sandbox".to_owned()];
        let bar = |value| Some(Bar { value, interval: Some((value * 0.9, value * 1.1)) });
        let sets = vec![
            Set { name: "local".into(), bars: vec![bar(1.0), bar(2.0)] },
            Set { name: "push".into(), bars: vec![bar(1.5), None] },
        ];
        let marks = match is_stacked {
            true => Marks::Stacks { groups, sets },
            false => Marks::Bars { groups, sets },
        };
        Panel::new("both", Axis::linear(""), Axis::linear("ms"), marks).ruled(1.8)
    }

    #[test]
    fn every_kind_of_figure_becomes_a_vector_and_a_picture() {
        let dir = tempfile::tempdir().unwrap();
        let lines = vec![
            Line::new("measured", vec![(1.0, 10.0), (10.0, 200.0)]),
            Line::ideal("ideal", vec![(1.0, 8.0), (10.0, 80.0)]),
        ];
        let lines =
            Panel::new("rate", Axis::log("workers"), Axis::log("tasks/s"), Marks::Lines(lines));
        let figure = Figure::of("all", "All kinds", vec![bars(false), bars(true), lines], 2);
        write(&figure, dir.path()).unwrap();
        let vector = std::fs::read_to_string(dir.path().join("all.svg")).unwrap();
        for text in ["All kinds", "sandbox", "push", "ideal", "workers"] {
            assert!(vector.contains(text), "{text}");
        }
        let picture = std::fs::read(dir.path().join("all.png")).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{}", picture.len());
    }

    #[test]
    fn a_figure_without_samples_leaves_no_files() {
        let dir = tempfile::tempdir().unwrap();
        let panel = Panel::new(
            "",
            Axis::linear(""),
            Axis::linear(""),
            Marks::Lines(vec![Line::new("none", vec![])]),
        );
        write(&Figure::one("empty", "Empty", panel), dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
