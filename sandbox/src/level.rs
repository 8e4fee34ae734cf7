//! Levels of x86-64 that a guest can be compiled for ahead, to run on machines other than the one that
//! builds it.

use std::path::Path;

use crate::engine::{Flavour, settings};
use crate::error::Error;

/// What processors have in common; the names are those of the x86-64 psABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Every processor since some 2009.
    V2,
    /// With AVX2, BMI and FMA: every server since some 2015.
    V3,
}

impl Level {
    /// Both, the lower one first.
    pub const ALL: [Self; 2] = [Self::V2, Self::V3];

    /// The file of code compiled for it, in a guest's folder. That of the lowest level has the name that
    /// code for the building machine has otherwise.
    #[must_use]
    pub const fn artefact(self) -> &'static str {
        match self {
            Self::V2 => Flavour::Killed.artefact(),
            Self::V3 => "guest-v3.cwasm",
        }
    }

    /// Cranelift's name of it.
    const fn preset(self) -> &'static str {
        match self {
            Self::V2 => "x86-64-v2",
            Self::V3 => "x86-64-v3",
        }
    }

    /// Whether this processor has everything that code of this level may use.
    #[must_use]
    pub fn is_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::V2 => {
                is_x86_feature_detected!("sse3")
                    && is_x86_feature_detected!("ssse3")
                    && is_x86_feature_detected!("sse4.1")
                    && is_x86_feature_detected!("sse4.2")
                    && is_x86_feature_detected!("popcnt")
                    && is_x86_feature_detected!("cmpxchg16b")
            }
            Self::V3 => {
                Self::V2.is_here()
                    && is_x86_feature_detected!("avx")
                    && is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("lzcnt")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        false
    }
}

/// Compiles the module `wasm`, as [`snapshot`](crate::snapshot) leaves it, for each level into `dir`.
///
/// # Errors
/// A file cannot be read or written, or the module cannot be compiled.
pub fn compile(wasm: &Path, dir: &Path) -> Result<(), Error> {
    let module = std::fs::read(wasm).map_err(Error::read(wasm))?;
    for level in Level::ALL {
        let mut settings = settings(Flavour::Killed);
        settings.target("x86_64-unknown-linux-gnu").map_err(Error::Engine)?;
        #[expect(unsafe_code, reason = "cranelift's setting for the processor")]
        // SAFETY: the code is loaded only where wasmtime finds each of the features that it was compiled for.
        unsafe {
            settings.cranelift_flag_enable(level.preset());
        }
        let engine = wasmtime::Engine::new(&settings).map_err(Error::Engine)?;
        let code = engine.precompile_module(&module).map_err(Error::Engine)?;
        let path = dir.join(level.artefact());
        std::fs::write(&path, code).map_err(Error::read(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Module};

    use super::*;

    #[test]
    fn code_of_each_level_loads_where_the_processor_has_it_and_nowhere_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let wasm = dir.path().join("empty.wasm");
        std::fs::write(&wasm, b"\0asm\x01\0\0\0").expect("written");
        compile(&wasm, dir.path()).expect("compiled");
        // As a process of the sandbox has it: for its own processor.
        let engine = Engine::new(&settings(Flavour::Killed)).expect("an engine");
        for level in Level::ALL {
            let path = dir.path().join(level.artefact());
            #[expect(unsafe_code, reason = "the code was compiled here")]
            // SAFETY: nobody else writes to the directory.
            let loaded = unsafe { Module::deserialize_file(&engine, path) };
            assert_eq!(loaded.is_ok(), level.is_here(), "{level:?}: {:?}", loaded.err());
        }
        assert!(Level::V2.is_here() || !Level::V3.is_here());
    }
}
