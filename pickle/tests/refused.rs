//! What the static pickle reader refuses and in which words, and what hostile pickles cost it.

#![expect(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::time::{Duration, Instant};

use belljar_pickle::{TopObject, inspect};
use proptest::prelude::*;

fn refusal(data: &[u8]) -> String {
    inspect(data).expect_err("the pickle must be refused").to_string()
}

fn top(data: &[u8]) -> String {
    inspect(data).expect("a pickle").top.to_string()
}

#[test]
fn every_refusal_names_the_byte_and_the_value() {
    let rows: [(&[u8], &str); 36] = [
        (b"", "the pickle is empty"),
        (b"\x80\x04\xff.", "byte 2 is `0xff`, which is no pickle opcode"),
        (b"\x80\x06N.", "byte 0 asks for pickle protocol 6, and 5 is the newest known"),
        (b"\x80", "truncated: `PROTO` at byte 0 needs 1 more bytes and 0 are left"),
        (b"X\x05\0\0\0ab", "truncated: `BINUNICODE` at byte 0 needs 5 more bytes and 2 are left"),
        (b"Vabc", "truncated: no newline ends the argument of `UNICODE` at byte 0"),
        (b"cbuiltins\nlen", "truncated: no newline ends the argument of `GLOBAL` at byte 0"),
        (b"N", "truncated: the data end at byte 1 without `STOP`"),
        (b"T\xff\xff\xff\xff.", "`BINSTRING` at byte 0 claims the length -1"),
        (b"\x8b\xfe\xff\xff\xff.", "`LONG4` at byte 0 claims the length -2"),
        (b"\x8c\x01\xff.", "`SHORT_BINUNICODE` at byte 0 has a malformed text: not UTF-8"),
        (b"V\\u12\n.", "`UNICODE` at byte 0 has a malformed text: a broken escape"),
        (b"Sabc\n.", "`STRING` at byte 0 has a malformed text: no quotes around it"),
        (b"c\nlen\n.", "`GLOBAL` at byte 0 has a malformed text: an empty name"),
        (b"c\xff\nlen\n.", "`GLOBAL` at byte 0 has a malformed text: not UTF-8"),
        (b"Ione\n.", "`INT` at byte 0 has no number that Python can read"),
        (b"F1,5\n.", "`FLOAT` at byte 0 has no number that Python can read"),
        (b"g-1\n.", "`GET` at byte 0 has no number that Python can read"),
        (b"N\x86.", "stack underflow: `TUPLE2` at byte 1 needs 2 objects and finds 1"),
        (b"(0R.", "stack underflow: `REDUCE` at byte 2 needs 1 objects and finds 0"),
        (b"N(R.", "stack underflow: `REDUCE` at byte 2 needs 1 objects and finds 0"),
        (b"(o.", "stack underflow: `OBJ` at byte 1 needs 1 objects and finds 0"),
        (b"(Ne.", "stack underflow: `APPENDS` at byte 2 needs 1 objects and finds 0"),
        (b".", "stack underflow: `STOP` at byte 0 needs 1 objects and finds 0"),
        (b"Nt.", "`TUPLE` at byte 1 needs a mark and finds none"),
        (b"(Nd.", "`DICT` at byte 2 takes pairs and finds 1 objects"),
        (b"}(NNNu.", "`SETITEMS` at byte 5 takes pairs and finds 3 objects"),
        (b"NK\x01\x93.", "`STACK_GLOBAL` at byte 3 needs a str and finds None"),
        (b"clen\nlen\nNR.", "`REDUCE` at byte 10 needs a tuple and finds None"),
        (b"K\x01)R.", "`REDUCE` at byte 3 needs a callable and finds an int"),
        (b"h\x07.", "`BINGET` at byte 0 fetches memo 7, which was never stored"),
        (b"N.N.", "2 bytes follow the pickle, which ends at byte 2"),
        (b"NN.", "`STOP` at byte 2 finds 2 objects and 0 open marks on the stack"),
        (b"Pid\n.", "`PERSID` at byte 0 names a persistent id, which only its writer can resolve"),
        (b"\x97.", "`NEXT_BUFFER` at byte 0 needs an out-of-band buffer, which did not come along"),
        (b"\x82\0.", "`EXT1` at byte 0 names extension 0, and codes begin at 1"),
    ];
    for (data, message) in rows {
        assert_eq!(refusal(data), message, "{data:02x?}");
    }
}

