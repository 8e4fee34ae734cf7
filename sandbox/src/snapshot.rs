//! Makes a guest of a linked module and of the memories that it has after its starts: writes the images, compiles the rest.
//!
//! The starts run in a program of its own, hosted by `wasmtime-wasi` (`reference/src/start.rs`). The memory after one becomes a file beside the module instead of data segments within it, so that
//! [`memory`](crate::memory) can map it and restore single pages. All other state of an instance is
//! one global, the stack pointer, which is back at its start when the guest has returned: the build looks at every instruction for
//! that. So one module serves several images which differ in what their start imports, and an instance can be used again. A package with much code has a module of its own all the same.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use belljar_core::task::CodeHash;
use rustix::fs::{Advice, fadvise};

use wasm_encoder::{MemorySection, MemoryType, RawSection};
use wasmparser::{ElementKind, Operator, Parser, Payload, TypeRef};

use crate::engine::{EngineConfig, Flavour, settings};
use crate::error::Error;
use crate::grants::GrantedAccess;
use crate::image::{self, Description, Image, PackageImage};
use crate::instance::Sandbox;
use crate::limits::Limits;
use crate::pagemap::PAGE;
use crate::wasi::Output;

/// The file with the list of modules.
const MODULES: &str = "modules.json";

const WASM_PAGE: usize = 64 << 10;

/// Makes the guest's files in `dir`, which already holds the library (`lib`, `site`), of the linked
/// module `linked` and its memories in `started`. `python` and `dill` are their versions, `packages` what its further images
/// import: names, and `NAME,NAME=LINKED` for those whose code is in a module of their own.
///
/// # Errors
/// A file cannot be read or written, or the guest does not run.
pub fn build(
    linked: &Path,
    started: &Path,
    dir: &Path,
    [python, dill]: [&str; 2],
    packages: &[String],
) -> Result<(), Error> {
    let read = |path: &Path| std::fs::read(path).map_err(Error::read(path));
    let images = (0..=packages.len()).map(|image| read(&started.join(image.to_string())));
    let images = images.collect::<Result<Vec<_>, _>>()?;
    let memory_bytes = images[0].len();
    compile(linked, memory_bytes, dir)?;
    let packages = std::iter::zip(packages, &images[1..]).map(|(package, memory)| {
        let (names, linked) = package.split_once('=').unwrap_or((package, ""));
        let mut names = names.split(',');
        let name = names.next().unwrap_or_default();
        if !linked.is_empty() {
            compile(Path::new(linked), memory.len(), &dir.join(name))?;
        }
        let (name, also) = (name.to_owned(), names.map(str::to_owned).collect());
        Ok(PackageImage { name, also, memory_bytes: memory.len(), apart: !linked.is_empty() })
    });
    let packages = packages.collect::<Result<Vec<_>, Error>>()?;
    let names =
        std::iter::once(image::MEMORY.into()).chain(packages.iter().map(PackageImage::file));
    for (name, memory) in std::iter::zip(names, &images) {
        let used = memory.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
        write(&dir.join(name), &memory[..used.next_multiple_of(PAGE)])?;
    }
    let id = Some(build_id(linked, &images)?);
    let (python, dill) = (python.into(), dill.into());
    // Else `compile` had failed.
    let renewable = true;
    let description = Description { python, dill, memory_bytes, id, renewable, packages };
    let description = serde_json::to_vec_pretty(&description).map_err(Error::Describe)?;
    write(&dir.join(image::DESCRIPTION), &description)?;
    write(&dir.join(MODULES), &importable_modules(dir)?)
}

/// Names what is built of this module and these memories.
fn build_id(linked: &Path, images: &[Vec<u8>]) -> Result<String, Error> {
    let wasm = std::fs::read(linked).map_err(Error::read(linked))?;
    let parts = std::iter::once(&wasm[..]).chain(images.iter().map(|image| &image[..]));
    Ok(CodeHash::of_parts(parts).to_string())
}

/// Writes the module `linked` and its code to `dir`, for memories of `bytes`.
fn compile(linked: &Path, bytes: usize, dir: &Path) -> Result<(), Error> {
    let wasm = std::fs::read(linked).map_err(Error::read(linked))?;
    let module = without_data(&wasm, (bytes / WASM_PAGE) as u64).map_err(Error::Engine)?;
    check_state(&module).map_err(Error::Engine)?;
    let engine = wasmtime::Engine::new(&settings(Flavour::Killed)).map_err(Error::Engine)?;
    let code = engine.precompile_module(&module).map_err(Error::Engine)?;
    std::fs::create_dir_all(dir).map_err(Error::read(dir))?;
    write(&dir.join(image::MODULE), &module)?;
    write(&dir.join(Flavour::Killed.artefact()), &code)
}

/// Writes a file, to the disk. What was just written lies in the page cache in large pieces, which the
/// kernel maps whole where one page is touched; and what is mapped is looked through after every call.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    });
    written.map_err(Error::read(path))
}

/// The new guest's own word on what it can import, as JSON; its first call as well.
fn importable_modules(dir: &Path) -> Result<Vec<u8>, Error> {
    /// Pickles of `belljar_boot.importable` and of `((), {})`.
    const CODE: &[u8] = b"\x80\x04cbelljar_boot\nimportable\n.";
    const ARGS: &[u8] = b"\x80\x04)}\x86.";
    let image = Image::load(dir, &EngineConfig::default())?;
    let mut sandbox = Sandbox::new(&image, &GrantedAccess::none(), Output::Capture(1 << 20))?;
    let answer = sandbox.call(CODE, ARGS, &Limits::default())?;
    match answer.result {
        Ok(_) => Ok(answer.stdout.bytes),
        Err(raised) => Err(Error::Instance(wasmtime::Error::msg(raised.traceback))),
    }
}

