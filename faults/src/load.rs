//! The clients. Some submit at a steady rate and repeat what was not accepted, some wait for results, one
//! reads tasks at irregular times. They record everything that they see.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use belljar_testkit::eventually;
use belljar_tests::Client;
use serde_json::{Value, json};

use crate::any_client::AnyClient;
use crate::history::{Event, History, Phase, Recorder, now_us};
use crate::pickle;

/// How many threads submit, and how many wait for results.
const SUBMITTERS: u64 = 8;
const COLLECTORS: usize = 2;
/// When a client gives up on an answer: a half-open connection never ends by itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// The same where answers hold many megabytes.
const LONG_ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause before a submission that was not accepted is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The pause between two reads of a thread. A measured recovery is at most this much too long.
const READ_PAUSE: Duration = Duration::from_millis(25);
/// How many results one request reads.
const READ_AT_ONCE: usize = 500;
/// With more open tasks than this, clients stop submitting: on a machine too slow for the rate, everything
/// would be late.
const MOST_OPEN: usize = 500;
/// Every so many tasks one returns much, and another one gets much.
const LONG_EVERY: u64 = 50;
/// How long its key is then: so much is read by the worker itself.
const LARGE_KEY_BYTES: usize = 2 << 20;
/// How often a large result is read that does not come.
const READS: usize = 3;
/// How long a large result is at least.
const LONG_RESULT_BYTES: usize = 9 << 20;
/// All processes stood still if a thread wakes so much too late.
const STOPPED: Duration = Duration::from_secs(1);
/// The observer reads one of this many newest tasks.
const RECENT: usize = 400;

/// What the clients do.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// Whether calls run in the sandbox.
    pub is_sandboxed: bool,
    /// Whether calls refer to values that were uploaded.
    pub has_values: bool,
    /// Whether some calls get or return so much that a worker reads or writes it itself.
    pub has_large_tasks: bool,
    /// Tasks submitted per second.
    pub rate: u64,
}

#[derive(Debug)]
struct Shared {
    /// The gateways.
    bases: Vec<String>,
    function: String,
    /// The file to which tasks write their executions.
    executions: String,
    has_values: bool,
    has_large_tasks: bool,
    rate: u64,
    begun: Instant,
    recorder: Arc<Recorder>,
    tasks: Mutex<Tasks>,
    /// Submitters stop.
    stop_submitting: AtomicBool,
    /// Readers stop.
    stop_reading: AtomicBool,
    /// How many submissions were repeated after a refusal or no answer.
    repeated: AtomicU64,
    /// For how many microseconds all processes stood still.
    stopped_us: AtomicU64,
}

#[derive(Debug, Default)]
struct Tasks {
    /// All tasks and their keys.
    all: Vec<(String, u64)>,
    /// The tasks that have not ended.
    open: HashSet<String>,
    /// The same, in the order in which each collector reads them. The last one has those that return much, and leaves their results
    /// with the service: they are read at the end.
    queues: [VecDeque<String>; COLLECTORS + 1],
}

impl Shared {
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client that begins with one of the gateways.
    fn client(&self, number: u64) -> AnyClient {
        let timeout = if self.has_large_tasks { LONG_ANSWER_TIMEOUT } else { ANSWER_TIMEOUT };
        AnyClient::new(&self.bases, timeout, number as usize)
    }

    /// Whether the task with this key returns much.
    const fn is_large(&self, key: u64) -> bool {
        self.has_large_tasks && is_long(key)
    }

    fn record(&self, task: &str, reply: &Value, asked_us: u64) -> Result<bool> {
        let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
        let (status, result) = (text("status"), pickle::shortened(text("result")));
        let is_terminal = !matches!(status.as_str(), "QUEUED" | "RUNNING");
        self.recorder.record(Event::Read { task: task.to_owned(), status, result, asked_us })?;
        Ok(is_terminal)
    }
}

