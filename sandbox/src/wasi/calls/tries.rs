//! What stands in for C's `setjmp` and `longjmp`, which WebAssembly has not: an error deep in a library of the guest ends
//! the call that the guest has tried, and nothing else. Only the guest's own code runs, on its own stack.

use wasmtime::{Caller, Extern, Linker, TypedFunc};

use crate::wasi::context::Host;

/// The module that the guest imports these from, for its packages (`guest/packages/include/belljar_jump.h`).
const MODULE: &str = "belljar";

/// The guest leaves what it has tried.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the guest threw, and had tried nothing")]
struct Thrown;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "throw", || -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Thrown))
    })?;
    linker.func_wrap(MODULE, "try", try_call)?;
    Ok(())
}

/// Has the guest call its function `body` with `data`: 1 where that threw, 0 where it returned. Any other end is one of the whole call.
fn try_call(mut caller: Caller<'_, Host>, body: u32, data: u32) -> wasmtime::Result<u32> {
    let missing = |name: &str| wasmtime::Error::msg(format!("the guest has no `{name}`"));
    let enter = caller.get_export("belljar_enter").and_then(Extern::into_func);
    let enter = enter.ok_or_else(|| missing("belljar_enter"))?;
    let enter: TypedFunc<(u32, u32), ()> = enter.typed(&caller)?;
    let stack_pointer = caller.get_export("__stack_pointer").and_then(Extern::into_global);
    let stack_pointer = stack_pointer.ok_or_else(|| missing("__stack_pointer"))?;
    let before = stack_pointer.get(&mut caller);
    match enter.call(&mut caller, (body, data)) {
        Ok(()) => Ok(0),
        Err(error) if error.is::<Thrown>() => {
            stack_pointer.set(&mut caller, before)?;
            Ok(1)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmtime::{Engine, Module, Store};

    use super::*;
    use crate::wasi::Output;

    /// `run(which)` tries the function of that index with the data 7 and adds what the stack pointer has become.
    /// Function 0 returns, 1 throws, 2 tries 1 and returns, 3 traps, 4 tries itself without end; each has moved the stack pointer.
    ///
    /// ```wat
    /// (module
    ///   (type $body (func (param i32)))
    ///   (import "belljar" "try" (func $try (param i32 i32) (result i32)))
    ///   (import "belljar" "throw" (func $throw))
    ///   (global $sp (export "__stack_pointer") (mut i32) (i32.const 100))
    ///   (memory (export "memory") 1)
    ///   (table 5 5 funcref)
    ///   (elem (i32.const 0) $returns $throws $tries $traps $endless)
    ///   (func $returns (param i32) (i32.store (i32.const 0) (local.get 0)))
    ///   (func $throws (param i32) (global.set $sp (i32.const 50)) (call $throw))
    ///   (func $tries (param i32) (i32.store (i32.const 0) (call $try (i32.const 1) (i32.const 0))))
    ///   (func $traps (param i32) (unreachable))
    ///   (func $endless (param i32) (drop (call $try (i32.const 4) (i32.const 0))))
    ///   (func (export "belljar_enter") (param i32 i32) (call_indirect (type $body) (local.get 1) (local.get 0)))
    ///   (func (export "run") (param i32) (result i32)
    ///     (i32.add (call $try (local.get 0) (i32.const 7)) (i32.sub (i32.const 100) (global.get $sp))))
    ///   (func (export "alone") (call $throw)))
    /// ```
    const GUEST: &str = "\
        0061736d0100000001180560017f0060000060027f7f017f60027f7f0060017f017f021f020762656c6c6a6172037472\
        7900020762656c6c6a6172057468726f77000103090800000000000304010405017001050505030100010607017f0141\
        e4000b073a050f5f5f737461636b5f706f696e7465720300066d656d6f727902000d62656c6c6a61725f656e74657200\
        070372756e000805616c6f6e650009090b010041000b0502030405060a4f080900410020003602000b08004132240010\
        010b0d0041004101410010003602000b0300000b09004104410010001a0b0900200120001100000b0f00200041071000\
        41e40023006b6a0b040010010b";

    fn run(which: i32) -> wasmtime::Result<(i32, u8)> {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        link(&mut linker)?;
        let host = Host::new(Arc::from([]), Output::Capture(0));
        let mut store = Store::new(&engine, host);
        let bytes =
            (0..GUEST.len()).step_by(2).map(|at| u8::from_str_radix(&GUEST[at..at + 2], 16));
        let bytes = bytes.collect::<Result<Vec<_>, _>>().expect("hexadecimal");
        let instance = linker.instantiate(&mut store, &Module::new(&engine, bytes)?)?;
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        if which < 0 {
            let alone = instance.get_typed_func::<(), ()>(&mut store, "alone")?;
            return alone.call(&mut store, ()).map(|()| (0, 0));
        }
        let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
        let said = run.call(&mut store, which)?;
        Ok((said, memory.data(&store)[0]))
    }

    #[test]
    fn a_throw_ends_what_was_tried_last_and_other_ends_are_the_calls() {
        assert_eq!(run(0).expect("returns"), (0, 7));
        assert_eq!(run(1).expect("thrown"), (1, 0), "the stack is as before");
        assert_eq!(run(2).expect("returns"), (0, 1), "the inner one was left");
        let trapped = run(3).expect_err("traps").downcast::<wasmtime::Trap>();
        assert_eq!(trapped.ok(), Some(wasmtime::Trap::UnreachableCodeReached));
        let endless = run(4).expect_err("overflows").downcast::<wasmtime::Trap>();
        assert_eq!(endless.ok(), Some(wasmtime::Trap::StackOverflow));
        assert!(run(5).is_err(), "no such function");
        assert!(run(-1).expect_err("untried").is::<Thrown>());
    }
}
