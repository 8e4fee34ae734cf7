//! Walks a pickle opcode by opcode.

use crate::error::PickleError;
use crate::inspection::{Inspection, Reference, TopObject};
use crate::machine::Machine;
use crate::names::Names;
use crate::opcode as op;
use crate::python_hint::PythonHint;
use crate::reader::{Reader, block_at};
use crate::shapes::Shapes;
use crate::text;
use crate::value::{Kind, Value};

/// The newest protocol that exists.
pub(super) const NEWEST_PROTOCOL: u8 = 5;
/// The longest persistent id that is read, in bytes.
const LONGEST_ID: usize = 128;

/// Reads a pickle of protocol 0 to 5 without loading it.
///
/// Accepts all that `pickle`, dill and cloudpickle write. The time is linear in the length of
/// `data`; memory is at most 16 bytes for each of its bytes and 4 MiB, whatever it claims.
///
/// # Errors
/// `data` are not one whole pickle that Python could begin to load here. Bytes after the pickle are
/// refused although Python ignores them: no pickler writes them, so that something was lost.
pub fn inspect(data: &[u8]) -> Result<Inspection, PickleError> {
    walked(data, Walker::new(data))?.finish()
}

/// The same for pickles that may refer to values outside of them by persistent ids; and these.
///
/// # Errors
/// Those of [`inspect`]; or an id is no text that stands in the pickle.
pub fn inspect_referring(data: &[u8]) -> Result<(Inspection, Vec<Reference>), PickleError> {
    let mut walker = walked(data, Walker { may_refer: true, ..Walker::new(data) })?;
    let references = std::mem::take(&mut walker.references);
    Ok((walker.finish()?, references))
}

fn walked<'a>(data: &[u8], mut walker: Walker<'a>) -> Result<Walker<'a>, PickleError> {
    if data.is_empty() {
        return Err(PickleError::Empty);
    }
    if u32::try_from(data.len()).is_err() {
        return Err(PickleError::TooLong { length: data.len() });
    }
    while walker.step()? == Progress::More {}
    Ok(walker)
}

#[derive(PartialEq, Eq)]
enum Progress {
    More,
    Stopped,
}

/// A pickle on its way to an inspection. What fills containers is in `containers`,
/// what names and calls is in `calls`.
pub(super) struct Walker<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) machine: Machine,
    pub(super) names: Names,
    pub(super) shapes: Shapes,
    pub(super) python: PythonHint,
    protocol: u8,
    frame_end: Option<usize>,
    /// Where the opcode of the current frame is, or of the last one.
    frame_at: usize,
    may_refer: bool,
    references: Vec<Reference>,
    /// Bytes of names and bytecode that may still be looked at a second time. Each is looked at
    /// once in a genuine pickle; without a bound, a short one could refer to a long one many times.
    pub(super) looks: usize,
}

