//! The unpickler's stack, marks and memo, with kinds in place of objects.
//!
//! The rules are those of CPython's C unpickler: nothing below the last mark can be touched until
//! the mark is taken.

use crate::error::PickleError;
use crate::reader::Reader;
use crate::value::Value;

/// Memo indexes up to here are always believed: Python's table for them stays small.
const HARMLESS_INDEX: u64 = 1 << 16;

/// Stack, marks and memo: four bytes an entry, and none gets more entries, or room for more, than the
/// pickle has bytes (the memo: than an index may be).
#[derive(Default)]
pub(super) struct Machine {
    /// Bytes of the pickle.
    most: usize,
    stack: Vec<Value>,
    /// Heights of the stack at which a mark was set. Four bytes each, because a mark costs its
    /// sender only one; no pickle that is read has more than 4 GiB.
    marks: Vec<u32>,
    /// By index, [`Value::NOTHING`] where nothing was stored.
    memo: Vec<Value>,
    /// How many of them are stored.
    stored: u64,
}

impl Machine {
    /// For a pickle of `length` bytes.
    pub(super) fn new(length: usize) -> Self {
        Self { most: length, ..Self::default() }
    }

    pub(super) fn push(&mut self, value: Value) {
        make_room(&mut self.stack, 1, self.most);
        self.stack.push(value);
    }

    pub(super) fn mark(&mut self) {
        make_room(&mut self.marks, 1, self.most);
        self.marks.push(u32::try_from(self.stack.len()).unwrap_or(u32::MAX));
    }

    fn fence(&self) -> usize {
        self.marks.last().map_or(0, |&height| height as usize)
    }

    /// Objects above the last mark.
    pub(super) fn reachable(&self) -> usize {
        self.stack.len() - self.fence()
    }

    /// Insists on `need` objects above the last mark.
    pub(super) fn need(&self, need: usize, reader: &Reader<'_>) -> Result<(), PickleError> {
        if self.reachable() < need { Err(self.underflow(need, reader)) } else { Ok(()) }
    }

    #[cold]
    pub(super) fn underflow(&self, need: usize, reader: &Reader<'_>) -> PickleError {
        let (at, opcode) = (reader.at(), reader.name());
        PickleError::Underflow { at, opcode, need, found: self.reachable() }
    }

    pub(super) fn pop(&mut self, reader: &Reader<'_>) -> Result<Value, PickleError> {
        self.need(1, reader)?;
        self.stack.pop().ok_or_else(|| self.underflow(1, reader))
    }

    pub(super) fn top(&self, reader: &Reader<'_>) -> Result<Value, PickleError> {
        self.need(1, reader)?;
        self.stack.last().copied().ok_or_else(|| self.underflow(1, reader))
    }

    /// `POP` takes a mark when nothing lies above it.
    pub(super) fn pop_or_unmark(&mut self, reader: &Reader<'_>) -> Result<(), PickleError> {
        if !self.marks.is_empty() && self.reachable() == 0 {
            self.marks.pop();
            return Ok(());
        }
        self.pop(reader).map(|_| ())
    }

    /// Takes the last mark and gives the height at which it was.
    pub(super) fn take_mark(&mut self, reader: &Reader<'_>) -> Result<usize, PickleError> {
        let height = self.marks.pop().map(|height| height as usize);
        height.ok_or_else(|| PickleError::NoMark { at: reader.at(), opcode: reader.name() })
    }

    /// The objects above `height`.
    pub(super) fn above(&self, height: usize) -> &[Value] {
        self.stack.get(height..).unwrap_or_default()
    }

    pub(super) fn cut(&mut self, height: usize) {
        self.stack.truncate(height);
    }

    /// Marks that are still set.
    pub(super) fn open_marks(&self) -> usize {
        self.marks.len()
    }

    /// Objects on the whole stack.
    pub(super) fn height(&self) -> usize {
        self.stack.len()
    }

    /// Stores the top object. An index that no pickler could have reached in so few bytes would
    /// only make Python allocate its table for it.
    pub(super) fn put(&mut self, index: u64, reader: &Reader<'_>) -> Result<(), PickleError> {
        let value = self.top(reader)?;
        check_index(index, reader)?;
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if index >= self.memo.len() {
            let more = index + 1 - self.memo.len();
            make_room(&mut self.memo, more, self.most);
            self.memo.resize(index + 1, Value::NOTHING);
        }
        if let Some(entry) = self.memo.get_mut(index) {
            self.stored += u64::from(*entry == Value::NOTHING);
            *entry = value;
        }
        Ok(())
    }

    /// Stores the top object at the index that is the number of objects stored before.
    pub(super) fn memoize(&mut self, reader: &Reader<'_>) -> Result<(), PickleError> {
        self.put(self.stored, reader)
    }

    /// Pushes a stored object.
    pub(super) fn get(&mut self, index: u64, reader: &Reader<'_>) -> Result<(), PickleError> {
        let stored = usize::try_from(index).ok().and_then(|index| self.memo.get(index));
        let Some(&value) = stored.filter(|&&value| value != Value::NOTHING) else {
            let (at, opcode) = (reader.at(), reader.name());
            return Err(PickleError::MemoMissing { at, opcode, index });
        };
        self.push(value);
        Ok(())
    }
}

/// Refuses a memo index that no pickler could have reached in so few bytes.
pub(super) fn check_index(index: u64, reader: &Reader<'_>) -> Result<(), PickleError> {
    let length = reader.data().len();
    if index <= HARMLESS_INDEX.max(length as u64) {
        return Ok(());
    }
    let (at, opcode) = (reader.at(), reader.name());
    Err(PickleError::MemoIndex { at, opcode, index, length })
}

/// Makes room in `table` for `more` entries: for twice as many as it has, as a `Vec` by itself, but not
/// for more than `most`.
pub(super) fn make_room<T>(table: &mut Vec<T>, more: usize, most: usize) {
    if table.capacity() - table.len() < more {
        let usual = table.len().max(64).min(most.saturating_sub(table.len()));
        table.reserve_exact(more.max(usual));
    }
}
