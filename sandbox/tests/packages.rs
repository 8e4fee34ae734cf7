//! What the guest has besides CPython: the compiled parts of the standard library, its event loop, packages.

#[expect(dead_code, reason = "shared with tests that use other parts of it")]
mod common;

use std::collections::BTreeMap;
use std::path::Path;

use belljar_core::outcome::FailureKind;
use belljar_core::task::PythonVersion;
use belljar_sandbox::image::default_dir;
use common::{SandboxChild, guests};
use serde_json::Value;

/// Compares what `packages/NAME_cases.py` gives in each guest with what it gave natively (`packages/record.py`).
#[track_caller]
fn gives_the_native_answers(name: &str) {
    for (python, guest) in guests() {
        gives_them_in(python, &guest, name);
    }
}

#[track_caller]
#[expect(clippy::expect_used, reason = "a test that cannot go on fails")]
fn gives_them_in(python: PythonVersion, guest: &Path, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages");
    let read = |file: String| std::fs::read_to_string(folder.join(file)).expect("a file");
    let native = read(format!("{name}.json"));
    let native: BTreeMap<String, Value> = serde_json::from_str(&native).expect("JSON");
    let source = read("answers.py".to_owned()) + &read(format!("{name}_cases.py"));
    let said = SandboxChild::start_in(guest).value(&source);
    let said: BTreeMap<String, Value> = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said.len(), native.len(), "{python}");
    let differing = native.iter().filter(|(case, value)| said.get(*case) != Some(value));
    let differing: Vec<_> = differing
        .map(|(case, value)| format!("{case}: {:?}, not {value}", said.get(case)))
        .collect();
    assert!(differing.is_empty(), "{python}: {}", differing.join("\n"));
}

#[test]
fn the_standard_library_is_whole() {
    gives_the_native_answers("stdlib");
}

#[test]
fn asyncio_runs() {
    gives_the_native_answers("asyncio");
}

#[test]
fn numpy_is_the_native_one() {
    gives_the_native_answers("numpy");
}

#[test]
fn packages_apart_are_the_native_ones() {
    let python = PythonVersion::default();
    for name in ["pandas", "pillow", "lxml"] {
        gives_them_in(python, &default_dir(python).expect("a home"), name);
    }
}

#[test]
fn packages_with_compiled_code_are_the_native_ones() {
    gives_the_native_answers("compiled");
}

/// Natively the stack is long enough for these; here each would leave it.
#[test]
fn nodes_within_nodes_are_calls() {
    let mut sandbox = SandboxChild::start(&[]);
    for expression in [
        "yaml.load('[' * 3000, yaml.CSafeLoader)",
        "yaml.load('{a: ' * 30000, yaml.CSafeLoader)",
        "yaml.load('- ' * 30000, yaml.CSafeLoader)",
        "yaml.serialize(deep(), Dumper=yaml.CSafeDumper)",
        "yaml.dump(nested(30000), Dumper=yaml.CSafeDumper)",
    ] {
        let source = format!(
            "import yaml
def nested(levels):
    value = []
    for _ in range(levels): value = [value]
    return value
def deep():
    node = yaml.ScalarNode('!', 'x')
    for _ in range(30000): node = yaml.SequenceNode('!', [node])
    return node
def f(): return {expression}"
        );
        let failure = sandbox.call(&source).result.expect_err(expression);
        assert_eq!(failure.kind, FailureKind::Recursion, "{expression}: {}", failure.message);
        assert!(failure.message.contains("maximum recursion depth"), "{}", failure.message);
    }
    sandbox.is_right();
}

#[test]
fn a_deadlock_of_an_event_loop_is_an_error() {
    let source = "
import asyncio
def f():
    async def wait(): await asyncio.get_running_loop().create_future()
    asyncio.run(wait())
";
    let failure = SandboxChild::start(&[]).call(source).result.expect_err("raises");
    assert!(
        failure.message.starts_with("RuntimeError: deadlock: every task"),
        "{}",
        failure.message
    );
}

#[test]
fn what_has_no_use_here_says_so() {
    let mut sandbox = SandboxChild::start(&[]);
    for (expression, said) in [
        ("multiprocessing.Lock()", "OSError: the sandbox has one process"),
        ("multiprocessing.Pool(1)", "OSError: [Errno 38] the sandbox has one process"),
        ("mmap.mmap(-1, 10)", "OSError: the sandbox cannot map files"),
        ("ssl.create_default_context().wrap_socket(None)", "SSLError: the sandbox has no network"),
    ] {
        let source = format!("import mmap, multiprocessing, ssl\ndef f(): return {expression}");
        let failure = sandbox.call(&source).result.expect_err(expression);
        assert!(failure.message.starts_with(said), "{expression}: {}", failure.message);
    }
}

