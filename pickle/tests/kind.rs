//! What loading a result may run: hostile ways to name something, and what telling costs.

#![expect(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use belljar_core::outcome::{Failure, FailureKind, ResultKind};
use belljar_pickle::{MAX_GLOBAL_BYTES, MAX_RESULT_GLOBALS, data_globals, result_kind};

fn objects(data: &[u8]) -> (Vec<String>, String) {
    match result_kind(data) {
        ResultKind::Data => panic!("called data: {data:02x?}"),
        ResultKind::Objects { globals, unreadable } => (globals, unreadable.unwrap_or_default()),
    }
}

fn short(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    [&[0x8c, length], text.as_bytes()].concat()
}

fn named(module: &str, name: &str) -> Vec<u8> {
    [short(module), short(name), vec![0x93]].concat()
}

fn built(parts: &[&[u8]]) -> Vec<u8> {
    [b"\x80\x04", &parts.concat()[..], b"."].concat()
}

#[test]
fn plain_values_and_builtin_exceptions_are_data() {
    let failure = Failure::by_platform(FailureKind::Timeout, "late".to_owned());
    let rows: [&[u8]; 9] = [
        b"\x80\x04N.",
        b"\x80\x04K\x01.",
        b"\x80\x04]\x94(K\x01K\x02e.",
        b"(dp0\nI1\nS'a'\np1\ns.",
        b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x07builtin\x94.",
        b"\x80\x04\x8c\x08builtins\x94\x8c\x0aValueError\x94\x93\x94\x8c\x01x\x85R.",
        b"cbuiltins\nKeyError\n)R.",
        // The second name comes from the memo.
        b"\x80\x04\x8c\x08builtins\x94\x8c\x03set\x94\x93\x94h\0\x8c\x09frozenset\x94\x93\x94\x86.",
        &failure.exception,
    ];
    for data in rows {
        assert_eq!(result_kind(data), ResultKind::Data, "{data:02x?}");
    }
}

#[test]
fn every_way_to_name_something_else_is_told() {
    let system: &[u8] = &named("posix", "system");
    let rows: [(Vec<u8>, &str); 9] = [
        (built(&[system, &short("id"), b"\x85R"]), "posix.system"),
        (b"cos\nsystem\n(S'id'\ntR.".to_vec(), "os.system"),
        (b"(S'id'\nios\nsystem\n.".to_vec(), "os.system"),
        (built(&[&named("builtins", "eval"), &short("1"), b"\x85R"]), "builtins.eval"),
        (built(&[&named("builtins", "getattr")]), "builtins.getattr"),
        (built(&[&named("datetime", "datetime.__class__")]), "datetime.datetime.__class__"),
        // The names come from the memo, in the other order than they were stored.
        (
            built(&[&short("system"), b"\x94", &short("posix"), b"\x940", b"0h\x01h\0\x93"]),
            "posix.system",
        ),
        // Stored twice at one index: the later counts.
        (
            built(&[&short("set"), b"q\0", &short("eval"), b"q\0", &short("builtins"), b"h\0\x93"]),
            "builtins.eval",
        ),
        // Behind what looks like an end, within a frame that is longer than it says.
        (built(&[b"\x95\x02\0\0\0\0\0\0\0", &short("."), b"0", system]), "posix.system"),
    ];
    for (data, name) in rows {
        assert_eq!(objects(&data), (vec![name.to_owned()], String::new()), "{data:02x?}");
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let set = named("builtins", "set");
    let long = "x".repeat(MAX_GLOBAL_BYTES + 1);
    let reduced = [&named("builtins", "str"), &short("system")[..], b"\x85R"].concat();
    let mut many = vec![0x80, 4];
    for index in 0..=MAX_RESULT_GLOBALS {
        many.extend(named("m", &format!("n{index}")));
    }
    let rows: [(Vec<u8>, &str); 17] = [
        (Vec::new(), "without `STOP`"),
        (b"\x80\x04".to_vec(), "without `STOP`"),
        (b"\x80\x04X\xff\xff\xff\xffab.".to_vec(), "truncated"),
        (b"\x80\x04\xff.".to_vec(), "no pickle opcode"),
        (b"\x80\x06N.".to_vec(), "protocol 6"),
        (b"N.cos\nsystem\n.".to_vec(), "follow the pickle"),
        (b"Nr\xff\xff\xff\xff.".to_vec(), "stores memo"),
        (b"Np99999999999\n.".to_vec(), "stores memo"),
        (b"Pid\n.".to_vec(), "persistent id"),
        (built(&[&short("id"), b"Q"]), "persistent id"),
        (built(&[b"\x97"]), "out-of-band buffer"),
        (built(&[b"\x82\x01"]), "an extension of pickle by number"),
        // Names that are not there as they are written.
        (built(&[&short("posix"), &reduced, b"\x93"]), "put together"),
        (built(&[&short("posix"), &short("system"), b"(1\x93"]), "put together"),
        (
            built(&[&short("posix"), b"q\x05", &short("system"), b"\x94h\x05h\x06\x93"]),
            "put together",
        ),
        (built(&[&named("m", &long)]), "longer than"),
        ([&many[..], b"."].concat(), "more than 64 globals"),
    ];
    for (data, why) in &rows {
        let (globals, unreadable) = objects(data);
        assert!(unreadable.contains(why), "{data:02x?}: {unreadable}");
        assert!(globals.len() <= MAX_RESULT_GLOBALS);
    }
    let (globals, unreadable) = objects(&[&built(&[&named("m", "n"), &set])[..], b"N"].concat());
    assert_eq!(globals, ["m.n"]);
    assert!(unreadable.contains("1 bytes follow"), "{unreadable}");
}

#[test]
fn the_table_is_plain_names() {
    let names: Vec<_> = data_globals().collect();
    assert!(names.len() > 90 && names.contains(&("builtins", "ValueError")));
    for (module, name) in names {
        let plain =
            |text: &str| text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        assert!(plain(name) && module.split('.').all(plain), "{module} {name}");
    }
    for (module, name) in [("builtins", "getattr"), ("builtins", "eval"), ("builtins", "type")] {
        assert!(!data_globals().any(|known| known == (module, name)), "{module}.{name}");
    }
}

/// The best of some turns: what it costs where nothing else runs.
fn cost(data: &[u8], calls: u32, turns: u32) -> Duration {
    let turn = |_| {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(result_kind(black_box(data)));
        }
        start.elapsed() / calls
    };
    (0..turns).map(turn).min().expect("some turns")
}

#[test]
fn the_result_of_a_no_op_costs_nothing_to_speak_of() {
    let cost = cost(b"\x80\x04N.", 1000, 50);
    println!("a no-op's result: {cost:?}");
    assert!(cost < Duration::from_micros(1), "{cost:?}");
}

#[test]
fn hostile_results_cost_time_by_their_length_only() {
    let long_name = short(&"x".repeat(120));
    let mut names = [b"\x80\x04", &long_name[..], b"\x94", &long_name[..], b"\x94"].concat();
    while names.len() < 4 << 20 {
        names.extend_from_slice(b"h\0h\x01\x93");
    }
    let numbers = [&b"\x80\x04]("[..], &[b'N'; 4 << 20], b"e."].concat();
    let memo = [&b"\x80\x04N"[..], &[0x94; 4 << 20], b"cos\nsystem\n0."].concat();
    for data in [names, numbers, memo] {
        let cost = cost(&data, 1, 2);
        println!("{} bytes beginning {:02x?}: {cost:?}", data.len(), &data[..4]);
        assert!(cost < Duration::from_secs(2), "{cost:?}");
    }
}
