//! Tells by which Python a code object was compiled, and what it imports, from its bytecode.
//!
//! The numbers were taken from `dis.opmap` of CPython 3.9, 3.10, 3.11, 3.12 and 3.13. What Python
//! gives as `co_code` has no specialized opcodes, and zeros in its inline caches.

use crate::python_hint::PythonHint;

/// The opcodes that can stand before and at the start of a function's body.
struct Prologue {
    extended_arg: u8,
    make_cell: u8,
    copy_free_vars: u8,
    return_generator: u8,
    pop_top: u8,
    resume: u8,
}

const PROLOGUE_311: Prologue = Prologue {
    extended_arg: 144,
    make_cell: 135,
    copy_free_vars: 149,
    return_generator: 75,
    pop_top: 1,
    resume: 151,
};

const PROLOGUE_313: Prologue = Prologue {
    extended_arg: 71,
    make_cell: 94,
    copy_free_vars: 62,
    return_generator: 35,
    pop_top: 32,
    resume: 149,
};

/// All opcodes of 3.11 and of 3.12 without `CACHE`, one bit each, and the inline caches after them.
const OPCODES_311: [u64; 4] =
    [0x307e_003b_c200_9e06, 0x7dfd_ffff_fffc_0cf0, 0x0001_f87d_39bf_5fff, 0];
const OPCODES_312: [u64; 4] =
    [0x30fe_003b_ce02_9a3e, 0xfffc_7fff_fea8_0cb0, 0x0001_f83c_39ef_ffff, 0];

const fn caches_311(opcode: u8) -> usize {
    match opcode {
        25 | 95 | 106 | 171 => 4,
        60 | 92 | 122 | 166 => 1,
        107 => 2,
        116 => 5,
        160 => 10,
        _ => 0,
    }
}

const fn caches_312(opcode: u8) -> usize {
    match opcode {
        25 | 60 | 92 | 93 | 107 | 122 | 123 | 141 => 1,
        95 | 116 => 4,
        171 => 3,
        106 => 9,
        _ => 0,
    }
}

/// The Pythons from 3.11 on that can have compiled `code`: the instructions that each of them puts
/// in front tell most; 3.11 and 3.12 differ further on.
pub(super) fn written_by(code: &[u8]) -> PythonHint {
    if code.is_empty() || !code.len().is_multiple_of(2) {
        return PythonHint::UNKNOWN;
    }
    if begins_with(&PROLOGUE_311, code) {
        let in_311 = decodes(code, &OPCODES_311, caches_311);
        let in_312 = decodes(code, &OPCODES_312, caches_312);
        let hint_311 = if in_311 { PythonHint::only(11) } else { PythonHint::none() };
        let hint_312 = if in_312 { PythonHint::only(12) } else { PythonHint::none() };
        return hint_311.or(hint_312).or_unknown();
    }
    if begins_with(&PROLOGUE_313, code) {
        return PythonHint::only(13);
    }
    // From 3.14 on, `RESUME` is 128, and every instruction before it is below that.
    const RESUME_314: [u8; 2] = [128, 0];
    match units(code).find(|[opcode, _]| *opcode >= RESUME_314[0]) {
        Some(RESUME_314) => PythonHint::since(14),
        _ => PythonHint::UNKNOWN,
    }
}

fn units(code: &[u8]) -> impl Iterator<Item = [u8; 2]> + '_ {
    code.as_chunks::<2>().0.iter().copied()
}

fn begins_with(prologue: &Prologue, code: &[u8]) -> bool {
    let mut before = 0;
    for [opcode, argument] in units(code) {
        if opcode == prologue.resume {
            return argument == 0;
        }
        let expected = opcode == prologue.extended_arg
            || opcode == prologue.make_cell
            || opcode == prologue.copy_free_vars
            || opcode == prologue.return_generator
            || (opcode == prologue.pop_top && before == prologue.return_generator);
        if !expected {
            return false;
        }
        before = opcode;
    }
    false
}

/// Whether `code` is made of `opcodes`, each followed by its empty caches.
fn decodes(code: &[u8], opcodes: &[u64; 4], caches: fn(u8) -> usize) -> bool {
    let mut units = units(code);
    while let Some([opcode, _]) = units.next() {
        let word = opcodes.get(usize::from(opcode / 64)).copied().unwrap_or(0);
        if word >> (opcode % 64) & 1 == 0 {
            return false;
        }
        for _ in 0..caches(opcode) {
            if units.next() != Some([0, 0]) {
                return false;
            }
        }
    }
    true
}

/// The indexes into `co_names` that `code` imports, if it belongs to `python`. Silent about 3.14
/// and later.
pub(super) fn imports(code: &[u8], python: PythonHint) -> impl Iterator<Item = usize> + '_ {
    const BEFORE_313: PythonHint = PythonHint::before(13);
    let (import_name, extended_arg) = if python.and(BEFORE_313) == python {
        (Some(108), 144)
    } else if python == PythonHint::only(13) {
        (Some(75), 71)
    } else {
        (None, 0)
    };
    let mut extended = 0_usize;
    units(code).filter_map(move |[opcode, argument]| {
        let whole = extended << 8 | usize::from(argument);
        extended = if opcode == extended_arg { whole & 0x00ff_ffff } else { 0 };
        (Some(opcode) == import_name).then_some(whole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(hex: &str) -> String {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let code: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        written_by(&code).to_string()
    }

    #[test]
    fn the_minor_shows_at_the_resume_opcode() {
        assert_eq!(hint("9700 7c00 6401 7a00 0000 5300"), "Python 3.11 or 3.12");
        assert_eq!(hint("9500 5500 5301 2d00 0000 2400"), "Python 3.13");
        assert_eq!(hint("8000 5400 2300"), "Python 3.14 or later");
        assert_eq!(hint("5e00 2300 2000 9500 5500 5300"), "Python 3.13");
        assert_eq!(hint("8700 4b00 0100 9700 8800 5300"), "Python 3.11 or 3.12");
    }

    #[test]
    fn opcodes_of_one_minor_tell_3_11_from_3_12() {
        assert_eq!(hint("9700 7900"), "Python 3.12");
        assert_eq!(hint("9700 0200 7c00 a600 0000 ab00 0000 0000 0000 0000 5300"), "Python 3.11");
    }

    #[test]
    fn what_no_compiler_wrote_tells_nothing() {
        for code in ["", "97", "7c00 5300", "9701 5300", "9700 ff00", "9504 5300"] {
            assert_eq!(hint(code), "any Python", "{code}");
        }
    }

    #[test]
    fn imports_are_found_behind_extended_arguments() {
        let code = [0x97, 0, 144, 1, 108, 2, 108, 3];
        let python = written_by(&code);
        assert_eq!(imports(&code, python).collect::<Vec<_>>(), [258, 3]);
        assert_eq!(imports(&code, PythonHint::UNKNOWN).count(), 0);
    }
}
