//! The static pickle reader beside Python itself: thousands of pickles that pickle, dill and
//! cloudpickle really write, then damaged ones.
//!
//! Needs a Python with dill and cloudpickle: `BELLJAR_TEST_PYTHON`, or the one that `make setup`
//! installs. `BELLJAR_TEST_SEED` and `BELLJAR_TEST_COUNT` choose other and more pickles.

#![expect(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::collections::HashSet;
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use belljar_core::outcome::ResultKind;
use belljar_core::task::PythonVersion;
use belljar_pickle::{Inspection, PickleError, TopObject, data_globals, inspect, result_kind};

/// Builtin types whose objects always have to be recognized, at the protocols that write them out.
const PLAIN: [(&str, &str, u8); 10] = [
    ("NoneType", "None", 0),
    ("bool", "a bool", 0),
    ("int", "an int", 0),
    ("float", "a float", 0),
    ("str", "a str", 0),
    ("tuple", "a tuple", 0),
    ("list", "a list", 0),
    ("dict", "a dict", 0),
    ("set", "a set", 4),
    ("bytes", "a bytes", 3),
];

fn python() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../.belljar/venv/bin/python");
    let python = env::var_os("BELLJAR_TEST_PYTHON").map_or_else(|| default.into(), PathBuf::from);
    let probe = Command::new(&python).args(["-c", "import dill, cloudpickle"]).output();
    match probe {
        Ok(output) if output.status.success() => python,
        Ok(output) => panic!(
            "{} cannot import dill and cloudpickle; `make setup` installs them\n{}",
            python.display(),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => panic!(
            "there is no Python at {} ({error}): run `make setup`, or set BELLJAR_TEST_PYTHON to a \
             Python that has dill and cloudpickle",
            python.display()
        ),
    }
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// A pickle as Python wrote it, and what Python knows of the object.
struct Case {
    label: String,
    callable: bool,
    type_name: String,
    protocol: u8,
    modules: Vec<String>,
    /// What loading it asks for.
    names: Names,
    data: Vec<u8>,
}

/// The names that an unpickler was asked for.
struct Names {
    names: Vec<(String, String)>,
    /// Whether it came to the end of the pickle.
    complete: bool,
}

impl Names {
    fn read(text: &str) -> Self {
        let complete = !text.ends_with('?');
        let pairs = text.split(',').filter_map(|pair| pair.split_once(':'));
        let names = pairs.map(|(module, name)| (unhex(module), unhex(name))).collect();
        Self { names, complete }
    }

    /// Those that data does not have, each once, in order.
    fn beyond_data(&self) -> Vec<String> {
        let table: HashSet<_> = data_globals().collect();
        let mut beyond = Vec::new();
        for (module, name) in &self.names {
            let whole = format!("{module}.{name}");
            if !table.contains(&(&**module, &**name)) && !beyond.contains(&whole) {
                beyond.push(whole);
            }
        }
        beyond
    }
}

fn unhex(digits: &str) -> String {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits");
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The Python process: first writes cases, then judges what it is sent.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    python: PythonVersion,
}

impl Peer {
    fn start() -> Self {
        let program = python();
        let asked = Command::new(&program)
            .args(["-c", "import sys; print('%d.%d' % sys.version_info[:2], end='')"])
            .output()
            .expect("python runs");
        let python = String::from_utf8_lossy(&asked.stdout).parse().expect("a version");
        let mut child = Command::new(program)
            .args(["-W", "ignore", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peer.py")])
            .args(
                [setting("BELLJAR_TEST_SEED", 1), setting("BELLJAR_TEST_COUNT", 1500)]
                    .map(|n| n.to_string()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output, python }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the peer writes UTF-8 lines");
        assert!(line.ends_with('\n'), "the peer ended early; its message is above");
        line.pop();
        line
    }

    fn case(&mut self) -> Option<Case> {
        let line = self.line();
        let fields: Vec<&str> = line.split('\t').collect();
        let [label, callable, type_name, protocol, modules, names, length] = fields[..] else {
            assert_eq!(line, "end");
            return None;
        };
        let mut data = vec![0; length.parse().expect("a length")];
        self.output.read_exact(&mut data).expect("a pickle");
        Some(Case {
            label: label.to_owned(),
            callable: callable == "True",
            type_name: type_name.to_owned(),
            protocol: protocol.parse().expect("a protocol"),
            modules: modules
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            names: Names::read(names),
            data,
        })
    }

    /// What Python says of `data`: genops, whether an unpickler with inert globals loads it, the type of the
    /// result or the error, and the names that loading asks for.
    fn judge(&mut self, data: &[u8]) -> [String; 4] {
        let length = u32::try_from(data.len()).expect("small");
        self.input.write_all(&length.to_le_bytes()).expect("the peer reads");
        self.input.write_all(data).expect("the peer reads");
        self.input.flush().expect("the peer reads");
        let line = self.line();
        let mut parts = line.split('\t').map(str::to_owned);
        std::array::from_fn(|_| parts.next().expect("four fields"))
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().expect("the peer ends").success());
    }
}

/// A genuine pickle: accepted, and nothing wrong said about it.
fn check(case: &Case, python: PythonVersion) -> Inspection {
    let Case { label, data, .. } = case;
    let seen = inspect(data).unwrap_or_else(|error| panic!("{label}: {error}: {data:02x?}"));
    assert!(
        seen.may_be_callable() || !case.callable,
        "{label}: {} is callable, and the reader says {}",
        case.type_name,
        seen.top
    );
    if let TopObject::Plain(name) = seen.top {
        let expected = name.trim_start_matches("a ").trim_start_matches("an ");
        let actual = if case.type_name == "NoneType" { "None" } else { case.type_name.as_str() };
        assert_eq!(expected, actual, "{label}");
    }
    for (type_name, name, since) in PLAIN {
        if case.type_name == type_name && case.protocol >= since {
            assert_eq!(seen.top, TopObject::Plain(name), "{label}: {data:02x?}");
        }
    }
    // Protocols 0 and 1 are not declared, and cloudpickle may write a newer one than it was asked for.
    let declared = if seen.protocol == 0 { case.protocol < 2 } else { seen.protocol <= 5 };
    assert!(declared, "{label}: protocol {} for {}", seen.protocol, case.protocol);
    assert!(seen.python.allows(python), "{label}: {} by {python}", seen.python);
    if let Some(certain) = seen.python.certain() {
        assert_eq!(certain, python, "{label}");
    }
    for module in &case.modules {
        assert!(seen.modules.contains(module), "{label}: no {module} in {:?}", seen.modules);
    }
    seen
}

/// A genuine pickle is data exactly if all its names are of data; else they are told, as far as they go.
fn check_kind(Case { label, names, data, .. }: &Case) -> ResultKind {
    let (kind, beyond) = (result_kind(data), names.beyond_data());
    match &kind {
        ResultKind::Data => assert_eq!(beyond, [""; 0], "{label}: {data:02x?}"),
        ResultKind::Objects { globals, unreadable: Some(why) } => {
            let known = ["put together", "longer than", "more than"];
            assert!(known.iter().any(|known| why.contains(known)), "{label}: {why}");
            let alike = globals.iter().zip(&beyond).all(|(one, other)| one == other);
            assert!(alike, "{label}: {globals:?} of {beyond:?}");
        }
        ResultKind::Objects { globals, unreadable: None } => {
            assert!(!globals.is_empty(), "{label}: nothing makes it objects");
            assert!(!names.complete || *globals == beyond, "{label}: {globals:?}, not {beyond:?}");
        }
    }
    kind
}

/// Small deterministic random numbers (xorshift): the test needs no more.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 8).expect("64 bits") % bound.max(1)
    }
}

fn damaged(original: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut data = original.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(data.len());
        let end = (at + 1 + dice.below(6)).min(data.len());
        let opcodes =
            b"(.012FIJKLMNRSTUVXabc}degh]jlopqrstu)G\x81\x85\x86\x87\x8c\x8f\x90\x91\x92\x93\x94";
        match dice.below(6) {
            0 => data.truncate(at),
            1 => data[at] ^= 1 << dice.below(8),
            2 => data[at] = opcodes[dice.below(opcodes.len())],
            3 => drop(data.drain(at..end)),
            4 => data.insert(at, opcodes[dice.below(opcodes.len())]),
            _ => {
                let piece = data[at..end].to_vec();
                let to = dice.below(data.len());
                data.splice(to..to, piece);
            }
        }
        if data.is_empty() {
            break;
        }
    }
    data
}

