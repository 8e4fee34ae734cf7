//! The few tuples whose contents matter: texts, and the arguments of a code object.

use crate::bytecode;
use crate::machine::make_room;
use crate::python_hint::PythonHint;
use crate::value::{Kind, Value};

/// Bounds of what is kept. For a pickle that needs more, the answer says less.
const MOST_SHAPES: usize = 1 << 16;
const MOST_TEXTS: usize = 1 << 18;

/// What is kept of a tuple.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// Only texts: a slice of `Shapes::texts`.
    Texts { first: u32, count: u32 },
    /// As many objects as a code object has arguments.
    Code(CodeArguments),
}

/// The arguments of `types.CodeType`, as far as they tell something.
#[derive(Clone, Copy)]
pub(super) struct CodeArguments {
    /// The Pythons whose code objects have so many arguments.
    pub(super) python: PythonHint,
    /// Where `co_code` is.
    pub(super) code: Option<u32>,
    /// Which of the shapes `co_names` is.
    pub(super) names: Option<u32>,
}

/// The tuples kept.
#[derive(Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    /// Where the opcodes of texts are.
    texts: Vec<u32>,
}

impl Shapes {
    /// A tuple of `items`.
    pub(super) fn tuple(&mut self, items: &[Value]) -> Value {
        if self.shapes.len() == MOST_SHAPES {
            return Value::of(Kind::Tuple);
        }
        let texts = items.first().is_some_and(|item| item.kind() == Kind::Text);
        let shape = if texts { self.texts(items) } else { code_arguments(items) };
        let Some(shape) = shape else { return Value::of(Kind::Tuple) };
        make_room(&mut self.shapes, 1, MOST_SHAPES);
        self.shapes.push(shape);
        Value::with(Kind::Tuple, self.shapes.len() - 1)
    }

    fn texts(&mut self, items: &[Value]) -> Option<Shape> {
        let first = self.texts.len();
        if first + items.len() > MOST_TEXTS {
            return None;
        }
        make_room(&mut self.texts, items.len(), MOST_TEXTS);
        for item in items {
            let position = item.detail_of(Kind::Text).and_then(|at| u32::try_from(at).ok());
            let Some(position) = position else {
                self.texts.truncate(first);
                return None;
            };
            self.texts.push(position);
        }
        Some(Shape::Texts { first: first.try_into().ok()?, count: items.len().try_into().ok()? })
    }

    pub(super) fn shape(&self, tuple: Value) -> Option<Shape> {
        self.shapes.get(tuple.detail_of(Kind::Tuple)?).copied()
    }

    /// Where the texts of shape `index` are.
    pub(super) fn positions(&self, index: usize) -> &[u32] {
        match self.shapes.get(index) {
            Some(&Shape::Texts { first, count }) => {
                let (first, count) = (first as usize, count as usize);
                self.texts.get(first..first + count).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// Where the first text of `tuple` is.
    pub(super) fn first_text(&self, tuple: Value) -> Option<usize> {
        let positions = self.positions(tuple.detail_of(Kind::Tuple)?);
        positions.first().map(|&position| position as usize)
    }
}

/// What `items` are as arguments of a code object. cloudpickle gives those of `types.CodeType`;
/// dill from 3.10 on puts `co_lnotab` in front of them.
fn code_arguments(items: &[Value]) -> Option<Shape> {
    let led = match items.first()?.kind() {
        Kind::Int => false,
        // Before protocol 3, bytes are what a call to `_codecs.encode` made.
        Kind::Bytes | Kind::Made => true,
        _ => return None,
    };
    let items = if led { items.get(1..)? } else { items };
    let (python, code) = match (led, items.len()) {
        (false, 15) => (PythonHint::before(8), 5),
        (false, 16) => (PythonHint::before(11).and(PythonHint::since(8)), 6),
        (true, 16) => (PythonHint::only(10), 6),
        (_, 18) => (PythonHint::since(11), 6),
        _ => return None,
    };
    if !items.iter().take(code).all(|item| item.kind() == Kind::Int) {
        return None;
    }
    let small = |detail: usize| u32::try_from(detail).ok();
    let names = items.get(code + 2)?.detail_of(Kind::Tuple).and_then(small);
    let code = items.get(code)?.detail_of(Kind::Bytes).and_then(small);
    Some(Shape::Code(CodeArguments { python, code, names }))
}

impl CodeArguments {
    /// The Pythons that can have made this code object with the bytecode `code`.
    pub(super) fn python(&self, code: &[u8]) -> PythonHint {
        if self.python == PythonHint::since(11) {
            self.python.and(bytecode::written_by(code))
        } else {
            self.python
        }
    }
}