/// The tasks that return much.
#[derive(Debug)]
pub struct LargeResults {
    /// All of them.
    pub tasks: HashSet<String>,
    /// Those whose results cannot be read, and what is answered.
    pub dangling: Vec<String>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    submitters: Vec<JoinHandle<Result<()>>>,
    readers: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    /// Registers the function, makes one call, and starts the clients.
    ///
    /// # Errors
    /// The service does not run calls.
    pub fn start(
        bases: &[String],
        executions: &Path,
        config: &LoadConfig,
        recorder: Arc<Recorder>,
    ) -> Result<Self> {
        let runtime = if config.is_sandboxed { "sandbox" } else { "native" };
        let client = Client::new(bases.first().context("no gateway")?);
        let name = if config.has_large_tasks { "native_large" } else { runtime };
        let payload = pickle::function("belljar_faults", name);
        let function = client.register(&payload, json!({"runtime": runtime}))?;
        let shared = Arc::new(Shared {
            bases: bases.to_vec(),
            function,
            executions: executions.to_string_lossy().into_owned(),
            has_values: config.has_values,
            has_large_tasks: config.has_large_tasks,
            rate: config.rate,
            begun: Instant::now(),
            recorder,
            tasks: Mutex::default(),
            stop_submitting: AtomicBool::new(false),
            stop_reading: AtomicBool::new(false),
            repeated: AtomicU64::new(0),
            stopped_us: AtomicU64::new(0),
        });
        submit(&shared, &shared.client(0), 0)?;
        let first = shared.tasks().all[0].0.clone();
        let (status, result) = client.wait(&first, 30)?;
        if status != "COMPLETED" {
            bail!("the first call is {status}: {result}");
        }
        let spawn = |work: fn(&Shared, u64) -> Result<()>, number: u64| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || work(&shared, number))
        };
        let submitters = (0..SUBMITTERS).map(|number| spawn(submit_steadily, number)).collect();
        let mut readers: Vec<_> =
            (0..=COLLECTORS as u64).map(|number| spawn(collect, number)).collect();
        readers.extend([spawn(observe, 0), spawn(note_stops, 0)]);
        Ok(Self { shared, submitters, readers })
    }

    /// Waits until every task accepted so far has ended. `false` if that takes longer than `timeout`.
    #[must_use]
    pub fn settled(&self, timeout: Duration) -> bool {
        let mut left: HashSet<String> = self.shared.tasks().open.clone();
        eventually(timeout, || {
            let tasks = self.shared.tasks();
            left.retain(|task| tasks.open.contains(task));
            left.is_empty()
        })
    }

    /// How many submissions were repeated.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.shared.repeated.load(Ordering::Relaxed)
    }

    /// Stops submitting, waits until all tasks have ended, and reads everything once more. Returns the tasks with large results.
    ///
    /// # Errors
    /// The service does not answer, or the history cannot be written.
    pub fn finish(self, executions: Option<&Path>, timeout: Duration) -> Result<LargeResults> {
        self.shared.stop_submitting.store(true, Ordering::Relaxed);
        join(self.submitters)?;
        let load = Self { submitters: Vec::new(), shared: self.shared, readers: self.readers };
        // If some have not, the history says which.
        let _ = load.settled(timeout);
        load.shared.stop_reading.store(true, Ordering::Relaxed);
        join(load.readers)?;
        let client = Client::new(&load.shared.bases[0]);
        read_all(&load.shared, &client)?;
        if let Some(executions) = executions {
            count_attempts(&load.shared, &client, executions)?;
        }
        read_audit(&load.shared, &client, timeout)?;
        let all = std::mem::take(&mut load.shared.tasks().all);
        let long = all.into_iter().filter(|(_, key)| load.shared.is_large(*key));
        let tasks: HashSet<_> = long.map(|(task, _)| task).collect();
        let dangling = dangling(&load.shared, &client, &tasks)?;
        load.shared.recorder.flush()?;
        Ok(LargeResults { tasks, dangling })
    }
}

/// Reads large results, and says which of them are named and not there.
fn dangling(shared: &Shared, client: &Client, tasks: &HashSet<String>) -> Result<Vec<String>> {
    let mut dangling = Vec::new();
    for task in tasks {
        let asked_us = now_us();
        // A connection may break, where all stands still for so long that the service gives it up.
        let read = (0..READS).find_map(|_| client.get(&format!("/result/{task}")).ok());
        let (status, reply) = read.unwrap_or_default();
        shared.record(task, &reply, asked_us)?;
        let result = reply["result"].as_str().unwrap_or_default();
        if status != 200 || reply["status"] != "COMPLETED" || result.len() < LONG_RESULT_BYTES {
            let told = format!("{status} {} {}", reply["status"], reply["message"]);
            dangling.push(format!("{task}: {told}, {} characters", result.len()));
        }
    }
    Ok(dangling)
}

fn join(threads: Vec<JoinHandle<Result<()>>>) -> Result<()> {
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    Ok(())
}

/// Whether the task with this key returns much, as `belljar_faults.py` has it.
const fn is_long(key: u64) -> bool {
    key % LONG_EVERY == 1
}

