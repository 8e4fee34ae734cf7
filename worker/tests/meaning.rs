//! Functions mean what they mean to their author, however they were pickled.

mod support;

use belljar_core::outcome::FailureKind;
use support::{Rig, call, completed, executor, failed, invocation, pickle_by, root, value};

#[tokio::test]
async fn a_function_returns() {
    let mut rig = Rig::new(1);
    rig.returns(call("def f(x, y=1): return x * y", "((6,), {'y': 7})"), "42").await;
    rig.returns(call("f = lambda *a, **k: (a, k)", "((1,), {'b': 2})"), "((1,), {'b': 2})").await;
    rig.end().await;
}
