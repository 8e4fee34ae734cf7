//! The epoch flavour ends a call at its deadline without ending the process: needs the guest.

use std::time::{Duration, Instant};

use belljar_core::outcome::FailureKind;
use belljar_core::task::PythonVersion;
use belljar_sandbox::image::default_dir;
use belljar_sandbox::{
    EngineConfig, Flavour, GrantedAccess, Image, Limits, Output, Sandbox, source,
};

#[test]
fn whatever_a_guest_does_ends_at_its_deadline() {
    let config = EngineConfig { flavour: Flavour::Epoch, ..EngineConfig::default() };
    let dir = default_dir(PythonVersion::default()).expect("a home");
    let image = Image::load(dir, &config).expect("a guest");
    let mut sandbox =
        Sandbox::new(&image, &GrantedAccess::none(), Output::Capture(100)).expect("starts");
    let limits = Limits { time: Some(Duration::from_millis(300)), ..Limits::default() };
    for body in [
        "while True: pass",
        "import time; time.sleep(60)",
        "9 ** 9 ** 7",
        "import re; re.match('(a+)+b', 'a' * 60)",
        "while True:\n        try: raise KeyError\n        except BaseException: pass",
        "sys.setrecursionlimit(10**9)\n    class A:\n        def __del__(self): A()\n    A()",
        "while True: print('y')",
    ] {
        let code = source::function(&format!("import sys\ndef f():\n    {body}"), "f");
        let start = Instant::now();
        let answer = sandbox.call(&code, &source::arguments("[]"), &limits).expect("a sandbox");
        let took = start.elapsed();
        let raised = answer.result.expect_err("never ends");
        assert_eq!(raised.kind, FailureKind::Timeout, "{body}: {}", raised.message);
        assert!(took < Duration::from_millis(450), "{body}: {took:?}");
        assert!(answer.stdout.bytes.len() <= 100);
    }
    let code = source::function("def f(): return 42", "f");
    let answer = sandbox.call(&code, &source::arguments("[]"), &limits).expect("a sandbox");
    assert_eq!(source::json(&answer.result.expect("returns")), Some("42"));
}