/// Whether the task with this key gets much.
const fn gets_much(key: u64) -> bool {
    key % LONG_EVERY == 26
}

/// Submits every eighth task when it is due, no matter how long earlier ones took.
fn submit_steadily(shared: &Shared, number: u64) -> Result<()> {
    let client = shared.client(number);
    for key in (number + 1..).step_by(SUBMITTERS as usize) {
        let stopped_us = shared.stopped_us.load(Ordering::Relaxed);
        let due = shared.begun + Duration::from_micros(key * 1_000_000 / shared.rate + stopped_us);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        while shared.tasks().open.len() >= MOST_OPEN
            && !shared.stop_submitting.load(Ordering::Relaxed)
        {
            std::thread::sleep(READ_PAUSE);
        }
        if shared.stop_submitting.load(Ordering::Relaxed) {
            return Ok(());
        }
        submit(shared, &client, key)?;
    }
    Ok(())
}

/// Submits a task until it is accepted.
fn submit(shared: &Shared, client: &AnyClient, key: u64) -> Result<()> {
    loop {
        let value = match shared.has_values {
            true => Some(upload(shared, client, key)?),
            false => None,
        };
        let args = match &value {
            Some(id) => pickle::referring(&format!("blob:{id}"), &shared.executions),
            // Spaces behind a key do not count.
            None if shared.has_large_tasks && gets_much(key) => {
                let spaces = " ".repeat(LARGE_KEY_BYTES);
                pickle::arguments(&format!("{key}{spaces}"), &shared.executions)
            }
            None => pickle::arguments(&key.to_string(), &shared.executions),
        };
        let (function, key_text) = (&shared.function, key.to_string());
        let body = json!({"function_id": function, "payload": args, "idempotency_key": key_text});
        // Faults cause statuses from 500 on; another refusal is a bug.
        match client.post("/execute_function", &body) {
            Ok((200, reply)) => {
                let task = reply["task_id"].as_str().context("no task id")?.to_owned();
                shared.recorder.record(Event::Accepted { key, task: task.clone() })?;
                let mut tasks = shared.tasks();
                let queue = match shared.is_large(key) {
                    true => COLLECTORS,
                    false => key as usize % COLLECTORS,
                };
                tasks.queues[queue].push_back(task.clone());
                tasks.open.insert(task.clone());
                tasks.all.push((task, key));
                drop(tasks);
                // The task has it all the same.
                return value.map_or(Ok(()), |id| delete(shared, client, &id));
            }
            // A killed Redis may have forgotten it.
            Ok((404, reply)) if reply["code"] == "unknown_value" => again(shared),
            Ok((status, reply)) if status < 500 => bail!("key {key} was refused: {status} {reply}"),
            Ok(_) | Err(_) => again(shared),
        }
    }
}

/// Uploads the value of a task until it is kept: its id.
fn upload(shared: &Shared, client: &AnyClient, key: u64) -> Result<String> {
    let value = pickle::value(&key.to_string());
    loop {
        match client.ask(|client| client.put("/v1/blobs", &value)) {
            Ok((200 | 201, reply)) => {
                return Ok(reply["blob_id"].as_str().context("no id of a value")?.to_owned());
            }
            Ok((status, reply)) if status < 500 => bail!("value {key}: {status} {reply}"),
            Ok(_) | Err(_) => again(shared),
        }
    }
}

/// Deletes a value until it is gone.
fn delete(shared: &Shared, client: &AnyClient, id: &str) -> Result<()> {
    loop {
        match client.ask(|client| client.delete(&format!("/v1/blobs/{id}"))) {
            Ok((200 | 404, _)) => return Ok(()),
            Ok((status, reply)) if status < 500 => bail!("value {id}: {status} {reply}"),
            Ok(_) | Err(_) => again(shared),
        }
    }
}

fn again(shared: &Shared) {
    shared.repeated.fetch_add(1, Ordering::Relaxed);
    std::thread::sleep(RETRY_PAUSE);
}

