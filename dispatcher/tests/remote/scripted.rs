//! Scripted workers: they send exactly what the test wants.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use belljar_core::id::{TaskId, WorkerId};
use belljar_core::invocation::Invocation;
use belljar_core::message::{
    DeliveryMode, FromDispatcher, FromWorker, Nonce, RejectReason, SessionId, VERSION,
    WorkerRegistration, decode, encode,
};
use belljar_core::outcome::{CallVerdict, Outcome, Report};
use belljar_core::task::{Attempt, TaskAttempt};
use belljar_dispatcher::RemoteConfig;
use belljar_wire::{ConnectConfig, Dealer, Endpoint, Req};
use bytes::Bytes;
use tokio::time::timeout;

use crate::harness::{Client, Dispatcher, PATIENCE, Redis};
use crate::support::native;
use crate::{DOUBLE, doubles};

const HEARTBEAT: Duration = Duration::from_millis(400);

async fn quick(redis: &Redis, mode: DeliveryMode) -> Dispatcher {
    with_heartbeat(redis, mode, HEARTBEAT).await
}

async fn with_heartbeat(redis: &Redis, mode: DeliveryMode, heartbeat: Duration) -> Dispatcher {
    let config = |listen| RemoteConfig { heartbeat, ..RemoteConfig::new(listen, mode, None) };
    Dispatcher::start_with(redis, 0, config).await
}

pub(crate) fn registration(mode: DeliveryMode, window: u32) -> WorkerRegistration {
    WorkerRegistration {
        worker: WorkerId::random(),
        session: None,
        mode,
        slots: window,
        window,
        classes: vec![native()],
        host: "scripted".to_owned(),
        pid: 1,
        belljar: "0".to_owned(),
        blobs: None,
        nonce: Nonce::random(),
    }
}

pub(crate) fn endpoint(address: SocketAddr) -> ConnectConfig {
    ConnectConfig::new(Endpoint::new(address.ip().to_string(), address.port()))
}

/// A push worker.
pub(crate) struct Push(pub(crate) Dealer, VecDeque<FromDispatcher>);

impl Push {
    async fn connect(address: SocketAddr) -> Self {
        let dealer = Dealer::connect(&endpoint(address)).await.expect("connected");
        Self(dealer, VecDeque::new())
    }

    async fn say(&mut self, message: FromWorker) {
        self.0.send(encode(&[message])).await.expect("sent");
    }

    /// The next that is no heartbeat.
    pub(crate) async fn hear(&mut self) -> FromDispatcher {
        loop {
            if let Some(message) = self.1.pop_front() {
                return message;
            }
            let bytes = timeout(PATIENCE, self.0.recv()).await.expect("in time").expect("alive");
            for message in decode::<FromDispatcher>(&bytes).expect("messages") {
                if message != FromDispatcher::Heartbeat {
                    self.1.push_back(message);
                    continue;
                }
                // It fails if the dispatcher has just disconnected.
                let _ = self.0.send(encode(&[FromWorker::Heartbeat])).await;
            }
        }
    }