/// `wasm` without data segments and custom sections, its memory `pages` long from the start.
fn without_data(wasm: &[u8], pages: u64) -> wasmtime::Result<Vec<u8>> {
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::DataSection(_)
            | Payload::DataCountSection { .. }
            | Payload::CustomSection(_) => {}
            Payload::MemorySection(_) => {
                let mut memories = MemorySection::new();
                memories.memory(MemoryType {
                    minimum: pages,
                    maximum: None,
                    memory64: false,
                    shared: false,
                    page_size_log2: None,
                });
                module.section(&memories);
            }
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    module.section(&RawSection { id, data: &wasm[range] });
                }
            }
        }
    }
    Ok(module.finish())
}

/// Fails where a call could change more in an instance of `wasm` than its memory and one global, the stack pointer.
fn check_state(wasm: &[u8]) -> wasmtime::Result<()> {
    let mut globals = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let found = match payload? {
            Payload::ImportSection(imports) => {
                let types: Vec<_> = imports.into_imports().collect::<Result<_, _>>()?;
                let is_function = |ty| matches!(ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                types.into_iter().any(|import| !is_function(import.ty)).then_some("an import")
            }
            Payload::GlobalSection(all) => {
                let types: Vec<_> = all.into_iter().collect::<Result<_, _>>()?;
                globals += types.iter().filter(|global| global.ty.mutable).count();
                (globals > 1).then_some("a second global")
            }
            Payload::ElementSection(all) => {
                let all: Vec<_> = all.into_iter().collect::<Result<_, _>>()?;
                let passive = all.iter().any(|it| matches!(it.kind, ElementKind::Passive));
                passive.then_some("a passive segment")
            }
            Payload::CodeSectionEntry(body) => {
                let operators: Vec<_> =
                    body.get_operators_reader()?.into_iter().collect::<Result<_, _>>()?;
                operators.iter().any(changes_table).then_some("a table")
            }
            _ => None,
        };
        if let Some(found) = found {
            let text =
                format!("the guest's code can change {found}, which no image would put back");
            return Err(wasmtime::Error::msg(text));
        }
    }
    Ok(())
}

/// Whether an instruction changes a table or a segment.
const fn changes_table(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::TableAtomicSet { .. }
            | Operator::TableAtomicRmwXchg { .. }
            | Operator::TableAtomicRmwCmpxchg { .. }
            | Operator::ElemDrop { .. }
            | Operator::MemoryInit { .. }
            | Operator::DataDrop { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use wasm_encoder::{
        CodeSection, ConstExpr, ElementSection, Elements, EntityType, Function, FunctionSection,
        GlobalSection, GlobalType, ImportSection, RefType, TableSection, TableType, TypeSection,
        ValType,
    };

    /// A module with a table, a constant, so many mutable globals, a segment of this kind, and a function of this body.
    fn module(globals: usize, is_passive: bool, body: impl FnOnce(&mut Function)) -> Vec<u8> {
        let mut module = wasm_encoder::Module::new();
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut tables = TableSection::new();
        let element_type = RefType::FUNCREF;
        let (minimum, maximum, table64, shared) = (1, None, false, false);
        tables.table(TableType { element_type, minimum, maximum, table64, shared });
        let mut variables = GlobalSection::new();
        for mutable in std::iter::once(false).chain(std::iter::repeat_n(true, globals)) {
            let val_type = ValType::I32;
            variables.global(GlobalType { val_type, mutable, shared }, &ConstExpr::i32_const(7));
        }
        let mut elements = ElementSection::new();
        let of = Elements::Functions([0][..].into());
        match is_passive {
            true => elements.passive(of),
            false => elements.active(None, &ConstExpr::i32_const(0), of),
        };
        let mut function = Function::new([]);
        body(&mut function);
        function.instructions().end();
        let mut code = CodeSection::new();
        code.function(&function);
        module.section(&types).section(&functions).section(&tables).section(&variables);
        module.section(&elements).section(&code);
        module.finish()
    }

    #[test]
    fn code_that_changes_more_than_memory_and_stack_pointer_is_refused() {
        let refusal = |wasm: &[u8]| check_state(wasm).err().map(|error| error.to_string());
        let plain = |function: &mut Function| {
            function.instructions().i32_const(0).global_set(1).i32_const(0).call_indirect(0, 0);
        };
        assert_eq!(refusal(&module(1, false, plain)), None);
        let two = refusal(&module(2, false, plain)).unwrap_or_default();
        assert!(two.contains("a second global"), "{two}");
        let passive = refusal(&module(1, true, plain)).unwrap_or_default();
        assert!(passive.contains("a passive segment"), "{passive}");
        let set = module(1, false, |function| {
            function
                .instructions()
                .i32_const(0)
                .ref_null(wasm_encoder::HeapType::FUNC)
                .table_set(0);
        });
        assert!(refusal(&set).unwrap_or_default().contains("a table"));
        let mut imports = ImportSection::new();
        let ty = GlobalType { val_type: ValType::I32, mutable: false, shared: false };
        imports.import("env", "base", EntityType::Global(ty));
        let mut imported = wasm_encoder::Module::new();
        imported.section(&imports);
        assert!(refusal(&imported.finish()).unwrap_or_default().contains("an import"));
    }

    #[test]
    fn data_goes_and_memory_grows() {
        let wasm = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01\x07\x01\0\x0b\x01\0";
        let module = without_data(wasm, 640).expect("well formed");
        assert_eq!(module, b"\0asm\x01\0\0\0\x05\x04\x01\0\x80\x05\x07\x01\0");
        assert!(without_data(&wasm[..10], 1).is_err());
    }
}
