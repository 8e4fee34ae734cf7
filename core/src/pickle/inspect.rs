//! Walks a pickle opcode by opcode and says what it is.

use super::bytecode;
use super::error::PickleError;
use super::machine::Machine;
use super::names::{Global, Names, Role};
use super::opcode as op;
use super::python_hint::PythonHint;
use super::reader::{Reader, block_at, text_at};
use super::shapes::{Shape, Shapes};
use super::text;
use super::value::{Kind, Value};

/// The newest protocol that exists.
const NEWEST_PROTOCOL: u8 = 5;

/// What a pickle is, as far as can be said without loading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The protocol that it declares; 0 for protocols 0 and 1, which declare none.
    pub protocol: u8,
    /// What loading it gives.
    pub top: TopObject,
    /// The globals that it names, each once, in order of appearance; at most 1,024.
    pub globals: Vec<Global>,
    /// The modules that it names, each once: those of the globals, the module objects in it, and
    /// what its functions import. With dots where they were given so; at most 1,024.
    pub modules: Vec<String>,
    /// The Pythons that can run the bytecode in it.
    pub python: PythonHint,
}

impl Inspection {
    /// Whether loading the pickle may give something that can be called.
    #[must_use]
    pub const fn may_be_callable(&self) -> bool {
        !matches!(self.top, TopObject::Plain(_))
    }
}

/// What loading a pickle gives. Its text reads after "the payload is".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopObject {
    /// An object of a builtin type whose objects cannot be called; its name with an article.
    Plain(&'static str),
    /// A class, function or other object by reference.
    Global(Global),
    /// What calling something made: any object. What was called, where it has a name.
    Made(Option<Global>),
    /// Nothing can be said.
    Unknown,
}

impl std::fmt::Display for TopObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(name) => f.write_str(name),
            Self::Global(global) => write!(f, "`{global}`"),
            Self::Made(Some(global)) => write!(f, "what `{global}` makes"),
            Self::Made(None) => f.write_str("what a call makes"),
            Self::Unknown => f.write_str("an unknown object"),
        }
    }
}

/// Reads a pickle of protocol 0 to 5 without loading it.
///
/// Accepts all that `pickle`, dill and cloudpickle write. The time is linear in the length of
/// `data`; memory is at most some eight bytes for each of its bytes, whatever lengths it claims.
///
/// # Errors
/// `data` are not one whole pickle that Python could begin to load here. Bytes after the pickle are
/// refused although Python ignores them: no pickler writes them, so that something was lost.
pub fn inspect(data: &[u8]) -> Result<Inspection, PickleError> {
    if data.is_empty() {
        return Err(PickleError::Empty);
    }
    if u32::try_from(data.len()).is_err() {
        return Err(PickleError::TooLong { length: data.len() });
    }
    let mut walker = Walker::new(data);
    while walker.step()? == Progress::More {}
    walker.finish()
}

#[derive(PartialEq, Eq)]
enum Progress {
    More,
    Stopped,
}

struct Walker<'a> {
    reader: Reader<'a>,
    machine: Machine,
    names: Names,
    shapes: Shapes,
    python: PythonHint,
    protocol: u8,
    frame_end: Option<usize>,
    /// Bytes of names and bytecode that may still be looked at a second time. Each is looked at
    /// once in a genuine pickle; without a bound, a short one could refer to a long one many times.
    looks: usize,
}

impl<'a> Walker<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(data),
            machine: Machine::default(),
            names: Names::default(),
            shapes: Shapes::default(),
            python: PythonHint::UNKNOWN,
            protocol: 0,
            frame_end: None,
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
                Ok(())
            }
            _ => Err(PickleError::Truncated { at, opcode, need, left }),
        }
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

    fn tuple(&mut self, code: u8) -> Result<(), PickleError> {
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
    fn collect(&mut self, code: u8) -> Result<(), PickleError> {
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
    fn fill(&mut self, code: u8) -> Result<(), PickleError> {
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

    fn global(&mut self, code: u8) -> Result<(), PickleError> {
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
        match (std::str::from_utf8(module), std::str::from_utf8(name)) {
            (Ok(module), Ok(name)) => Ok(self.named(module, name)),
            _ => {
                let (at, opcode) = (self.reader.at(), self.reader.name());
                Err(PickleError::Text { at, opcode, what: "not UTF-8" })
            }
        }
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
        let text = text_at(self.reader.data(), position)?;
        self.looks = self.looks.checked_sub(text.len())?;
        Some(text)
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
    fn call(&mut self, code: u8) -> Result<(), PickleError> {
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

    /// What calling `callee` gives, and what that tells.
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
        let code = arguments.code.and_then(|at| block_at(self.reader.data(), at));
        let code = code.unwrap_or_default();
        let Some(looks) = self.looks.checked_sub(code.len()) else { return };
        self.looks = looks;
        let python = arguments.python(code);
        self.python = self.python.and(python);
        let Some(names) = arguments.names else { return };
        for index in bytecode::imports(code, python) {
            let position = self.shapes.positions(names).get(index).map(|&at| at as usize);
            match position.and_then(|position| self.text_at(position)) {
                Some(module) if !module.is_empty() => self.names.module(module),
                _ => {}
            }
        }
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
