//! What loading a pickle may run: nothing but constructors of plain values, or more.
//!
//! A pickle reaches code outside of itself by naming it, so the names decide, whatever the pickle does with
//! them. Names are found without a model of the whole stack: a pickler writes the two texts of a name right
//! before the opcode that takes them, or fetches them from the memo there. A name that is put together in
//! any other way counts as unknown.

use std::collections::HashSet;
use std::sync::LazyLock;

use belljar_core::outcome::ResultKind;

use crate::error::PickleError;
use crate::opcode as op;
use crate::reader::{Reader, block_at};
use crate::text;

/// The most globals that [`result_kind`] lists.
pub const MAX_RESULT_GLOBALS: usize = 64;
/// The longest module, and the longest name in it, that [`result_kind`] lists, in bytes.
pub const MAX_GLOBAL_BYTES: usize = 128;

/// The names that data may have; the Python package reads the same list.
const TABLE: &str = include_str!("../../client/src/belljar/data_globals.txt");

static DATA_GLOBALS: LazyLock<HashSet<(&str, &str)>> = LazyLock::new(|| data_globals().collect());

/// What a pickle may name and still be data, as module and name.
pub fn data_globals() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = TABLE.lines().filter_map(|line| line.split_once(": "));
    let lines = lines.filter(|(module, _)| !module.starts_with('#'));
    lines.flat_map(|(module, names)| names.split_whitespace().map(move |name| (module, name)))
}

/// What loading a pickle runs, found without loading it.
///
/// One walk over the opcodes, linear in the length of `data` and without a copy. A pickle that names nothing
/// costs some nanoseconds for each opcode and no memory; any other at most four bytes for each of its own.
#[must_use]
pub fn result_kind(data: &[u8]) -> ResultKind {
    match names_nothing(data) {
        Ok(true) => ResultKind::Data,
        Ok(false) => NameWalker::new(data).run(),
        Err(error) => objects(Vec::new(), Some(broken(&error))),
    }
}

fn objects(globals: Vec<String>, unreadable: Option<String>) -> ResultKind {
    ResultKind::Objects { globals, unreadable }
}

fn broken(error: &PickleError) -> String {
    format!("it is no pickle that can be read: {error}")
}

/// Whether a whole pickle has no opcode that reaches outside of it. What its opcodes make of each other does
/// not matter then: where they do not fit, loading fails.
fn names_nothing(data: &[u8]) -> Result<bool, PickleError> {
    let mut reader = Reader::new(data);
    loop {
        match reader.opcode()? {
            op::STOP => return end(&reader).map(|()| true),
            op::GLOBAL | op::STACK_GLOBAL | op::INST => return Ok(false),
            op::EXT1 | op::EXT2 | op::EXT4 => return Ok(false),
            code => skip(&mut reader, code)?,
        }
    }
}

fn end(reader: &Reader<'_>) -> Result<(), PickleError> {
    match reader.left() {
        0 => Ok(()),
        extra => Err(PickleError::TrailingData { at: reader.position(), extra }),
    }
}

/// Goes past the argument of an opcode that names nothing.
fn skip(reader: &mut Reader<'_>, code: u8) -> Result<(), PickleError> {
    match code {
        op::MEMOIZE | op::NONE | op::NEWTRUE | op::NEWFALSE | op::MARK | op::EMPTY_TUPLE => {}
        op::EMPTY_LIST | op::EMPTY_DICT | op::EMPTY_SET | op::LIST | op::DICT | op::FROZENSET => {}
        op::TUPLE | op::TUPLE1 | op::TUPLE2 | op::TUPLE3 | op::POP | op::POP_MARK | op::DUP => {}
        op::APPEND | op::APPENDS | op::ADDITEMS | op::SETITEM | op::SETITEMS | op::BUILD => {}
        op::REDUCE | op::NEWOBJ | op::NEWOBJ_EX | op::OBJ => {}
        op::PROTO => {
            let protocol = reader.u8()?;
            if protocol > crate::walk::NEWEST_PROTOCOL {
                return Err(PickleError::Protocol { at: reader.at(), protocol });
            }
        }
        op::BININT1 | op::BINPUT | op::BINGET => reader.bytes(1).map(drop)?,
        op::BININT2 => reader.bytes(2).map(drop)?,
        op::BININT | op::LONG_BINGET => reader.bytes(4).map(drop)?,
        op::BINFLOAT | op::FRAME => reader.bytes(8).map(drop)?,
        op::LONG1 => {
            let length = reader.u8()?;
            reader.bytes(length.into())?;
        }
        op::LONG4 => reader.signed_block().map(drop)?,
        op::INT | op::LONG | op::FLOAT | op::GET => reader.line().map(drop)?,
        op::PUT | op::LONG_BINPUT => store_index(reader, code).map(drop)?,
        op::PERSID | op::BINPERSID => {
            let (at, opcode) = (reader.at(), reader.name());
            return Err(PickleError::PersistentId { at, opcode });
        }
        op::NEXT_BUFFER | op::READONLY_BUFFER => {
            let (at, opcode) = (reader.at(), reader.name());
            return Err(PickleError::Buffer { at, opcode });
        }
        _ => {
            let at = reader.at();
            if reader.block(code)?.is_none() {
                return Err(PickleError::UnknownOpcode { at, byte: code });
            }
        }
    }
    Ok(())
}

/// The memo index that an opcode stores at. Python makes room for all below it, so that it must be one that
/// a pickle of this length can have reached.
fn store_index(reader: &mut Reader<'_>, code: u8) -> Result<usize, PickleError> {
    let index = match code {
        op::BINPUT => reader.u8()?.into(),
        op::LONG_BINPUT => reader.u32()?.into(),
        _ => fetch_index(reader, code)?,
    };
    crate::machine::check_index(index, reader)?;
    Ok(usize::try_from(index).unwrap_or(usize::MAX))
}

