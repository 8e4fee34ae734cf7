//! The opcodes that make tuples, lists, dicts and sets of the objects on the stack, or fill them.

use crate::error::PickleError;
use crate::opcode as op;
use crate::value::{Kind, Value};
use crate::walk::Walker;

impl Walker<'_> {
    pub(super) fn tuple(&mut self, code: u8) -> Result<(), PickleError> {
        let height = match code {
            op::TUPLE => self.machine.take_mark(&self.reader)?,
            _ => {
                let count = usize::from(code - op::TUPLE1) + 1;
                self.machine.need(count, &self.reader)?;
                self.machine.height() - count
            }
        };
        let tuple = self.shapes.tuple(self.machine.above(height));
        self.machine.cut(height);
        self.machine.push(tuple);
        Ok(())
    }

    /// Lists, dicts and frozensets made of all that lies above the mark.
    pub(super) fn collect(&mut self, code: u8) -> Result<(), PickleError> {
        let height = self.machine.take_mark(&self.reader)?;
        let kind = match code {
            op::LIST => Kind::List,
            op::FROZENSET => Kind::Frozenset,
            _ => {
                self.check_pairs(height)?;
                Kind::Dict
            }
        };
        self.machine.cut(height);
        self.machine.push(Value::of(kind));
        Ok(())
    }

    fn check_pairs(&self, height: usize) -> Result<(), PickleError> {
        let found = self.machine.height() - height;
        if found.is_multiple_of(2) {
            return Ok(());
        }
        Err(PickleError::OddItems { at: self.reader.at(), opcode: self.reader.name(), found })
    }

    /// Opcodes that put something into the object below, which stays what it is.
    pub(super) fn fill(&mut self, code: u8) -> Result<(), PickleError> {
        let height = match code {
            op::APPEND | op::BUILD => {
                self.machine.need(2, &self.reader)?;
                self.machine.height() - 1
            }
            op::SETITEM => {
                self.machine.need(3, &self.reader)?;
                self.machine.height() - 2
            }
            _ => self.machine.take_mark(&self.reader)?,
        };
        if code == op::SETITEMS {
            self.check_pairs(height)?;
        }
        self.machine.cut(height);
        self.machine.need(1, &self.reader)
    }
}
