//! TLS between dispatcher and workers: only certificates of the authority are accepted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_testkit::{Authority, Program, Python, eventually};
use belljar_tests::Deployment;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// The options of one side that `authority` has signed and that trusts `trusted`.
fn signed(
    authority: &Authority,
    dir: &Path,
    name: &str,
    trusted: &Authority,
) -> Result<[String; 6]> {
    let path = |end: &str| dir.join(format!("{name}-{end}.pem"));
    authority.sign("127.0.0.1", &path("cert"), &path("key"))?;
    std::fs::write(path("ca"), trusted.pem())?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let [cert, key, ca] = ["cert", "key", "ca"].map(|end| text(path(end)));
    Ok(["--tls-cert".into(), cert, "--tls-key".into(), key, "--tls-ca".into(), ca])
}

fn works(mode: &str) -> Result<()> {
    let (files, ours, theirs) = (tempfile::tempdir()?, Authority::new()?, Authority::new()?);
    let deployment = Deployment::start(mode, &signed(&ours, files.path(), "dispatcher", &ours)?)?;

    // Workers without TLS or signed by another authority are refused, and the log says why.
    let plain = deployment.worker("plain", &[])?;
    let other = deployment.worker("other", &signed(&theirs, files.path(), "other", &ours)?)?;
    let distrustful =
        deployment.worker("distrustful", &signed(&ours, files.path(), "distrustful", &theirs)?)?;
    for (refused, why) in
        [(&plain, "retrying"), (&other, "retrying"), (&distrustful, "invalid peer certificate")]
    {
        let said = eventually(PATIENCE, || refused.log().contains(why));
        ensure!(said, "no `{why}`: {}", refused.evidence());
    }
    ensure!(deployment.workers()?.is_empty(), "an unknown worker was accepted");

    let worker = deployment.worker("worker", &signed(&ours, files.path(), "worker", &ours)?)?;
    let python = Python::start()?;
    let function = deployment.client.register(&python.dumps("", "abs")?, json!({}))?;
    let task = deployment.client.submit(&function, &python.dumps("", "((-7,), {})")?, json!({}))?;
    let (status, result) = deployment.client.wait(&task, 30)?;
    ensure!(status == "COMPLETED", "{status}; {}", worker.evidence());
    ensure!(python.loads(&result)?.repr == "7");
    Ok(())
}

#[test]
fn push_workers_and_their_dispatcher_authenticate_by_certificates() -> Result<()> {
    works("push")
}

#[test]
fn pull_workers_and_their_dispatcher_authenticate_by_certificates() -> Result<()> {
    works("pull")
}

#[test]
fn missing_files_are_named() -> Result<()> {
    let (files, ours) = (tempfile::tempdir()?, Authority::new()?);
    let mut options = signed(&ours, files.path(), "worker", &ours)?;
    let ended = |options: &[String]| -> Result<(Option<i32>, String)> {
        let mut words = vec!["worker", "push", "1", "tcp://127.0.0.1:1", "--runtime", "native"];
        words.extend(options.iter().map(String::as_str));
        let log = files.path().join(format!("{}.log", options.len()));
        let mut worker = Program::belljar(&words, Vec::new(), Some(log))?;
        ensure!(eventually(PATIENCE, || matches!(worker.exit_status(), Ok(Some(_)))), "it goes on");
        Ok((worker.exit_status()?.context("ended")?.code(), worker.log()))
    };
    let (code, log) = ended(&options[..2])?;
    ensure!(code == Some(2) && log.contains("--tls-key"), "{code:?} {log}");
    options[3] = files.path().join("missing.pem").to_string_lossy().into_owned();
    let (code, log) = ended(&options)?;
    ensure!(code == Some(1) && log.contains("missing.pem"), "{code:?} {log}");
    Ok(())
}
