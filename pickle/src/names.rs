//! The globals and modules that a pickle names, each once, and what the known ones do when called.

use std::collections::{HashMap, HashSet};

use crate::value::Kind;

/// Globals and modules kept; further names are dropped.
const MOST_NAMES: usize = 1024;

/// A class, function or other object that a pickle refers to by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Global {
    /// The module to import.
    pub module: String,
    /// The name within it, with dots for what is nested.
    pub name: String,
}

impl std::fmt::Display for Global {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

/// What calling a global means to this reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Gives an object of this builtin type exactly.
    Gives(Kind),
    /// Gives a code object: `types.CodeType`, or what dill and the Python package call instead.
    MakesCode,
    /// Imports the module that its first argument names.
    Imports,
    /// Gives the type that its argument names.
    FindsType,
    /// Nothing of note.
    Other,
}

/// Everything named so far.
#[derive(Default)]
pub(super) struct Names {
    pub(super) globals: Vec<Global>,
    pub(super) modules: Vec<String>,
    roles: Vec<Role>,
    /// Module, a zero byte, name; and which of the globals that is.
    known: HashMap<Vec<u8>, usize>,
    known_modules: HashSet<String>,
    key: Vec<u8>,
}

impl Names {
    /// Notes a global and gives its index; `None` when there are too many.
    pub(super) fn global(&mut self, module: &str, name: &str) -> Option<usize> {
        self.key.clear();
        self.key.extend_from_slice(module.as_bytes());
        self.key.push(0);
        self.key.extend_from_slice(name.as_bytes());
        if let Some(&index) = self.known.get(&self.key) {
            return Some(index);
        }
        let index = self.globals.len();
        if index == MOST_NAMES {
            return None;
        }
        self.known.insert(self.key.clone(), index);
        self.globals.push(Global { module: module.to_owned(), name: name.to_owned() });
        self.roles.push(role(module, name));
        self.module(module);
        Some(index)
    }

    /// Notes a module.
    pub(super) fn module(&mut self, name: &str) {
        if self.modules.len() < MOST_NAMES && !self.known_modules.contains(name) {
            self.known_modules.insert(name.to_owned());
            self.modules.push(name.to_owned());
        }
    }

    pub(super) fn role(&self, global: usize) -> Role {
        self.roles.get(global).copied().unwrap_or(Role::Other)
    }
}

/// cloudpickle travels under its own name and inside joblib, ray and others.
fn is_cloudpickle(module: &str) -> bool {
    module.split('.').any(|part| part == "cloudpickle")
}

fn role(module: &str, name: &str) -> Role {
    match (module, name) {
        // Calling the class itself gives exactly that class. This does not hold for `int`, `str`,
        // `bytes` and `float`, which may give an object of a subclass, and that may be callable.
        ("builtins" | "__builtin__", _) => match name {
            "set" => Role::Gives(Kind::Set),
            "frozenset" => Role::Gives(Kind::Frozenset),
            "bytearray" => Role::Gives(Kind::Bytearray),
            "complex" => Role::Gives(Kind::Complex),
            "range" | "xrange" => Role::Gives(Kind::Range),
            "slice" => Role::Gives(Kind::Slice),
            "list" => Role::Gives(Kind::List),
            "dict" => Role::Gives(Kind::Dict),
            "__import__" => Role::Imports,
            _ => Role::Other,
        },
        ("dill._dill" | "dill.dill", "_create_code")
        | ("types", "CodeType")
        | ("belljar._remote", "code") => Role::MakesCode,
        ("dill._dill" | "dill.dill", "_import_module") | ("importlib", "import_module") => {
            Role::Imports
        }
        ("dill._dill" | "dill.dill", "_load_type") => Role::FindsType,
        (_, "subimport") if is_cloudpickle(module) => Role::Imports,
        (_, "_builtin_type") if is_cloudpickle(module) => Role::FindsType,
        _ => Role::Other,
    }
}
