//! Finds out whether a call changed anything that the next call would see, within a microsecond.
//!
//! Nothing is compared by value that need not be: CPython gives every change of a dictionary a number of
//! its own, so that one word tells whether a module or a class is as it was. `reset/` says what is watched
//! and puts back what has changed.
#![expect(unsafe_code, reason = "reads fields of Python objects that have no accessor")]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyTuple, PyType};

use crate::intercept;

/// The start of a dictionary, up to the number of its last change. It is the same in Python 3.9 to 3.13.
#[repr(C)]
struct DictHead {
    base: ffi::PyObject,
    used: ffi::Py_ssize_t,
    version: u64,
}

/// Python 3.14 no longer numbers the changes of dictionaries.
static HAS_NO_NUMBERS: LazyLock<bool> =
    LazyLock::new(|| Python::attach(|py| py.version_info() >= (3, 14)));

/// A dictionary that is never dropped, and the number of its last known change.
struct WatchedDict {
    dict: Py<PyDict>,
    version: u64,
    entry: Py<PyAny>,
}

impl WatchedDict {
    fn new(dict: Py<PyDict>, entry: Py<PyAny>) -> Self {
        let mut watched = Self { dict, version: 0, entry };
        watched.version = watched.current();
        watched
    }

    fn current(&self) -> u64 {
        if *HAS_NO_NUMBERS {
            return digest(&self.dict);
        }
        // SAFETY: it is a dictionary, and `self` keeps it alive. The caller holds the interpreter's lock.
        unsafe { (*self.dict.as_ptr().cast::<DictHead>()).version }
    }
}

/// What has no such number.
enum Value {
    /// A list: its items, by identity.
    List(Py<PyList>, Vec<*mut ffi::PyObject>),
    /// A set: how many items it has.
    Set(Py<PySet>, usize),
    /// The attributes of an instance: the values, by identity.
    Attributes(Py<PyDict>, Vec<*mut ffi::PyObject>),
    /// An object of a type in C: the bytes of its structure.
    Bytes(Py<PyAny>, Vec<u8>),
    /// What a function returns. Looked at where a function was called that changes it.
    Call(Py<PyAny>, Py<PyTuple>, Py<PyAny>),
}

// SAFETY: the addresses are only compared, and the thread that compares them holds the interpreter's lock.
unsafe impl Send for Value {}
// SAFETY: as above.
unsafe impl Sync for Value {}

impl Value {
    /// Takes the present state for the known one.
    fn record(&mut self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::List(list, items) => *items = items_of(list.bind(py)).to_vec(),
            Self::Set(set, length) => *length = set.bind(py).len(),
            Self::Attributes(dict, values) => *values = values_of(dict.bind(py)),
            Self::Bytes(object, bytes) => *bytes = bytes_of(object.bind(py)).to_vec(),
            Self::Call(function, args, value) => *value = function.call1(py, &*args)?,
        }
        Ok(())
    }

    fn has_changed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(match self {
            Self::List(list, items) => items_of(list.bind(py)) != items.as_slice(),
            Self::Set(set, length) => set.bind(py).len() != *length,
            Self::Attributes(dict, known) => !has_values(dict.bind(py), known),
            Self::Bytes(object, bytes) => bytes_of(object.bind(py)) != bytes.as_slice(),
            Self::Call(function, args, value) => {
                let now = function.bind(py).call1(args.bind(py))?;
                !now.is(value) && !now.eq(value)?
            }
        })
    }
}

fn items_of<'a>(list: &'a Bound<'_, PyList>) -> &'a [*mut ffi::PyObject] {
    let list = list.as_ptr().cast::<ffi::PyListObject>();
    // SAFETY: it is a list, which does not change while the interpreter's lock is held and no Python code
    // runs. An empty list may have no items at all.
    unsafe {
        let length = usize::try_from((*list).ob_base.ob_size).unwrap_or(0);
        if length == 0 { &[] } else { std::slice::from_raw_parts((*list).ob_item, length) }
    }
}

fn values_of(dict: &Bound<'_, PyDict>) -> Vec<*mut ffi::PyObject> {
    dict.iter().map(|(_, value)| value.as_ptr()).collect()
}