#[test]
fn frames_hold_whole_opcodes() {
    assert_eq!(top(b"\x80\x04\x95\x02\0\0\0\0\0\0\0N."), "None");
    let long = b"\x80\x04\x95\x09\0\0\0\0\0\0\0N.";
    assert_eq!(refusal(long), "truncated: `FRAME` at byte 2 needs 9 more bytes and 2 are left");
    let crossed = b"\x80\x04\x95\x01\0\0\0\0\0\0\0K\x01.";
    assert_eq!(refusal(crossed), "`BININT1` at byte 11 crosses the end of its frame at byte 12");
    let nested = b"\x95\x0a\0\0\0\0\0\0\0\x95\x01\0\0\0\0\0\0\0N.";
    assert_eq!(refusal(nested), "`FRAME` at byte 9 crosses the end of its frame at byte 19");
}

#[test]
fn what_the_contract_names() {
    assert_eq!(top(b"\x80\x04K\x2a."), "an int");
    assert_eq!(top(b"\x80\x04\x8c\x04text\x94."), "a str");
    assert_eq!(top(b"\x80\x04\x95\x09\0\0\0\0\0\0\0K\x02\x85\x94}\x94\x86\x94."), "a tuple");
    // What "not_a_function" is in base64.
    assert!(inspect(b"\x9e\x8b_\x6b\xf7\xea\xb7\x2a\x29").is_err());
    let double = inspect(b"ctests.test_webservice\ndouble\n.").expect("a reference");
    assert!(double.may_be_callable());
    assert_eq!(double.top.to_string(), "`tests.test_webservice.double`");
    assert_eq!(double.modules, ["tests.test_webservice"]);
}

mod reliability_g {
    use super::*;

    #[test]
    fn reduce_of_os_system_is_named_and_not_called() {
        let seen = inspect(b"cos\nsystem\n(S'id'\ntR.").expect("well-formed");
        assert_eq!(seen.top.to_string(), "what `os.system` makes");
        assert_eq!(seen.globals[0].to_string(), "os.system");
    }

    #[test]
    fn reduce_of_a_nested_pickle_and_of_an_importlib_chain_are_named() {
        let nested = inspect(b"cpickle\nloads\n(C\x02N.tR.").expect("well-formed");
        assert_eq!(nested.modules, ["pickle"]);
        let chain = inspect(
            b"cbuiltins\ngetattr\n(cimportlib\nimport_module\n(Vnumpy.linalg\ntRVsystem\ntR.",
        )
        .expect("well-formed");
        assert_eq!(chain.modules, ["builtins", "importlib", "numpy.linalg"]);
    }

    #[test]
    fn stack_global_takes_its_texts_from_the_memo_as_python_does() {
        let seen = inspect(b"\x8c\x02os\x94\x8c\x06system\x94\x30\x30h\0h\x01\x93.").expect("fine");
        assert_eq!(seen.top.to_string(), "`os.system`");
        // A memo entry that is overwritten counts with its last value.
        let data = b"\x8c\x02os\x94\x8c\x04evil\x94\x8c\x06systemq\x010\x300h\0h\x01\x93.";
        assert_eq!(top(data), "`os.system`");
    }

    #[test]
    fn build_does_not_change_the_kind_of_an_object() {
        assert_eq!(top(b"]}b."), "a list");
        assert_eq!(top(b"cos\nsystem\n}b."), "`os.system`");
    }

    #[test]
    fn memo_index_of_2_to_the_28() {
        let message = "`LONG_BINPUT` at byte 1 stores memo 268435456 in a pickle of 8 bytes";
        assert_eq!(refusal(b"Nr\0\0\0\x10.\0"), message);
    }

    #[test]
    fn binbytes8_claiming_2_to_the_62() {
        let message = "truncated: `BINBYTES8` at byte 0 needs 4611686018427387904 more bytes and 1 \
                       are left";
        assert_eq!(refusal(b"\x8e\0\0\0\0\0\0\0\x40."), message);
        assert!(inspect(b"\x8b\xff\xff\xff\x7f.").is_err());
        assert!(inspect(b"\x96\xff\xff\xff\xff\xff\xff\xff\xff.").is_err());
    }

    #[test]
    fn bytearray_of_2_gib_by_reduce_is_only_a_kind() {
        assert_eq!(top(b"cbuiltins\nbytearray\n(I2147483648\ntR."), "a bytearray");
    }