impl<'a> Walker<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(data),
            machine: Machine::new(data.len()),
            names: Names::default(),
            shapes: Shapes::default(),
            python: PythonHint::UNKNOWN,
            protocol: 0,
            frame_end: None,
            frame_at: 0,
            may_refer: false,
            references: Vec::new(),
            looks: data.len().saturating_mul(4).saturating_add(4096),
        }
    }

    fn step(&mut self) -> Result<Progress, PickleError> {
        let code = self.reader.opcode()?;
        match code {
            op::STOP => return self.stop().map(|()| Progress::Stopped),
            op::PROTO => self.proto()?,
            op::FRAME => self.frame()?,
            op::MARK => self.machine.mark(),
            op::POP => self.machine.pop_or_unmark(&self.reader)?,
            op::POP_MARK => {
                let height = self.machine.take_mark(&self.reader)?;
                self.machine.cut(height);
            }
            op::DUP => {
                let top = self.machine.top(&self.reader)?;
                self.machine.push(top);
            }
            op::BINPERSID if self.may_refer => self.refer()?,
            op::PERSID | op::BINPERSID => {
                let (at, opcode) = (self.reader.at(), self.reader.name());
                return Err(PickleError::PersistentId { at, opcode });
            }
            op::NEXT_BUFFER | op::READONLY_BUFFER => {
                let (at, opcode) = (self.reader.at(), self.reader.name());
                return Err(PickleError::Buffer { at, opcode });
            }
            op::PUT | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => self.store(code)?,
            op::GET | op::BINGET | op::LONG_BINGET => self.fetch(code)?,
            op::TUPLE | op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => self.tuple(code)?,
            op::LIST | op::DICT | op::FROZENSET => self.collect(code)?,
            op::APPEND | op::APPENDS | op::ADDITEMS | op::SETITEM | op::SETITEMS | op::BUILD => {
                self.fill(code)?;
            }
            op::GLOBAL | op::STACK_GLOBAL => self.global(code)?,
            op::REDUCE | op::NEWOBJ | op::NEWOBJ_EX | op::OBJ | op::INST => self.call(code)?,
            op::EXT1 | op::EXT2 | op::EXT4 => self.extension(code)?,
            _ => self.plain(code)?,
        }
        self.check_frame()
    }

    /// Objects that are written as themselves.
    fn plain(&mut self, code: u8) -> Result<(), PickleError> {
        let kind = match code {
            op::NONE => Kind::None,
            op::NEWTRUE | op::NEWFALSE => Kind::Bool,
            op::BININT => self.skip(4, Kind::Int)?,
            op::BININT1 => self.skip(1, Kind::Int)?,
            op::BININT2 => self.skip(2, Kind::Int)?,
            op::LONG1 => {
                let length = self.reader.u8()?;
                self.skip(length.into(), Kind::Int)?
            }
            op::LONG4 => self.reader.signed_block().map(|_| Kind::Int)?,
            op::BINFLOAT => self.skip(8, Kind::Float)?,
            op::INT | op::LONG | op::FLOAT => self.number(code)?,
            op::EMPTY_LIST => Kind::List,
            op::EMPTY_TUPLE => Kind::Tuple,
            op::EMPTY_DICT => Kind::Dict,
            op::EMPTY_SET => Kind::Set,
            _ => return self.block(code),
        };
        self.machine.push(Value::of(kind));
        Ok(())
    }

    fn skip(&mut self, length: u64, kind: Kind) -> Result<Kind, PickleError> {
        self.reader.bytes(length).map(|_| kind)
    }

    fn number(&mut self, code: u8) -> Result<Kind, PickleError> {
        let line = self.reader.line()?;
        let (fine, kind) = match (code, line) {
            (op::INT, b"00" | b"01") => (true, Kind::Bool),
            (op::FLOAT, _) => (text::is_float(line), Kind::Float),
            _ => (text::is_integer(line), Kind::Int),
        };
        if fine { Ok(kind) } else { Err(self.bad_number()) }
    }

    #[cold]
    fn bad_number(&self) -> PickleError {
        PickleError::Number { at: self.reader.at(), opcode: self.reader.name() }
    }

    /// Texts and bytes.
    fn block(&mut self, code: u8) -> Result<(), PickleError> {
        let at = self.reader.at();
        let Some(block) = self.reader.block(code)? else {
            return Err(PickleError::UnknownOpcode { at, byte: code });
        };
        let (fine, what) = match code {
            op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 => {
                (text::is_python_utf8(block), "not UTF-8")
            }
            op::UNICODE => (text::has_whole_escapes(block), "a broken escape"),
            op::STRING => (text::is_quoted(block), "no quotes around it"),
            _ => (true, ""),
        };
        if !fine {
            return Err(PickleError::Text { at, opcode: self.reader.name(), what });
        }
        self.machine.push(match code {
            op::BYTEARRAY8 => Value::of(Kind::Bytearray),
            op::BINBYTES | op::SHORT_BINBYTES | op::BINBYTES8 => Value::with(Kind::Bytes, at),
            _ => Value::with(Kind::Text, at),
        });
        Ok(())
    }

    fn proto(&mut self) -> Result<(), PickleError> {
        self.protocol = self.reader.u8()?;
        if self.protocol > NEWEST_PROTOCOL {
            return Err(PickleError::Protocol { at: self.reader.at(), protocol: self.protocol });
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), PickleError> {
        let need = self.reader.u64()?;
        let (at, opcode, left) = (self.reader.at(), self.reader.name(), self.reader.left());
        if let Some(end) = self.frame_end {
            return Err(PickleError::Frame { at, opcode, end });
        }
        match usize::try_from(need) {
            Ok(length) if length <= left => {
                self.frame_end = Some(self.reader.position() + length);
                self.frame_at = at;
                Ok(())
            }
            _ => Err(PickleError::Truncated { at, opcode, need, left }),
        }
    }

    /// A persistent id, in place of which the object that it names will stand.
    fn refer(&mut self) -> Result<(), PickleError> {
        let (at, opcode) = (self.reader.at(), self.reader.name());
        let id = self.machine.pop(&self.reader)?.detail_of(Kind::Text);
        let id = id.and_then(|text_at| block_at(self.reader.data(), text_at));
        let id = id.filter(|id| id.len() <= LONGEST_ID).and_then(|id| std::str::from_utf8(id).ok());
        let Some(id) = id else { return Err(PickleError::PersistentId { at, opcode }) };
        let frame = self.frame_end.map(|_| self.frame_at);
        self.references.push(Reference { at, frame, id: id.to_owned() });
        self.machine.push(Value::of(Kind::Unknown));
        Ok(())
    }

    fn check_frame(&mut self) -> Result<Progress, PickleError> {
        if let Some(end) = self.frame_end {
            if self.reader.position() > end {
                let (at, opcode) = (self.reader.at(), self.reader.name());
                return Err(PickleError::Frame { at, opcode, end });
            }
            if self.reader.position() == end {
                self.frame_end = None;
            }
        }
        Ok(Progress::More)
    }

    fn memo_index(&mut self) -> Result<u64, PickleError> {
        let line = self.reader.line()?;
        text::index(line).ok_or_else(|| self.bad_number())
    }

    fn store(&mut self, code: u8) -> Result<(), PickleError> {
        let index = match code {
            op::PUT => self.memo_index()?,
            op::BINPUT => self.reader.u8()?.into(),
            op::LONG_BINPUT => self.reader.u32()?.into(),
            _ => return self.machine.memoize(&self.reader),
        };
        self.machine.put(index, &self.reader)
    }

    fn fetch(&mut self, code: u8) -> Result<(), PickleError> {
        let index = match code {
            op::GET => self.memo_index()?,
            op::BINGET => self.reader.u8()?.into(),
            _ => self.reader.u32()?.into(),
        };
        self.machine.get(index, &self.reader)
    }

    fn extension(&mut self, code: u8) -> Result<(), PickleError> {
        let extension = match code {
            op::EXT1 => self.reader.u8()?.into(),
            op::EXT2 => self.reader.u16()?.into(),
            _ => self.reader.i32()?,
        };
        if extension <= 0 {
            let (at, opcode) = (self.reader.at(), self.reader.name());
            return Err(PickleError::Extension { at, opcode, code: extension });
        }
        self.machine.push(Value::of(Kind::Unknown));
        Ok(())
    }

    fn stop(&mut self) -> Result<(), PickleError> {
        let (objects, marks) = (self.machine.height(), self.machine.open_marks());
        if objects == 0 {
            return Err(self.machine.underflow(1, &self.reader));
        }
        if objects != 1 || marks != 0 {
            return Err(PickleError::LeftOver { at: self.reader.at(), objects, marks });
        }
        self.check_frame()?;
        let (at, extra) = (self.reader.position(), self.reader.left());
        if extra != 0 { Err(PickleError::TrailingData { at, extra }) } else { Ok(()) }
    }

    fn finish(self) -> Result<Inspection, PickleError> {
        let top = self.machine.top(&self.reader)?;
        let global = || top.detail().and_then(|index| self.names.globals.get(index)).cloned();
        let top = match (top.kind().plain_name(), top.kind()) {
            (Some(name), _) => TopObject::Plain(name),
            (None, Kind::Global) => global().map_or(TopObject::Unknown, TopObject::Global),
            (None, Kind::Made) => TopObject::Made(global()),
            (None, _) => TopObject::Unknown,
        };
        Ok(Inspection {
            protocol: self.protocol,
            top,
            globals: self.names.globals,
            modules: self.names.modules,
            python: self.python.or_unknown(),
        })
    }
}