/// Tells a state of a dictionary from others by what it holds: the addresses of all values.
fn digest(dict: &Py<PyDict>) -> u64 {
    let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
    let mut digest = 0_u64;
    // SAFETY: as in `has_values`.
    unsafe {
        while ffi::PyDict_Next(dict.as_ptr(), &raw mut at, &raw mut key, &raw mut value) != 0 {
            digest = (digest.rotate_left(5) ^ value as u64).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
    digest
}

/// Whether the values of `dict` are those of `known`, in the same order.
fn has_values(dict: &Bound<'_, PyDict>, known: &[*mut ffi::PyObject]) -> bool {
    let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: a dictionary that does not change meanwhile; the references are borrowed.
    let mut next = || unsafe {
        (ffi::PyDict_Next(dict.as_ptr(), &raw mut at, &raw mut key, &raw mut value) != 0)
            .then_some(value)
    };
    known.iter().all(|known| next() == Some(*known)) && next().is_none()
}

/// The fields of an object, without the count of its references and its type.
fn bytes_of<'a>(object: &'a Bound<'_, PyAny>) -> &'a [u8] {
    let header = size_of::<ffi::PyObject>();
    // SAFETY: every object of a type has `tp_basicsize` bytes. They do not change while the interpreter's
    // lock is held and no Python code runs.
    unsafe {
        let size = (*ffi::Py_TYPE(object.as_ptr())).tp_basicsize;
        let length = usize::try_from(size).unwrap_or(0).saturating_sub(header);
        std::slice::from_raw_parts(object.as_ptr().cast::<u8>().add(header), length)
    }
}

/// All that is watched. Each has an entry: the object of `reset/` that knows how to put it back.
#[pyclass(module = "belljar_reset")]
#[derive(Default)]
pub(crate) struct Watch {
    dicts: Vec<WatchedDict>,
    /// Of classes: looked at where an attribute of any class was set.
    classes: Vec<WatchedDict>,
    values: Vec<(Value, Py<PyAny>)>,
}

impl Watch {
    fn add(&mut self, py: Python<'_>, mut value: Value, entry: Py<PyAny>) -> PyResult<()> {
        value.record(py)?;
        self.values.push((value, entry));
        Ok(())
    }
}

#[pymethods]
impl Watch {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Watches a dictionary.
    fn dict(&mut self, dict: Py<PyDict>, entry: Py<PyAny>) {
        self.dicts.push(WatchedDict::new(dict, entry));
    }

    /// Watches the attributes of a class that is made in Python; gives their dictionary.
    fn class_(&mut self, class: &Bound<'_, PyType>, entry: Py<PyAny>) -> PyResult<Py<PyDict>> {
        let py = class.py();
        // SAFETY: the type is alive. A type on the heap owns its dictionary.
        let dict = unsafe {
            let class = class.as_ptr().cast::<ffi::PyTypeObject>();
            let on_heap = (*class).tp_flags & ffi::Py_TPFLAGS_HEAPTYPE != 0;
            let dict = if on_heap { (*class).tp_dict } else { std::ptr::null_mut() };
            Bound::from_borrowed_ptr_or_opt(py, dict)
        };
        let dict = dict.ok_or_else(|| PyTypeError::new_err("not a class made in Python"))?;
        let dict = dict.cast_into::<PyDict>()?.unbind();
        self.classes.push(WatchedDict::new(dict.clone_ref(py), entry));
        Ok(dict)
    }

    /// Watches the items of a list.
    fn list(&mut self, list: Bound<'_, PyList>, entry: Py<PyAny>) -> PyResult<()> {
        self.add(list.py(), Value::List(list.clone().unbind(), Vec::new()), entry)
    }

    /// Watches how many items a set has.
    fn set(&mut self, set: Bound<'_, PySet>, entry: Py<PyAny>) -> PyResult<()> {
        self.add(set.py(), Value::Set(set.clone().unbind(), 0), entry)
    }

    /// Watches the attributes of an instance.
    fn attributes(&mut self, dict: Bound<'_, PyDict>, entry: Py<PyAny>) -> PyResult<()> {
        self.add(dict.py(), Value::Attributes(dict.clone().unbind(), Vec::new()), entry)
    }

    /// Watches the structure of an object of a type in C.
    fn bytes(&mut self, object: Bound<'_, PyAny>, entry: Py<PyAny>) -> PyResult<()> {
        self.add(object.py(), Value::Bytes(object.clone().unbind(), Vec::new()), entry)
    }

    /// Has calls of `function` noted, after which what functions return is looked at again.
    #[staticmethod]
    fn intercept(function: &Bound<'_, PyAny>) -> PyResult<()> {
        intercept::intercept(function)
    }

    /// Watches what a function returns.
    #[pyo3(signature = (entry, function, *args))]
    fn call(
        &mut self,
        entry: Py<PyAny>,
        function: Bound<'_, PyAny>,
        args: Bound<'_, PyTuple>,
    ) -> PyResult<()> {
        let py = function.py();
        self.add(py, Value::Call(function.unbind(), args.unbind(), py.None()), entry)
    }

    /// Watches nothing of `entry` any more that has no dictionary.
    fn forget(&mut self, entry: Bound<'_, PyAny>) {
        self.values.retain(|(_, other)| !entry.is(other));
    }

    /// The entries of what has changed; `None` where there is nothing to do.
    fn changed(&self, py: Python<'_>) -> PyResult<Option<Vec<Py<PyAny>>>> {
        let called = intercept::called();
        let mut entries = Vec::new();
        let classes = if intercept::class_changed() { self.classes.as_slice() } else { &[] };
        let dicts = self.dicts.iter().chain(classes);
        let dicts = dicts.filter(|dict| dict.current() != dict.version);
        entries.extend(dicts.map(|dict| dict.entry.clone_ref(py)));
        for (value, entry) in &self.values {
            let skipped = matches!(value, Value::Call(..)) && !called;
            if !skipped && value.has_changed(py)? {
                entries.push(entry.clone_ref(py));
            }
        }
        let noted = called || intercept::class_changed();
        Ok((noted || !entries.is_empty()).then_some(entries))
    }

    /// Forgets which functions were called: all of their state is as it is known to be.
    #[staticmethod]
    fn settle() {
        intercept::forget();
    }

    /// Takes the present state of `entries` for the known one.
    fn record(&mut self, entries: Bound<'_, PyAny>) -> PyResult<()> {
        let py = entries.py();
        let dicts = self.dicts.iter_mut().chain(&mut self.classes);
        for dict in dicts.filter(|dict| dict.current() != dict.version) {
            if entries.contains(&dict.entry)? {
                dict.version = dict.current();
            }
        }
        for (value, entry) in &mut self.values {
            if entries.contains(&*entry)? {
                value.record(py)?;
            }
        }
        Ok(())
    }
}

/// Stands in for the function of the import system that finds and loads a module, and tells `reset/`
/// before and after the outermost import: what an import changes is part of the module's being imported.
///
/// Not a function in Python: its frame would be in the traceback of each failed import.
#[pyclass(module = "belljar_reset", frozen)]
pub(crate) struct Importer {
    load: Py<PyAny>,
    before: Py<PyAny>,
    after: Py<PyAny>,
    depth: AtomicUsize,
}

#[pymethods]
impl Importer {
    #[new]
    fn new(load: Py<PyAny>, before: Py<PyAny>, after: Py<PyAny>) -> Self {
        Self { load, before, after, depth: AtomicUsize::new(0) }
    }

    fn __call__(&self, py: Python<'_>, name: Py<PyAny>, import: Py<PyAny>) -> PyResult<Py<PyAny>> {
        if self.depth.fetch_add(1, Ordering::Relaxed) == 0 {
            self.before.call0(py)?;
        }
        let loaded = self.load.call1(py, (name, import));
        if self.depth.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.after.call0(py)?;
        }
        loaded
    }
}

/// The module that `reset/` imports the two classes from.
pub(crate) fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    intercept::intercept_classes(py)?;
    let module = PyModule::new(py, "belljar_watch")?;
    module.add_class::<Watch>()?;
    module.add_class::<Importer>()?;
    Ok(module)
}