    #[test]
    fn a_million_levels_deep() {
        let mut tuples = vec![b'N'];
        tuples.resize(1_000_001, 0x85);
        tuples.push(b'.');
        assert_eq!(top(&tuples), "a tuple");
        let mut lists = vec![b']'; 1_000_000];
        lists.resize(1_999_999, b'a');
        lists.push(b'.');
        assert_eq!(top(&lists), "a list");
        let mut marks = vec![b'('; 1_000_000];
        marks.resize(2_000_000, b'l');
        marks.push(b'.');
        assert_eq!(top(&marks), "a list");
    }

    #[test]
    fn truncated_anywhere() {
        let whole = b"\x80\x04\x95\x16\0\0\0\0\0\0\0\x8c\x01m\x94\x8c\x01n\x94\x93\x94(K\x01Nt\x94R}\x94\x86\x94.";
        inspect(whole).expect("whole");
        for length in 0..whole.len() {
            assert!(inspect(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn trailing_data_and_unknown_opcode_and_protocol_6() {
        assert!(refusal(b"N.x").contains("1 bytes follow"));
        assert!(refusal(b"\x80\x04\x7f").contains("`0x7f`"));
        assert!(refusal(b"\x80\x06N.").contains("protocol 6"));
    }

    #[test]
    fn right_pickle_of_wrong_type() {
        for (data, plain) in [(&b"N."[..], "None"), (b"\x88.", "a bool"), (b"\x8f.", "a set")] {
            let seen = inspect(data).expect("a pickle");
            assert!(!seen.may_be_callable());
            assert_eq!(seen.top, TopObject::Plain(plain));
        }
    }
}

/// 100 kB that make a reader work: each must be answered in 5 ms, here with room for a debug build.
#[test]
fn hostile_pickles_take_linear_time() {
    const SIZE: usize = 100_000;
    let repeat = |start: &[u8], piece: &[u8]| {
        let mut data = start.to_vec();
        while data.len() < SIZE {
            data.extend_from_slice(piece);
        }
        data.extend_from_slice(b"N.");
        data
    };
    // A code object that imports 30,000 times, made again and again.
    let mut code = b"cdill._dill\n_create_code\n\x94(C\0K\0K\0K\0K\0K\0K\0B\x60\xea\0\0".to_vec();
    code.extend([0x97, 0].into_iter().chain([108, 0].into_iter().cycle()).take(60_000));
    code.extend_from_slice(b")\x8c\x03abc\x85NNNNNNNNNt\x94");
    assert_eq!(inspect(&[&code[..], b"R."].concat()).expect("fine").modules, ["dill._dill", "abc"]);
    let mut names = b"X\xc8\0\0\0".to_vec();
    names.extend_from_slice(&[b'a'; 200]);
    names.push(0x94);
    let line = [&b"V"[..], &[b'a'; 50_000], b"\np0\n"].concat();
    let pickles = [
        repeat(&line, b"g0\ng0\n\x930"),
        repeat(&line, b"cdill._dill\n_import_module\ng0\n\x85R0"),
        repeat(&names, b"h\0h\0\x930"),
        repeat(b"", b"ca\nb\n0"),
        repeat(b"", b"N\x940"),
        repeat(b"", b"Np70000\n0"),
        repeat(b"Nr\xff\xff\0\0", b"\x94"),
        repeat(b"\x8c\x01a\x94", b"h\0"),
        repeat(b"", b"(((tt"),
        repeat(b"]", b"(NNNNe"),
        repeat(&code, b"h\0h\x01R0"),
        repeat(b"X\x60\xea\0\0", b"\xed\xa0\x80"),
    ];
    for (index, data) in pickles.iter().enumerate() {
        let best = (0..5)
            .map(|_| {
                let start = Instant::now();
                let _ = inspect(data);
                start.elapsed()
            })
            .min()
            .expect("five runs");
        println!("pickle {index}: {best:?} for {} bytes", data.len());
        let limit = if cfg!(debug_assertions) { 250 } else { 5 };
        assert!(best < Duration::from_millis(limit), "pickle {index}: {best:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(data: Vec<u8>) {
        let _ = inspect(&data);
    }

    #[test]
    fn any_opcodes_are_answered(
        data in prop::collection::vec(
            prop::sample::select(
                &b"(.012FIJKLMNRSTUVXabc}degh]ijloqprstu)GBC\x80\x81\x82\x85\x86\x87\x88\x8a\x8c\x8d\
                   \x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x00\x01\x02\n'a7"[..]
            ),
            0..200,
        )
    ) {
        let _ = inspect(&data);
    }
}