fn fetch_index(reader: &mut Reader<'_>, code: u8) -> Result<u64, PickleError> {
    Ok(match code {
        op::BINGET => reader.u8()?.into(),
        op::LONG_BINGET => reader.u32()?.into(),
        _ => text::index(reader.line()?)
            .ok_or_else(|| PickleError::Number { at: reader.at(), opcode: reader.name() })?,
    })
}

/// Where the opcode of a text is, or [`UNKNOWN`] for any other object.
type TextAt = u32;
const UNKNOWN: TextAt = u32::MAX;

/// Finds the names in a pickle.
struct NameWalker<'a> {
    reader: Reader<'a>,
    /// The topmost object of the stack and the one below.
    top: TextAt,
    below: TextAt,
    /// The memo, as long as its indexes follow one another, as all picklers count them.
    memo: Option<Vec<TextAt>>,
    seen: HashSet<String>,
    globals: Vec<String>,
    unreadable: Option<String>,
    /// Bytes of names that may still be looked at. A short pickle can refer to a long name many times.
    looks: usize,
}

/// What a name costs in looks, beside its length.
const LOOK_COST: usize = 64;

impl<'a> NameWalker<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(data),
            top: UNKNOWN,
            below: UNKNOWN,
            memo: Some(Vec::new()),
            seen: HashSet::new(),
            globals: Vec::new(),
            unreadable: None,
            looks: data.len().saturating_add(1 << 16),
        }
    }

    fn run(mut self) -> ResultKind {
        if u32::try_from(self.reader.data().len()).is_err() {
            let length = self.reader.data().len();
            return objects(Vec::new(), Some(broken(&PickleError::TooLong { length })));
        }
        // Once something cannot be read, no further name makes a difference to what a client may do.
        while self.unreadable.is_none() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.unreadable = Some(broken(&error)),
            }
        }
        if self.globals.is_empty() && self.unreadable.is_none() {
            return ResultKind::Data;
        }
        objects(self.globals, self.unreadable)
    }

    /// Reads one opcode; whether more follow.
    fn step(&mut self) -> Result<bool, PickleError> {
        let code = self.reader.opcode()?;
        match code {
            op::STOP => return end(&self.reader).map(|()| false),
            op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 => {
                let at = self.reader.at();
                self.reader.block(code)?;
                self.push(u32::try_from(at).unwrap_or(UNKNOWN));
            }
            op::MEMOIZE => {
                if let Some(memo) = &mut self.memo {
                    memo.push(self.top);
                }
            }
            op::PUT | op::BINPUT | op::LONG_BINPUT => {
                let index = store_index(&mut self.reader, code)?;
                self.store(index);
            }
            op::GET | op::BINGET | op::LONG_BINGET => {
                let index = fetch_index(&mut self.reader, code)?;
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                let memo = self.memo.as_ref();
                self.push(memo.and_then(|memo| memo.get(index)).copied().unwrap_or(UNKNOWN));
            }
            op::PROTO | op::FRAME => skip(&mut self.reader, code)?,
            op::GLOBAL | op::INST => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                self.name(module, name);
                self.forget();
            }
            op::STACK_GLOBAL => {
                match (self.text_at(self.below), self.text_at(self.top)) {
                    (Some(module), Some(name)) => self.name(module, name),
                    _ => {
                        self.unreadable =
                            Some("a name in it is put together as it is loaded".into())
                    }
                }
                self.forget();
            }
            op::EXT1 | op::EXT2 | op::EXT4 => {
                self.unreadable = Some("it names an extension of pickle by number".into());
            }
            _ => {
                skip(&mut self.reader, code)?;
                self.forget();
            }
        }
        Ok(true)
    }

    const fn push(&mut self, text: TextAt) {
        (self.below, self.top) = (self.top, text);
    }

    const fn forget(&mut self) {
        (self.below, self.top) = (UNKNOWN, UNKNOWN);
    }

    fn store(&mut self, index: usize) {
        let Some(memo) = &mut self.memo else { return };
        if let Some(entry) = memo.get_mut(index) {
            *entry = self.top;
        } else if index == memo.len() {
            memo.push(self.top);
        } else {
            self.memo = None;
        }
    }

    fn text_at(&self, at: TextAt) -> Option<&'a [u8]> {
        if at == UNKNOWN { None } else { block_at(self.reader.data(), at as usize) }
    }

    fn name(&mut self, module: &[u8], name: &[u8]) {
        let cost = LOOK_COST + module.len() + name.len();
        let short = module.len().max(name.len()) <= MAX_GLOBAL_BYTES;
        let (true, Some(left)) = (short, self.looks.checked_sub(cost)) else {
            let why = if short { "it names too much".to_owned() } else { too_long() };
            self.unreadable = Some(why);
            return;
        };
        self.looks = left;
        let (Ok(module), Ok(name)) = (std::str::from_utf8(module), std::str::from_utf8(name))
        else {
            self.unreadable = Some("a name in it is not UTF-8".into());
            return;
        };
        if DATA_GLOBALS.contains(&(module, name)) {
            return;
        }
        let global = format!("{module}.{name}");
        if self.seen.contains(&global) {
            return;
        }
        if self.globals.len() == MAX_RESULT_GLOBALS {
            self.unreadable = Some(format!("it names more than {MAX_RESULT_GLOBALS} globals"));
            return;
        }
        self.seen.insert(global.clone());
        self.globals.push(global);
    }
}

fn too_long() -> String {
    format!("a name in it is longer than {MAX_GLOBAL_BYTES} bytes")
}
