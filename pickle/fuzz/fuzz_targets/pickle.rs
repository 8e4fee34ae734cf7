//! Whatever the bytes: an answer, no panic, and hints that hold together.
#![no_main]

use belljar_pickle::inspect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match inspect(data) {
        Ok(seen) => {
            assert!(seen.globals.len() <= 1024 && seen.modules.len() <= 1024);
            assert!(seen.python.certain().is_none_or(|python| seen.python.allows(python)));
            assert!(!seen.top.to_string().is_empty());
            // One pickle is one pickle: nothing may follow it, and nothing may be missing.
            assert!(inspect(&data[..data.len() - 1]).is_err());
            assert!(inspect(&[data, b"N"].concat()).is_err());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