#[test]
fn a_call_that_mentions_a_package_finds_it_imported() {
    for (_, guest) in guests() {
        finds_what_it_mentions_imported(&mut SandboxChild::start_in(&guest));
    }
}

fn finds_what_it_mentions_imported(sandbox: &mut SandboxChild) {
    let look = "import sys\ndef f(): return 'num' + 'py' in sys.modules";
    assert_eq!(sandbox.value(look), "false");
    let mention = "import sys\ndef f(): return 'numpy' in sys.modules";
    assert_eq!(sandbox.value(mention), "true");
    assert_eq!(sandbox.value(look), "false", "each call has the image of its own");
    // Not mentioned, it is imported from its files.
    let hidden = "def f():\n    import importlib\n    return importlib.import_module('num' + 'py').arange(3).sum().item()";
    assert_eq!(sandbox.value(hidden), "3");
}

#[test]
fn pandas_has_an_image_that_goes_on_from_numpys() {
    let mut sandbox = SandboxChild::start(&[]);
    let mention = "import sys\ndef f(): return ['numpy' in sys.modules, 'pandas' in sys.modules]";
    assert_eq!(sandbox.value(mention), "[true, true]");
    let numpy =
        "import sys\ndef f(): return ['numpy' in sys.modules, 'pan' + 'das' in sys.modules]";
    assert_eq!(sandbox.value(numpy), "[true, false]");
    let draw = "import pandas as pd\ndef f(): return pd.Series(range(100_000)).sample(4).tolist()";
    assert_ne!(sandbox.value(draw), sandbox.value(draw));
    sandbox.is_right();
}

/// Their code is in a module of its own, which only what mentions one of them runs.
#[test]
fn packages_apart_are_there_for_who_names_them() {
    let mut sandbox = SandboxChild::start(&[]);
    for (name, part, code) in
        [("pandas", "", "pandas._libs"), ("PIL", ".Image", "PIL"), ("lxml", ".html", "lxml")]
    {
        let mention = format!("def f():\n    import sys\n    return '{name}' in sys.modules");
        assert_eq!(sandbox.value(&mention), "true");
        let (start, end) = name.split_at(2);
        let hidden = format!(
            "def f():\n    import importlib\n    importlib.import_module('{start}' + '{end}{part}')"
        );
        let failure = sandbox.call(&hidden).result.expect_err("not there");
        assert!(failure.message.contains(code), "{}", failure.message);
        let hint = failure.traceback.lines().last().expect("a hint");
        assert!(hint.contains(&format!("say `import {name}` in the function")), "{hint}");
    }
    sandbox.is_right();
}

#[test]
fn numpys_hidden_generator_is_seeded_anew_for_every_call() {
    for (_, guest) in guests() {
        draws_anew(&mut SandboxChild::start_in(&guest));
    }
}

fn draws_anew(sandbox: &mut SandboxChild) {
    for draw in
        ["np.random.rand()", "int(np.random.randint(1 << 40))", "np.random.default_rng().random()"]
    {
        let source = format!("import numpy as np\ndef f(): return {draw}");
        assert_ne!(sandbox.value(&source), sandbox.value(&source), "{draw}");
    }
    let seeded = "import numpy as np\ndef f():\n    np.random.seed(1)\n    return [np.random.rand(), np.random.normal()]";
    assert_eq!(sandbox.value(seeded), "[0.417022004702574, -0.8021728386486427]");
}

/// Compiled code can read and write past its arrays. It reaches no further than the memory of its call.
#[test]
fn a_package_that_leaves_its_memory_costs_its_call_only() {
    for (_, guest) in guests() {
        loses_one_call(&mut SandboxChild::start_in(&guest));
    }
}

#[expect(clippy::expect_used, reason = "a test that cannot go on fails")]
fn loses_one_call(sandbox: &mut SandboxChild) {
    let stride =
        "np.lib.stride_tricks.as_strided(np.zeros(1), shape=(1 << 15,), strides=(1 << 16,))";
    for (harm, kind) in [
        (format!("{stride}.sum()"), FailureKind::ExecutorDied),
        (format!("{stride}.fill(7.0)"), FailureKind::ExecutorDied),
        ("np.zeros(1 << 30, 'u1').fill(1)".to_owned(), FailureKind::Memory),
        ("np.fft.fft(np.zeros(1 << 23))".to_owned(), FailureKind::Memory),
    ] {
        let source = format!("import numpy as np\ndef f(): {harm}");
        let failure = sandbox.call(&source).result.expect_err("fails");
        assert_eq!(failure.kind, kind, "{harm}: {}", failure.message);
        assert_eq!(
            sandbox.value("import numpy as np\ndef f(): return float(np.ones(3).sum())"),
            "3.0"
        );
        sandbox.is_right();
    }
}
