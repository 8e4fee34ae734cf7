//! What the bytes of the protocol must keep to: those in `docs/reference/wire-protocol.md`.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::id::{FunctionId, TaskId};
use crate::invocation::Invocation;
use crate::live::{LiveChunk, Progress};
use crate::outcome::{CallVerdict, Outcome};
use crate::task::{Attempt, Priority, PythonVersion, Runtime, TaskLimits, TaskSpec};
use crate::trace::{SpanId, TraceContext, TraceId};
use crate::warm::WarmMode;

const PAGE: &str = include_str!("../../../docs/reference/wire-protocol.md");

fn task() -> TaskAttempt {
    TaskAttempt { task_id: TaskId::from_bytes([0x11; 16]), attempt: Attempt(2) }
}

fn class() -> TaskClass {
    TaskClass::new(Runtime::Native, PythonVersion { major: 3, minor: 11 })
}

fn secret() -> Secret {
    Secret::new("correct horse battery staple").expect("long enough")
}

fn challenge() -> Nonce {
    Nonce::from_bytes([0x44; 16])
}

fn registration() -> WorkerRegistration {
    WorkerRegistration {
        worker: WorkerId::from_bytes([0x22; 16]),
        session: None,
        mode: DeliveryMode::Push,
        slots: 4,
        window: 8,
        classes: vec![class()],
        host: "h1".to_owned(),
        pid: 7,
        belljar: "0.1.0".to_owned(),
        blobs: None,
        nonce: Nonce::from_bytes([0x55; 16]),
    }
}

fn invocation() -> Invocation {
    let code = Bytes::from_static(b"code");
    Invocation {
        task: task(),
        spec: TaskSpec {
            function_id: FunctionId::from_bytes([0x77; 16]),
            code: CodeHash::of(&code),
            class: class(),
            limits: TaskLimits { timeout_ms: 1000, memory_mb: 64, ..TaskLimits::DEFAULT },
            priority: Priority::Normal,
            grants: None,
            packages: None,
            warm: WarmMode::Auto,
        },
        code: Some(code),
        args: Bytes::from_static(b"args"),
        trace: None,
    }
}

fn session() -> SessionId {
    SessionId::from_bytes([0x66; 16])
}

/// One batch of each message, by its name on the page.
fn from_workers() -> BTreeMap<&'static str, Vec<FromWorker>> {
    let outcome = Outcome::bare(
        CallVerdict::Completed(Bytes::from_static(b"ok")),
        std::time::Duration::from_micros(9),
    );
    let report = Report { task: task(), outcome };
    let update = LiveUpdate {
        task: task(),
        stdout: LiveChunk { start: 3, bytes: Bytes::from_static(b"hi") },
        stderr: LiveChunk::default(),
        progress: Progress::new(1.0, Some(4.0), "next".to_owned()),
    };
    let proof = secret().prove_worker(challenge(), &registration());
    let register = FromWorker::Register { registration: registration(), proof: Some(proof) };
    let reports = FromWorker::Reports { sequence: 5, reports: vec![report] };
    BTreeMap::from([
        ("hello", vec![FromWorker::Hello { version: VERSION }]),
        ("register", vec![register]),
        ("in flight", vec![FromWorker::InFlight(vec![task()])]),
        ("reports", vec![reports.clone()]),
        ("returned", vec![FromWorker::Returned { sequence: 6, tasks: vec![task()] }]),
        ("window", vec![FromWorker::Window(8)]),
        ("classes", vec![FromWorker::Classes(vec![class()])]),
        ("evicted", vec![FromWorker::Evicted(vec![CodeHash::of(b"code")])]),
        ("live", vec![FromWorker::Live(vec![update])]),
        ("request", vec![FromWorker::Request { free: 3 }]),
        ("heartbeat", vec![FromWorker::Heartbeat]),
        ("draining", vec![FromWorker::Draining]),
        ("bye", vec![FromWorker::Bye]),
        ("batch", vec![FromWorker::Window(8), FromWorker::Request { free: 3 }]),
    ])
}