/// Waits for results, many at once, in turn.
fn collect(shared: &Shared, number: u64) -> Result<()> {
    let client = shared.client(number);
    let mine = number as usize;
    let path = if mine == COLLECTORS { "/v1/results?keep=true" } else { "/v1/results" };
    while !shared.stop_reading.load(Ordering::Relaxed) {
        let batch: Vec<_> = {
            let mut tasks = shared.tasks();
            let count = tasks.queues[mine].len().min(READ_AT_ONCE);
            tasks.queues[mine].drain(..count).collect()
        };
        let asked_us = now_us();
        if !batch.is_empty()
            && let Ok((200, reply)) = client.post(path, &json!({"task_ids": batch, "wait": 0.5}))
        {
            for result in reply["results"].as_array().into_iter().flatten() {
                let task = result["task_id"].as_str().unwrap_or_default();
                if shared.record(task, result, asked_us)? {
                    shared.tasks().open.remove(task);
                }
            }
        }
        let mut tasks = shared.tasks();
        let Tasks { open, queues, .. } = &mut *tasks;
        queues[mine].extend(batch.into_iter().filter(|task| open.contains(task)));
        drop(tasks);
        std::thread::sleep(READ_PAUSE);
    }
    Ok(())
}

/// Notes when all processes have stood still: what that took is no recovery.
fn note_stops(shared: &Shared, _: u64) -> Result<()> {
    while !shared.stop_reading.load(Ordering::Relaxed) {
        let begun = Instant::now();
        std::thread::sleep(READ_PAUSE);
        if begun.elapsed() > STOPPED {
            let for_us = u64::try_from(begun.elapsed().as_micros())?;
            shared.stopped_us.fetch_add(for_us, Ordering::Relaxed);
            shared.recorder.record(Event::Stopped { for_us })?;
        }
    }
    Ok(())
}

/// Reads one of the newest tasks, ended or not.
fn observe(shared: &Shared, number: u64) -> Result<()> {
    let client = shared.client(number);
    let mut turn = 0_usize;
    while !shared.stop_reading.load(Ordering::Relaxed) {
        // A stride without a common divisor visits all of them, in no order.
        turn = turn.wrapping_add(7919);
        let task = {
            let tasks = shared.tasks();
            let back = turn % RECENT.min(tasks.all.len()).max(1);
            let found = tasks.all.iter().rev().nth(back);
            found.filter(|(_, key)| !shared.is_large(*key)).map(|(task, _)| task.clone())
        };
        let asked_us = now_us();
        if let Some(task) = task
            && let Ok((200, reply)) = client.get(&format!("/result/{task}"))
        {
            shared.record(&task, &reply, asked_us)?;
        }
        std::thread::sleep(READ_PAUSE);
    }
    Ok(())
}

/// Reads every task once more, but for those that return much.
fn read_all(shared: &Shared, client: &Client) -> Result<()> {
    let all = shared.tasks().all.clone();
    let small: Vec<_> = all.into_iter().filter(|(_, key)| !shared.is_large(*key)).collect();
    for part in small.chunks(READ_AT_ONCE) {
        let tasks: Vec<_> = part.iter().map(|(task, _)| task).collect();
        let asked_us = now_us();
        let (status, reply) = client.post("/v1/results", &json!({"task_ids": tasks, "wait": 0}))?;
        let results = reply["results"].as_array().with_context(|| format!("{status}: {reply}"))?;
        for result in results {
            shared.record(result["task_id"].as_str().unwrap_or_default(), result, asked_us)?;
        }
    }
    Ok(())
}

/// Records the number of attempts of the tasks that ran more than once.
fn count_attempts(shared: &Shared, client: &Client, executions: &Path) -> Result<()> {
    let executions = History::read_executions(executions)?;
    let mut starts = HashMap::<u64, u32>::new();
    for execution in executions.iter().filter(|it| it.phase == Phase::Start) {
        *starts.entry(execution.key).or_default() += 1;
    }
    let all = shared.tasks().all.clone();
    for (task, key) in all {
        if starts.get(&key).is_some_and(|starts| *starts > 1) {
            let record = client.record(&task)?;
            let attempts = record["attempts"].as_u64().with_context(|| record.to_string())?;
            let attempts = u32::try_from(attempts)?;
            shared.recorder.record(Event::Attempts { task, attempts })?;
        }
    }
    Ok(())
}

fn read_audit(shared: &Shared, client: &Client, timeout: Duration) -> Result<()> {
    let mut audit = Value::Null;
    // The last results may not be stored yet.
    let _ = eventually(timeout, || {
        audit = client.get("/v1/audit").map(|(_, audit)| audit).unwrap_or_default();
        audit["running"] == 0 && audit["queued"] == 0
    });
    let number = |name: &str| audit[name].as_u64().with_context(|| format!("{name}: {audit}"));
    let ended = number("completed")? + number("failed")? + number("cancelled")?;
    let accepted = number("accepted")?;
    let consistent = audit["consistent"] == true;
    shared.recorder.record(Event::Audit { consistent, accepted, ended })
}
