//! Notes whether a call used one of the functions that change the state of the interpreter or the process.
//!
//! Asking after each call what all of that state is would cost more than a small call. So the functions that
//! change it, such as `gc.disable` and `os.nice`, note that they were called, and the state is looked at
//! only then. A function stays the object that it is: its C function is replaced, which also holds where
//! CPython calls that directly.
#![expect(unsafe_code, reason = "replaces the C functions of builtin functions")]

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Any C function of a builtin function. Depending on the flags of the function it takes two to five
/// arguments, each a pointer or a number of that size.
type Function = unsafe extern "C" fn(usize, usize, usize, usize, usize) -> *mut ffi::PyObject;

/// The functions that stand in, each with a place in `REPLACED`.
const STAND_INS: [Function; 64] = stand_ins();
/// What they stand in for.
static REPLACED: [AtomicPtr<()>; 64] = [const { AtomicPtr::new(ptr::null_mut()) }; 64];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static CALLED: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn stand_in<const INDEX: usize>(
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
) -> *mut ffi::PyObject {
    CALLED.store(true, Ordering::Relaxed);
    // SAFETY: the address is that of the replaced function. It takes at most five arguments of a register
    // each; those that it does not take it does not read. This holds on x86-64 and on AArch64.
    unsafe {
        let replaced = REPLACED[INDEX].load(Ordering::Relaxed);
        std::mem::transmute::<*mut (), Function>(replaced)(a, b, c, d, e)
    }
}

const fn stand_ins() -> [Function; 64] {
    macro_rules! list {
        ($($index:literal)*) => { [$(stand_in::<$index>),*] };
    }
    list!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63)
}

/// Has calls of `function`, a builtin one, noted.
pub(crate) fn intercept(function: &Bound<'_, PyAny>) -> PyResult<()> {
    let refused = |why| Err(PyTypeError::new_err(format!("{function:?} {why}")));
    // SAFETY: checked to be a builtin function; its definition lives as long as the process and may be
    // written: CPython keeps it in a table that is not constant.
    unsafe {
        if ffi::PyCFunction_CheckExact(function.as_ptr()) == 0 {
            return refused("is no builtin function");
        }
        let definition = (*function.as_ptr().cast::<ffi::PyCFunctionObject>()).m_ml;
        let method = &raw mut (*definition).ml_meth;
        let current = method.cast::<*mut ()>().read();
        if STAND_INS.iter().any(|stand_in| ptr::eq(*stand_in as *mut (), current)) {
            return Ok(());
        }
        let index = COUNT.load(Ordering::Relaxed);
        let (Some(place), Some(stand_in)) = (REPLACED.get(index), STAND_INS.get(index)) else {
            return refused("is one too many");
        };
        place.store(current, Ordering::Relaxed);
        COUNT.store(index + 1, Ordering::Relaxed);
        method.cast::<*mut ()>().write(*stand_in as *mut ());
    }
    Ok(())
}

/// Whether one of the functions was called since [`forget`].
pub(crate) fn called() -> bool {
    CALLED.load(Ordering::Relaxed)
}

/// Whether an attribute of any class was set since [`forget`].
pub(crate) fn class_changed() -> bool {
    CLASS_CHANGED.load(Ordering::Relaxed)
}

/// Forgets what was called.
pub(crate) fn forget() {
    CALLED.store(false, Ordering::Relaxed);
    CLASS_CHANGED.store(false, Ordering::Relaxed);
}

static CLASS_CHANGED: AtomicBool = AtomicBool::new(false);
/// CPython's own function that sets an attribute of a class.
static SET_ATTRIBUTE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

unsafe extern "C" fn set_attribute(
    class: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    CLASS_CHANGED.store(true, Ordering::Relaxed);
    // SAFETY: the address is that of the function that stood here before.
    unsafe {
        let replaced = SET_ATTRIBUTE.load(Ordering::Relaxed);
        std::mem::transmute::<*mut (), ffi::setattrofunc>(replaced)(class, name, value)
    }
}

/// The start of what `type.__setattr__` is, up to the C function that it calls.
#[repr(C)]
struct SlotWrapper {
    head: ffi::PyObject,
    class: *mut ffi::PyTypeObject,
    name: *mut ffi::PyObject,
    qualified_name: *mut ffi::PyObject,
    slot: *mut (),
    function: *mut (),
}

/// Has the setting of attributes of classes noted.
pub(crate) fn intercept_classes(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<PyType>();
    let names = class.getattr("__dict__")?;
    let mut metaclasses = vec![class.clone()];
    // SAFETY: `type` and what inherits from it are types; the two wrappers are of the type that they are
    // checked for. CPython insists that a wrapper calls what its class has.
    unsafe {
        let original = (*class.as_type_ptr()).tp_setattro;
        let Some(function) = original else { return Ok(()) };
        SET_ATTRIBUTE.store(function as *mut (), Ordering::Relaxed);
        while let Some(metaclass) = metaclasses.pop() {
            let slot = &raw mut (*metaclass.as_type_ptr()).tp_setattro;
            if slot.read().is_some_and(|own| ptr::fn_addr_eq(own, function)) {
                slot.write(Some(set_attribute));
            }
            metaclasses
                .extend(class.call_method1("__subclasses__", (&metaclass,))?.extract::<Vec<_>>()?);
        }
        for name in ["__setattr__", "__delattr__"] {
            let wrapper = names.get_item(name)?;
            if ffi::Py_TYPE(wrapper.as_ptr()) == &raw mut ffi::PyWrapperDescr_Type {
                (*wrapper.as_ptr().cast::<SlotWrapper>()).function = set_attribute as *mut ();
            }
        }
    }
    Ok(())
}