fn from_dispatchers() -> BTreeMap<&'static str, Vec<FromDispatcher>> {
    let nonce = challenge();
    let proof = secret().prove_dispatcher(nonce, registration().nonce, session());
    let dispatcher = DispatcherId::from_bytes([0x33; 16]);
    let welcome =
        FromDispatcher::Welcome { session: session(), heartbeat_ms: 1000, proof: Some(proof) };
    let rejected =
        FromDispatcher::Rejected { reason: RejectReason::Session, text: "who?".to_owned() };
    let first = FromDispatcher::Tasks(vec![invocation()]);
    let second = FromDispatcher::Tasks(vec![invocation().without_code()]);
    BTreeMap::from([
        ("challenge", vec![FromDispatcher::Challenge { version: VERSION, dispatcher, nonce }]),
        ("welcome", vec![welcome]),
        ("rejected", vec![rejected]),
        ("tasks", vec![first]),
        ("tasks without code", vec![second]),
        ("stop", vec![FromDispatcher::Stop(task())]),
        ("watch", vec![FromDispatcher::Watch { task: task(), from_start: true }]),
        ("ack", vec![FromDispatcher::Ack(vec![5, 6])]),
        ("heartbeat from a dispatcher", vec![FromDispatcher::Heartbeat]),
        ("drain", vec![FromDispatcher::Drain]),
    ])
}

/// The examples on the page: what stands in blocks marked `hex`, the name first.
fn examples() -> BTreeMap<String, Vec<u8>> {
    let blocks = PAGE.split("```hex\n").skip(1).filter_map(|rest| rest.split("```").next());
    let parse = |block: &str| {
        let (name, hex) = block.split_once('\n').expect("a name and bytes");
        // Text behind a semicolon is for people.
        let hex = hex.lines().filter_map(|line| line.split(';').next());
        let bytes = hex.flat_map(str::split_whitespace);
        let bytes = bytes.map(|byte| u8::from_str_radix(byte, 16).expect("a byte"));
        (name.to_owned(), bytes.collect())
    };
    blocks.map(parse).collect()
}

#[test]
fn the_page_tells_the_truth() {
    let ours = from_workers().into_iter().map(|(name, batch)| (name, encode(&batch)));
    let theirs = from_dispatchers().into_iter().map(|(name, batch)| (name, encode(&batch)));
    let (mut examples, mut wrong) = (examples(), Vec::new());
    for (name, bytes) in ours.chain(theirs) {
        if examples.remove(name).unwrap_or_default() != bytes {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            wrong.push(format!("{name}\n{}", hex.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "the page should say\n{}", wrong.join("\n"));
    assert!(examples.is_empty(), "unknown: {:?}", examples.keys());
    assert!(PAGE.contains(&format!("Version {VERSION}")));
}

#[test]
fn an_invocation_that_is_traced_is_longer_by_its_trace_alone() {
    let (trace_id, span_id) = (TraceId([1; 16]), SpanId([2; 8]));
    let trace = Some(Box::new(TraceContext { trace_id, span_id, state: String::new() }));
    let traced = Invocation { trace, ..invocation() };
    let [plain, bytes] = [invocation(), traced.clone()].map(|one| encode(&[one]));
    assert_eq!(bytes.len() - plain.len(), 1 + (2 + 16) + (2 + 8));
    assert_eq!(decode::<Invocation>(&bytes).expect("ours"), [traced]);
    assert_eq!(decode::<Invocation>(&plain).expect("ours"), [invocation()]);
}

#[test]
fn every_message_comes_back() {
    for batch in from_workers().into_values() {
        assert_eq!(decode::<FromWorker>(&encode(&batch)).expect("ours"), batch);
    }
    for batch in from_dispatchers().into_values() {
        assert_eq!(decode::<FromDispatcher>(&encode(&batch)).expect("ours"), batch);
    }
}

#[test]
fn a_proof_is_for_one_challenge_one_registration_one_secret_and_one_direction() {
    let proof = secret().prove_worker(challenge(), &registration());
    assert_eq!(proof, secret().prove_worker(challenge(), &registration()));
    let other = Secret::new("correct horse battery stable").expect("long enough");
    assert_ne!(proof, other.prove_worker(challenge(), &registration()));
    assert_ne!(proof, secret().prove_worker(Nonce::random(), &registration()));
    let changed = WorkerRegistration { slots: 5, ..registration() };
    assert_ne!(proof, secret().prove_worker(challenge(), &changed));
    assert_ne!(proof, secret().prove_dispatcher(challenge(), registration().nonce, session()));
    assert!(accepts(Some(&proof), Some(&proof)) && accepts(None, None));
    assert!(!accepts(None, Some(&proof)));
    assert_eq!(Secret::new("  short ").err(), Some(SecretTooShort(5)));
    assert!(!format!("{:?}{proof:?}", secret()).contains("horse"));
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode::<FromWorker>(&bytes);
        let _ = decode::<FromDispatcher>(&bytes);
    }

    #[test]
    fn no_change_breaks_the_reader(at in 0..10_000_usize, by in 1..=255_u8, cut in any::<bool>()) {
        for batch in from_workers().values().map(|batch| encode(batch)) {
            let mut bytes = batch.to_vec();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] ^= by }
            let _ = decode::<FromWorker>(&bytes);
        }
    }
}
