//! The opcodes that name globals and call things, and what there is to learn from them.

use crate::bytecode;
use crate::error::PickleError;
use crate::names::Role;
use crate::opcode as op;
use crate::reader::{block_at, name_in};
use crate::shapes::Shape;
use crate::value::{Kind, Value};
use crate::walk::Walker;

/// What an import costs in looks, besides its name.
const IMPORT_COST: usize = 24;

impl<'a> Walker<'a> {
    pub(super) fn global(&mut self, code: u8) -> Result<(), PickleError> {
        let value = if code == op::GLOBAL {
            self.named_by_lines()?
        } else {
            let name = self.machine.pop(&self.reader)?;
            let module = self.machine.pop(&self.reader)?;
            self.insist(module, Kind::Text, "str")?;
            self.insist(name, Kind::Text, "str")?;
            self.named_by_texts(module, name)
        };
        self.machine.push(value);
        Ok(())
    }

    fn named_by_lines(&mut self) -> Result<Value, PickleError> {
        let (module, name) = (self.reader.line()?, self.reader.line()?);
        let what = match (std::str::from_utf8(module), std::str::from_utf8(name)) {
            (Ok(""), _) | (_, Ok("")) => "an empty name",
            (Ok(module), Ok(name)) => return Ok(self.named(module, name)),
            _ => "not UTF-8",
        };
        Err(PickleError::Text { at: self.reader.at(), opcode: self.reader.name(), what })
    }

    fn named_by_texts(&mut self, module: Value, name: Value) -> Value {
        match (self.look_at_text(module), self.look_at_text(name)) {
            (Some(module), Some(name)) => self.named(module, name),
            _ => Value::of(Kind::Global),
        }
    }

    fn named(&mut self, module: &str, name: &str) -> Value {
        match self.names.global(module, name) {
            Some(index) => Value::with(Kind::Global, index),
            None => Value::of(Kind::Global),
        }
    }

    fn look_at_text(&mut self, text: Value) -> Option<&'a str> {
        self.text_at(text.detail_of(Kind::Text)?)
    }

    fn text_at(&mut self, position: usize) -> Option<&'a str> {
        self.look(0)?;
        let block = block_at(self.reader.data(), position)?;
        self.look(block.len())?;
        name_in(block, self.reader.data().get(position).copied()?)
    }

    /// Pays for a second look at `cost` bytes, as long as there is something left to pay with.
    fn look(&mut self, cost: usize) -> Option<()> {
        self.looks = self.looks.saturating_sub(cost);
        (self.looks > 0).then_some(())
    }

    /// Refuses an object that surely is of another kind.
    fn insist(&self, value: Value, kind: Kind, need: &'static str) -> Result<(), PickleError> {
        match value.kind().plain_name() {
            Some(found) if value.kind() != kind => {
                let (at, opcode) = (self.reader.at(), self.reader.name());
                Err(PickleError::WrongType { at, opcode, need, found })
            }
            _ => Ok(()),
        }
    }

    /// Opcodes that call something.
    pub(super) fn call(&mut self, code: u8) -> Result<(), PickleError> {
        let (callee, arguments) = match code {
            op::INST => {
                let callee = self.named_by_lines()?;
                let height = self.machine.take_mark(&self.reader)?;
                self.machine.cut(height);
                (callee, None)
            }
            op::OBJ => {
                let height = self.machine.take_mark(&self.reader)?;
                let callee = self.machine.above(height).first().copied();
                self.machine.cut(height);
                match callee {
                    Some(callee) => (callee, None),
                    None => return Err(self.machine.underflow(1, &self.reader)),
                }
            }
            _ => {
                if code == op::NEWOBJ_EX {
                    let keywords = self.machine.pop(&self.reader)?;
                    self.insist(keywords, Kind::Dict, "dict")?;
                }
                let arguments = self.machine.pop(&self.reader)?;
                self.insist(arguments, Kind::Tuple, "tuple")?;
                (self.machine.pop(&self.reader)?, Some(arguments))
            }
        };
        self.insist(callee, Kind::Unknown, "callable")?;
        let made = self.made_by(callee, arguments);
        self.machine.push(made);
        Ok(())
    }

    /// The result of calling `callee`, and what follows from it.
    fn made_by(&mut self, callee: Value, arguments: Option<Value>) -> Value {
        if callee.kind() == Kind::CodeType {
            self.note_code(arguments);
        }
        let Some(index) = callee.detail_of(Kind::Global) else { return Value::of(Kind::Made) };
        match self.names.role(index) {
            Role::Gives(kind) => return Value::of(kind),
            Role::MakesCode => self.note_code(arguments),
            Role::Imports => {
                if let Some(module) = self.argument(arguments)
                    && !module.starts_with("__runtime__.")
                {
                    self.names.module(module);
                }
            }
            Role::FindsType if self.argument(arguments) == Some("CodeType") => {
                return Value::of(Kind::CodeType);
            }
            Role::FindsType | Role::Other => {}
        }
        Value::with(Kind::Made, index)
    }

    /// The first argument of a call, where it is a text.
    fn argument(&mut self, arguments: Option<Value>) -> Option<&'a str> {
        let position = self.shapes.first_text(arguments?)?;
        self.text_at(position)
    }

    /// Learns from the arguments of a code object.
    fn note_code(&mut self, arguments: Option<Value>) {
        let Some(Shape::Code(arguments)) = arguments.and_then(|tuple| self.shapes.shape(tuple))
        else {
            return;
        };
        let code = arguments.code.and_then(|at| block_at(self.reader.data(), at as usize));
        let code = code.unwrap_or_default();
        if self.look(code.len()).is_none() {
            return;
        }
        let python = arguments.python(code);
        self.python = self.python.and(python);
        let Some(names) = arguments.names.map(|index| index as usize) else { return };
        for index in bytecode::imports(code, python) {
            if self.look(IMPORT_COST).is_none() {
                return;
            }
            let position = self.shapes.positions(names).get(index).map(|&at| at as usize);
            match position.and_then(|position| self.text_at(position)) {
                Some(module) if !module.is_empty() => self.names.module(module),
                _ => {}
            }
        }
    }
}
