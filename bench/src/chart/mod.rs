//! Pictures, said as data; [`draw`] makes files of them.

mod axis;
mod draw;
mod marks;

pub(crate) use draw::write;

/// A picture of one or several panels.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// The name of its files.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) panels: Vec<Panel>,
    /// How many panels stand side by side.
    pub(crate) columns: usize,
}

/// One coordinate system.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) marks: Marks,
    /// A line across at a value that matters, such as a target.
    pub(crate) rule: Option<f64>,
}

/// What an axis shows, and how.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) is_log: bool,
}

/// What a panel holds.
#[derive(Debug, Clone)]
pub(crate) enum Marks {
    /// Bars in groups, side by side.
    Bars {
        groups: Vec<String>,
        sets: Vec<Set>,
    },
    /// One bar for each group, made of parts.
    Stacks {
        groups: Vec<String>,
        sets: Vec<Set>,
    },
    Lines(Vec<Line>),
}

/// The bars of one colour, one for each group.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) bars: Vec<Option<Bar>>,
}

/// A bar, and the interval that it stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bar {
    pub(crate) value: f64,
    pub(crate) interval: Option<(f64, f64)>,
}

/// Points with a line through them.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Dashed, for what was not measured but calculated.
    pub(crate) is_ideal: bool,
}

impl Axis {
    pub(crate) fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), is_log: false }
    }

    pub(crate) fn log(label: &str) -> Self {
        Self { label: label.to_owned(), is_log: true }
    }
}

impl Panel {
    pub(crate) fn new(title: &str, x: Axis, y: Axis, marks: Marks) -> Self {
        Self { title: title.to_owned(), x, y, marks, rule: None }
    }

    /// Draws a line across at a value.
    pub(crate) fn ruled(mut self, at: f64) -> Self {
        self.rule = Some(at);
        self
    }

    /// Whether there is anything to see.
    fn is_empty(&self) -> bool {
        match &self.marks {
            Marks::Bars { sets, .. } | Marks::Stacks { sets, .. } => {
                sets.iter().all(|set| set.bars.iter().all(Option::is_none))
            }
            Marks::Lines(lines) => lines.iter().all(|line| line.points.is_empty()),
        }
    }
}

impl Figure {
    /// A picture of one panel.
    pub(crate) fn one(name: &str, title: &str, panel: Panel) -> Self {
        Self::of(name, title, vec![panel], 1)
    }

    /// A picture of several panels; empty ones are left out.
    pub(crate) fn of(name: &str, title: &str, panels: Vec<Panel>, columns: usize) -> Self {
        let panels: Vec<Panel> = panels.into_iter().filter(|panel| !panel.is_empty()).collect();
        Self { name: name.to_owned(), title: title.to_owned(), panels, columns }
    }
}

impl Line {
    pub(crate) fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, is_ideal: false }
    }

    pub(crate) fn ideal(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, is_ideal: true }
    }
}

impl Bar {
    pub(crate) const fn plain(value: f64) -> Self {
        Self { value, interval: None }
    }
}