/// What the reader refuses by choice although Python would load it.
fn refused_by_choice(error: &PickleError) -> bool {
    matches!(
        error,
        PickleError::TrailingData { .. }
            | PickleError::LeftOver { .. }
            | PickleError::Frame { .. }
            | PickleError::MemoIndex { .. }
            | PickleError::Buffer { .. }
    )
}

/// Python's complaints about the form of a pickle, all of which the reader has to share.
const ABOUT_FORM: [&str; 10] = [
    "truncated",
    "stack underflow",
    "Memo value not found",
    "invalid load key",
    "could not find MARK",
    "unexpected MARK found",
    "Ran out of input",
    "odd number of items",
    "unsupported pickle protocol",
    "exhausted",
];

/// A damaged pickle: the reader and Python agree on its form, and on the kind of what it gives.
fn compare(data: &[u8], [opcodes, verdict, detail, names]: &[String; 4]) {
    let names = Names::read(names);
    if result_kind(data) == ResultKind::Data {
        assert_eq!(names.beyond_data(), [""; 0], "called data: {data:02x?}");
    }
    match inspect(data) {
        Err(error) => assert!(
            verdict == "fails" || refused_by_choice(&error),
            "Python loads what the reader refuses: {error}: {data:02x?}"
        ),
        Ok(seen) => {
            if verdict == "fails" {
                let about_form = ABOUT_FORM.iter().any(|text| detail.contains(text));
                assert!(!about_form, "Python refuses: {detail}: {data:02x?}");
                return;
            }
            // genops is stricter in places: it wants ASCII where the unpickler does not.
            assert!(opcodes == "fine" || !opcodes.contains("opcode"), "{opcodes}: {data:02x?}");
            if let TopObject::Plain(name) = seen.top {
                let name = name.trim_start_matches("a ").trim_start_matches("an ");
                assert_eq!(name, detail.replace("NoneType", "None"), "{data:02x?}");
            }
        }
    }
}

#[test]
fn the_reader_agrees_with_python() {
    let mut peer = Peer::start();
    let (mut cases, mut hints, mut certain, mut seeds) = (0, 0, 0, Vec::new());
    let mut data = 0;
    while let Some(case) = peer.case() {
        let seen = check(&case, peer.python);
        data += u32::from(check_kind(&case) == ResultKind::Data);
        cases += 1;
        hints += u32::from(!seen.python.is_unknown());
        certain += u32::from(seen.python.certain().is_some());
        if case.data.len() < 1500 {
            seeds.push(case.data);
        }
    }
    assert!(cases > 3000 && hints > 500 && certain > 100, "{cases} {hints} {certain}");
    assert!(data > 1000 && cases - data > 1000, "{data} of {cases} are data");

    let mut dice = Dice(setting("BELLJAR_TEST_SEED", 1) | 1);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..seeds.len() {
        let data = damaged(&seeds[round % seeds.len()], &mut dice);
        match inspect(&data) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
        let judgement = peer.judge(&data);
        compare(&data, &judgement);
    }
    println!(
        "{cases} pickles, {data} of data, {hints} with a hint at the Python, {certain} certain; damaged: \
         {accepted} accepted, {refused} refused"
    );
    peer.end();
}
