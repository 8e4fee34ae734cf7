//! One call through everything, before anybody is told that the service is ready.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use belljar_pickle::payload;
use belljar_core::task::TaskClass;
use serde_json::{Value, json};

/// `pickle.dumps(len, 4)`: a builtin by reference, which every Python of every runtime knows.
pub(crate) const LEN: &[u8] = b"\x80\x04\x8c\x08builtins\x8c\x03len\x93.";
/// `pickle.dumps((("belljar",), {}), 4)`, without memo.
pub(crate) const ARGS: &[u8] = b"\x80\x04\x8c\x07belljar\x85}\x86.";
/// `pickle.dumps(7, 4)`.
pub(crate) const SEVEN: &[u8] = b"\x80\x04K\x07.";

/// How long what is not the default may take to be served after it.
const LATECOMERS: Duration = Duration::from_secs(5);
/// How long to wait before it is asked again what nobody serves yet.
const PAUSE: Duration = Duration::from_millis(20);

fn is_unserved(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ureq::Error::StatusCode(422)))
}

/// Registers `len`, calls it with the word `belljar` and waits for the 7; then gives those of `classes` that
/// are not served yet a little time.
pub(crate) async fn run(base: String, timeout: Duration, classes: Vec<TaskClass>) -> Result<()> {
    let check = move || {
        let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).proxy(None);
        let agent = ureq::Agent::new_with_config(config.build());
        call(&agent, &base, timeout)?;
        await_classes(&agent, &base, &classes)
    };
    tokio::task::spawn_blocking(check).await.context("the check was cut")?
}

/// Waits until all of them are served, unless one takes so long that it may never be.
fn await_classes(agent: &ureq::Agent, base: &str, classes: &[TaskClass]) -> Result<()> {
    let deadline = Instant::now() + LATECOMERS;
    loop {
        let ready: Value = agent.get(format!("{base}/readyz")).call()?.body_mut().read_json()?;
        let is_served = |class: &TaskClass| {
            let served = ready["classes"].as_array().into_iter().flatten();
            served.into_iter().any(|served| *served == class.to_string())
        };
        let Some(late) = classes.iter().find(|class| !is_served(class)) else { return Ok(()) };
        if Instant::now() > deadline {
            tracing::warn!("functions for `{late}` are refused until it is up");
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

fn call(agent: &ureq::Agent, base: &str, timeout: Duration) -> Result<()> {
    let post = |path: &str, body: Value| -> Result<Value> {
        let url = format!("{base}{path}");
        let mut response = agent.post(&url).send_json(body).with_context(|| url)?;
        Ok(response.body_mut().read_json()?)
    };
    let function = json!({"name": "belljar.self_check", "payload": payload::encode(LEN)});
    let deadline = Instant::now() + timeout;
    let registered = loop {
        match post("/register_function", function.clone()) {
            // Workers have come, and the runtime that functions get by default is still starting there.
            Err(error) if is_unserved(&error) && Instant::now() < deadline => thread::sleep(PAUSE),
            answer => break answer?,
        }
    };
    let function_id = &registered["function_id"];
    let call = json!({"function_id": function_id, "payload": payload::encode(ARGS)});
    let task = post("/execute_function", call)?;
    let task_id = task["task_id"].as_str().context("no task id")?;
    let url = format!("{base}/result/{task_id}?wait={}", timeout.as_secs());
    let result: Value = agent.get(&url).call().context("no result")?.body_mut().read_json()?;
    let value = result["result"].as_str().map(payload::decode);
    if result["status"] != "COMPLETED" || value != Some(Ok(SEVEN.to_vec())) {
        bail!("a call of len('belljar') came to {result}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_asked_again() {
        let error = |error: ureq::Error| Err::<(), _>(error).context("/register_function");
        assert!(error(ureq::Error::StatusCode(422)).is_err_and(|error| is_unserved(&error)));
        assert!(error(ureq::Error::StatusCode(503)).is_err_and(|error| !is_unserved(&error)));
        assert!(error(ureq::Error::ConnectionFailed).is_err_and(|error| !is_unserved(&error)));
    }
}