    pub(crate) async fn join(
        address: SocketAddr,
        registration: &WorkerRegistration,
    ) -> (Self, SessionId) {
        let mut push = Self::connect(address).await;
        push.say(FromWorker::Hello { version: VERSION }).await;
        let FromDispatcher::Challenge { .. } = push.hear().await else { panic!("no challenge") };
        let registration = registration.clone();
        push.say(FromWorker::Register { registration, proof: None }).await;
        match push.hear().await {
            FromDispatcher::Welcome { session, .. } => (push, session),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn tasks(&mut self, count: usize) -> Vec<Invocation> {
        let mut tasks = Vec::new();
        while tasks.len() < count {
            match self.hear().await {
                FromDispatcher::Tasks(more) => tasks.extend(more),
                other => panic!("{other:?}"),
            }
        }
        tasks
    }

    pub(crate) async fn report(
        &mut self,
        sequence: u64,
        tasks: &[TaskAttempt],
        value: &'static [u8],
    ) {
        let reports = tasks.iter().map(|task| report(*task, value)).collect();
        self.say(FromWorker::Reports { sequence, reports }).await;
    }
}

pub(crate) fn report(task: TaskAttempt, value: &'static [u8]) -> Report {
    let value = CallVerdict::Completed(Bytes::from_static(value));
    let outcome = Outcome::bare(value, Duration::ZERO);
    Report { task, outcome }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_tasks_are_sent_again_without_their_code() {
    let redis = Redis::start();
    let dispatcher = quick(&redis, DeliveryMode::Push).await;
    let mut registration = registration(DeliveryMode::Push, 2);
    let (mut push, session) = Push::join(dispatcher.address, &registration).await;
    let mut client = Client::new(&redis).await;
    let ids = client.submit(DOUBLE, &doubles(2)).await;
    let first = push.tasks(2).await;
    assert!(first[0].code.is_some() && first[1].code.is_none());

    drop(push);
    registration.session = Some(session);
    let (mut push, again) = Push::join(dispatcher.address, &registration).await;
    assert_eq!(again, session);
    // Also in a list that is longer than a pending peer may send.
    let other = |_| TaskAttempt { task_id: TaskId::random(), attempt: Attempt(1) };
    let mut held: Vec<_> = (0..10_000).map(other).collect();
    held.push(first[0].task);
    push.say(FromWorker::InFlight(held)).await;
    let second = push.tasks(1).await.remove(0);
    assert_eq!(second.task, TaskAttempt { attempt: Attempt(2), ..first[1].task });
    assert_eq!(second.code, None);

    // Evicted code is sent again.
    push.say(FromWorker::Evicted(vec![second.spec.code])).await;
    push.say(FromWorker::Returned { sequence: 1, tasks: vec![second.task] }).await;
    let mut third = None;
    let mut acknowledged = Vec::new();
    while third.is_none() || acknowledged.is_empty() {
        match push.hear().await {
            FromDispatcher::Tasks(mut tasks) => third = tasks.pop(),
            FromDispatcher::Ack(sequences) => acknowledged = sequences,
            other => panic!("{other:?}"),
        }
    }
    let third = third.expect("seen");
    assert!(third.task.attempt == Attempt(3) && third.code.is_some() && acknowledged == [1]);

    push.report(2, &[first[0].task, third.task], b"v").await;
    assert_eq!(push.hear().await, FromDispatcher::Ack(vec![2]));
    assert_eq!(client.values(&ids).await, [&b"v"[..], b"v"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_report_is_acknowledged_and_changes_nothing() {
    let redis = Redis::start();
    let dispatcher = quick(&redis, DeliveryMode::Push).await;
    let (mut push, _) = Push::join(dispatcher.address, &registration(DeliveryMode::Push, 1)).await;
    let mut client = Client::new(&redis).await;
    let ids = client.submit(DOUBLE, &doubles(1)).await;
    let task = push.tasks(1).await.remove(0).task;
    push.report(1, &[task, task], b"first").await;
    assert_eq!(push.hear().await, FromDispatcher::Ack(vec![1]));
    push.report(1, &[task], b"second").await;
    assert_eq!(push.hear().await, FromDispatcher::Ack(vec![1]));
    push.report(2, &[], b"").await;
    assert_eq!(push.hear().await, FromDispatcher::Ack(vec![2]));
    assert_eq!(client.values(&ids).await, [&b"first"[..]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_worker_is_lost_and_its_late_report_refused() {
    let redis = Redis::start();
    let dispatcher = quick(&redis, DeliveryMode::Push).await;
    let registration = registration(DeliveryMode::Push, 1);
    let (mut push, session) = Push::join(dispatcher.address, &registration).await;
    let mut client = Client::new(&redis).await;
    let ids = client.submit(DOUBLE, &doubles(1)).await;
    let zombie = push.tasks(1).await.remove(0).task;
    // The connection stays open and silent.
    let heir = self::registration(DeliveryMode::Push, 1);
    let (mut other, _) = Push::join(dispatcher.address, &heir).await;
    let second = other.tasks(1).await.remove(0);
    assert_eq!(second.task, TaskAttempt { attempt: Attempt(2), ..zombie });

    push.report(1, &[zombie], b"late").await;
    let FromDispatcher::Rejected { reason: RejectReason::Session, .. } = push.hear().await else {
        panic!("not refused")
    };
    let again = WorkerRegistration { session: Some(session), ..registration };
    let (mut push, new) = Push::join(dispatcher.address, &again).await;
    assert_ne!(new, session);
    push.report(1, &[zombie], b"late").await;
    assert_eq!(push.hear().await, FromDispatcher::Ack(vec![1]));
    other.report(1, &[second.task], b"good").await;
    assert_eq!(client.values(&ids).await, [&b"good"[..]]);
}

pub(crate) async fn ask(req: &mut Req, batch: &[FromWorker]) -> Vec<FromDispatcher> {
    let reply = req.exchange(encode(batch), PATIENCE).await.expect("a reply");
    decode(&reply).expect("messages")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_work_or_a_heartbeat_and_gets_no_more_than_it_asked_for() {
    let redis = Redis::start();
    let dispatcher = quick(&redis, DeliveryMode::Pull).await;
    let mut req = Req::connect(&endpoint(dispatcher.address)).await.expect("connected");
    ask(&mut req, &[FromWorker::Hello { version: VERSION }]).await;
    let registration = registration(DeliveryMode::Pull, 3);
    let register = FromWorker::Register { registration, proof: None };
    assert!(matches!(ask(&mut req, &[register]).await[..], [FromDispatcher::Welcome { .. }]));
    let nothing = ask(&mut req, &[FromWorker::Request { free: 3 }]).await;
    assert_eq!(nothing, [FromDispatcher::Heartbeat]);
    assert_eq!(ask(&mut req, &[FromWorker::Window(3)]).await, [FromDispatcher::Heartbeat]);

    let mut client = Client::new(&redis).await;
    let ids = client.submit(DOUBLE, &doubles(3)).await;
    let mut tasks = Vec::new();
    // One that has a call is told at once where there is none for it yet, and what waits for a worker too long
    // goes back to the queue: it may take several requests.
    while tasks.len() < 3 {
        let free = if tasks.is_empty() { 1 } else { 2 };
        for message in ask(&mut req, &[FromWorker::Request { free }]).await {
            let FromDispatcher::Tasks(more) = message else { continue };
            assert!(more.len() <= free as usize);
            tasks.extend(more);
        }
    }
    let reports = tasks.iter().map(|task| report(task.task, b"v")).collect();
    let reports = FromWorker::Reports { sequence: 1, reports };
    let reply = ask(&mut req, &[reports, FromWorker::Request { free: 3 }]).await;
    assert_eq!(reply, [FromDispatcher::Ack(vec![1])]);
    client.values(&ids).await;
    ask(&mut req, &[FromWorker::Bye]).await;
}

/// A registered connection of a pull worker.
async fn line(address: SocketAddr, registration: &WorkerRegistration) -> (Req, SessionId) {
    let mut req = Req::connect(&endpoint(address)).await.expect("connected");
    ask(&mut req, &[FromWorker::Hello { version: VERSION }]).await;
    let registration = registration.clone();
    let welcome = ask(&mut req, &[FromWorker::Register { registration, proof: None }]).await;
    let [FromDispatcher::Welcome { session, .. }] = welcome[..] else { panic!("{welcome:?}") };
    (req, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_runs_a_call_keeps_a_connection_to_report_on() {
    let redis = Redis::start();
    let dispatcher = with_heartbeat(&redis, DeliveryMode::Pull, PATIENCE * 10).await;
    let mut registration = registration(DeliveryMode::Pull, 1);
    let (mut first, session) = line(dispatcher.address, &registration).await;
    registration.session = Some(session);
    let (mut second, _) = line(dispatcher.address, &registration).await;
    let client = Client::new(&redis).await;
    client.submit(DOUBLE, &doubles(1)).await;
    let task = ask(&mut first, &[FromWorker::Request { free: 1 }]).await;
    assert!(matches!(task[..], [FromDispatcher::Tasks(_)]), "{task:?}");
    // Neither is answered for the sake of what it says: there is no more work.
    let one = ask(&mut first, &[FromWorker::Request { free: 0 }]);
    let other = ask(&mut second, &[FromWorker::Window(2), FromWorker::Request { free: 1 }]);
    let answer = tokio::select! { answer = one => answer, answer = other => answer };
    assert_eq!(answer, [FromDispatcher::Heartbeat]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_are_refused() {
    let redis = Redis::start();
    let dispatcher = quick(&redis, DeliveryMode::Push).await;
    let refusal = async |bytes: Bytes| {
        let mut push = Push::connect(dispatcher.address).await;
        push.0.send(bytes).await.expect("sent");
        match push.hear().await {
            FromDispatcher::Rejected { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    };
    let register =
        FromWorker::Register { registration: registration(DeliveryMode::Push, 1), proof: None };
    assert_eq!(refusal(Bytes::from_static(b"nonsense")).await, RejectReason::Malformed);
    assert_eq!(refusal(encode(&[register])).await, RejectReason::Malformed);
    assert_eq!(refusal(encode::<FromWorker>(&[])).await, RejectReason::Malformed);
    assert_eq!(refusal(encode(&[FromWorker::Heartbeat])).await, RejectReason::Session);
    let hello = FromWorker::Hello { version: VERSION + 1 };
    assert_eq!(refusal(encode(&[hello])).await, RejectReason::Version);
}
