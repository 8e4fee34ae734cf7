//! A private Redis for a test, and tasks to put into it.

use std::time::Duration;

use belljar_core::id::{DispatcherId, FunctionId, TaskId, WorkerId};
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome, Report};
use belljar_core::task::{CodeHash, Priority, TaskAttempt, TaskClass, TaskLimits, TaskSpec};
use belljar_core::tenant::Tenant;
use belljar_core::warm::WarmMode;
use belljar_store::record::{
    Audit, ClaimedTask, Completion, Demand, NewTask, RequeueReason, Requeued,
};
use belljar_store::{Store, StoreConfig, StoreEvent, Subscription};
use bytes::Bytes;
use redis::{FromRedisValue, ToRedisArgs};
use tokio::time::{Instant, sleep, timeout};

/// How long an expected event may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// No dispatcher: a test that ends attempts has no capacity to report.
pub(crate) const NOBODY: DispatcherId = DispatcherId::from_bytes([0; 16]);

/// Options of a server that writes every accepted task to disk before it answers.
pub(crate) const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// A private Redis, and commands to it.
pub(crate) struct Redis(belljar_testkit::Redis);

impl Redis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(options: &[&str]) -> Self {
        Self(belljar_testkit::Redis::start_with(options).expect("redis-server is installed"))
    }

    /// Ends the server as a power cut would, as far as it can tell.
    pub(crate) async fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again on the same files.
    pub(crate) async fn revive(&mut self) {
        self.0.restart().expect("it starts again");
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    async fn connection(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    /// Sends a command without the store.
    pub(crate) async fn command<T: FromRedisValue>(&self, parts: &[impl ToRedisArgs]) -> T {
        let mut connection = self.connection().await.expect("it runs");
        let mut command = redis::Cmd::new();
        for part in parts {
            command.arg(part);
        }
        command.query_async(&mut connection).await.expect("the command is answered")
    }

    pub(crate) fn config(&self) -> StoreConfig {
        StoreConfig { timeout: Duration::from_secs(10), ..StoreConfig::new(self.url()) }
    }

    pub(crate) async fn store(&self) -> Store {
        Store::connect(self.config()).await.expect("the server is fit")
    }

    /// Makes `dead` look silent for long, and `judge` alive all that time.
    pub(crate) async fn age(&self, dead: DispatcherId, judge: DispatcherId) {
        let [dead, judge] = [dead.to_string(), judge.to_string()];
        self.command::<()>(&["ZADD", "{belljar}:dispatchers", "1", &dead]).await;
        self.command::<()>(&["HSET", "{belljar}:alive_since", &judge, "1"]).await;
    }

    /// Makes all that a tenant has for a time look as if that were over; returns how many times it has.
    pub(crate) async fn expire(&self, tenant: &str) -> u64 {
        const SCRIPT: &str = "
            local used = { struct.unpack('<dddddddddddd', redis.call('GET', KEYS[1])) }
            local times, bytes = redis.call('HVALS', KEYS[2]), 0
            for _, value in ipairs(times) do bytes = bytes + value end
            redis.call('DEL', KEYS[2])
            redis.call('HSET', KEYS[2], '1', bytes)
            used[4], used[11] = 1, 1
            redis.call('SET', KEYS[1], struct.pack('<dddddddddddd', unpack(used)))
            return #times + (used[12] ~= 0 and 1 or 0)";
        let [used, ends] = ["used", "ends"].map(|name| format!("{{belljar}}:{name}:{tenant}"));
        self.command(&["EVAL", SCRIPT, "2", &used, &ends]).await
    }

    /// The number at a place of what a tenant uses, as `usage.lua` has them, changed by so much; returns what it is then.
    pub(crate) async fn change_use(&self, tenant: &str, place: usize, change: i64) -> i64 {
        const SCRIPT: &str = "
            local used, at = { struct.unpack('<dddddddddddd', redis.call('GET', KEYS[1])) }, tonumber(ARGV[1])
            used[at] = used[at] + ARGV[2]
            redis.call('SET', KEYS[1], struct.pack('<dddddddddddd', unpack(used)))
            return used[at]";
        let [place, change] = [place.to_string(), change.to_string()];
        let key = format!("{{belljar}}:used:{tenant}");
        self.command(&["EVAL", SCRIPT, "1", &key, &place, &change]).await
    }
}

/// Asks until there is an answer, for what no event announces.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// The next event, in time.
pub(crate) async fn next_event(events: &mut Subscription) -> StoreEvent {
    timeout(DEADLINE, events.next()).await.expect("an event in time")
}

pub(crate) fn native() -> TaskClass {
    "native:3.11".parse().expect("a class")
}

pub(crate) fn sandbox() -> TaskClass {
    "sandbox:3.11".parse().expect("a class")
}

pub(crate) fn task() -> NewTask {
    NewTask {
        id: TaskId::random(),
        spec: TaskSpec {
            function_id: FunctionId::from_bytes([7; 16]),
            code: CodeHash::of(b"code"),
            class: native(),
            limits: TaskLimits::DEFAULT,
            priority: Priority::Normal,
            grants: None,
            packages: None,
            warm: WarmMode::Auto,
        },
        args: Bytes::from_static(b"\x80\x04\x95args"),
        delay_ms: 0,
        session: None,
        idempotency: None,
        trace: None,
    }
}

pub(crate) fn tasks(n: usize) -> Vec<NewTask> {
    (0..n).map(|_| task()).collect()
}

pub(crate) fn with_priority(priority: Priority) -> NewTask {
    let task = task();
    NewTask { spec: TaskSpec { priority, ..task.spec.clone() }, ..task }
}

pub(crate) fn of_class(class: TaskClass) -> NewTask {
    let task = task();
    NewTask { spec: TaskSpec { class, ..task.spec.clone() }, ..task }
}

pub(crate) fn demand(count: usize) -> Vec<Demand> {
    vec![Demand { classes: vec![native()], count, reserved: 0 }]
}

pub(crate) async fn submit_one(store: &Store) -> TaskId {
    store.submit(vec![task()]).await.expect("accepted")[0]
}

/// Claims tasks, and reads the arguments of those that come without.
pub(crate) async fn claim(
    store: &Store,
    dispatcher: DispatcherId,
    count: usize,
) -> Vec<ClaimedTask> {
    let mut claimed = store.claim(dispatcher, &demand(count)).await.expect("claimed");
    for task in claimed.iter_mut().filter(|task| task.unread.is_some()) {
        task.invocation.args = store.read_args(task).await.expect("asked").expect("there");
    }
    claimed
}

/// Claims the one task that there is.
pub(crate) async fn claim_one(store: &Store, dispatcher: DispatcherId) -> ClaimedTask {
    let mut claimed = claim(store, dispatcher, 1).await;
    assert_eq!(claimed.len(), 1, "one task is queued");
    claimed.remove(0)
}

pub(crate) fn completed(task: TaskAttempt, value: &[u8]) -> Completion {
    let verdict = CallVerdict::Completed(Bytes::copy_from_slice(value));
    finished(task, verdict)
}

pub(crate) fn failed(task: TaskAttempt, text: &str) -> Completion {
    let failure = Failure::by_platform(FailureKind::Exception, text.to_owned());
    finished(task, CallVerdict::Failed(failure))
}

pub(crate) fn finished(task: TaskAttempt, verdict: CallVerdict) -> Completion {
    let outcome = Outcome::bare(verdict, Duration::from_millis(1));
    Completion { worker: WorkerId::random(), report: Report { task, outcome } }
}

pub(crate) fn unstarted(task: TaskAttempt) -> Requeued {
    Requeued { task, reason: RequeueReason::Unstarted }
}

pub(crate) fn died(task: TaskAttempt, evidence: &str) -> Requeued {
    Requeued { task, reason: RequeueReason::Died(evidence.to_owned()) }
}

pub(crate) fn tenant(name: &str) -> Tenant {
    name.parse().expect("a name")
}

/// A small generator with a seed: the same sequence each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("it is below a usize")
    }
}

/// The audit, which must be consistent whenever it is asked for.
pub(crate) async fn audit(store: &Store) -> Audit {
    let audit = store.audit().await.expect("an audit");
    assert!(audit.is_consistent(), "{audit:?}");
    audit
}
