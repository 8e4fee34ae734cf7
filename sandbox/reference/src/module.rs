//! A module that does nothing but pass calls on: each function of `wasi_snapshot_preview1` under its own name.

use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};

/// The functions and their parameters: `i` of 32 bits, `I` of 64. All return an error number.
pub const FUNCTIONS: [(&str, &str); 43] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_recv", "iiiiii"),
    ("sock_shutdown", "ii"),
];

/// Bytes of its memory.
pub const MEMORY: u32 = 4 << 16;

/// The parameters of the function `name`.
#[must_use]
pub fn parameters(name: &str) -> &'static str {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map_or("", |(_, parameters)| parameters)
}

/// The module.
#[must_use]
pub fn forwarder() -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut imports = ImportSection::new();
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (index, (name, parameters)) in (0_u32..).zip(FUNCTIONS) {
        let kind = |letter| if letter == b'I' { ValType::I64 } else { ValType::I32 };
        types.ty().function(parameters.bytes().map(kind), [ValType::I32]);
        imports.import("wasi_snapshot_preview1", name, EntityType::Function(index));
        functions.function(index);
        exports.export(name, ExportKind::Func, FUNCTIONS.len() as u32 + index);
        let mut body = Function::new([]);
        let mut instructions = body.instructions();
        for local in 0..parameters.len() as u32 {
            instructions.local_get(local);
        }
        instructions.call(index).end();
        code.function(&body);
    }
    let mut memories = MemorySection::new();
    let pages = u64::from(MEMORY >> 16);
    let (memory64, shared, page_size_log2) = (false, false, None);
    memories.memory(MemoryType {
        minimum: pages,
        maximum: Some(pages),
        memory64,
        shared,
        page_size_log2,
    });
    exports.export("memory", ExportKind::Memory, 0);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&memories)
        .section(&exports)
        .section(&code);
    module.finish()
}
