//! The clients: some submit at a steady rate and repeat what was not accepted, some wait for results,
//! one looks at tasks at odd times. All that they see is in the history.

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

use crate::history::{Event, History, Phase, Recorder, now_us};
use crate::pickle;

/// How many threads submit, and how many wait for results.
const SUBMITTERS: u64 = 8;
const COLLECTORS: usize = 2;
/// After this an answer is given up: what is half open never ends by itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause before a submission that was not accepted is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The pause between two looks of a thread: the recovery that is measured is at most that much longer
/// than it was.
const LOOK_PAUSE: Duration = Duration::from_millis(25);
/// How many results are asked for at once.
const ASKED_AT_ONCE: usize = 500;
/// With more tasks open than this, clients wait with the next: on a machine too slow for the rate, all
/// would otherwise be late for want of processors.
const MOST_OPEN: usize = 500;
/// Among how many of the newest tasks the observer chooses.
const RECENT: usize = 400;

/// What the clients call.
#[derive(Debug, Clone)]
pub struct Work {
    /// In the sandbox instead of natively.
    pub is_sandboxed: bool,
    /// How many tasks are offered in a second.
    pub rate: u64,
}

#[derive(Debug)]
struct Shared {
    base: String,
    function: String,
    side: String,
    rate: u64,
    begun: Instant,
    recorder: Arc<Recorder>,
    known: Mutex<Known>,
    /// No more submissions.
    enough: AtomicBool,
    /// No more looks.
    over: AtomicBool,
    /// How many submissions were refused or not answered, and repeated.
    repeated: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    /// All tasks, and their keys.
    all: Vec<(String, u64)>,
    /// Those without an end.
    open: HashSet<String>,
    /// The same in the order in which each collector asks for them.
    queues: [VecDeque<String>; COLLECTORS],
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> Client {
        Client::with_timeout(&self.base, ANSWER_TIMEOUT)
    }

    fn saw(&self, task: &str, reply: &Value, asked_us: u64) -> Result<bool> {
        let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
        let (status, result) = (text("status"), text("result"));
        let is_end = !matches!(status.as_str(), "QUEUED" | "RUNNING");
        self.recorder.note(Event::Seen { task: task.to_owned(), status, result, asked_us })?;
        Ok(is_end)
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    submitters: Vec<JoinHandle<Result<()>>>,
    lookers: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    /// Registers the function, has one call made, and starts the clients.
    ///
    /// # Errors
    /// The service does not run calls.
    pub fn start(base: &str, side: &Path, work: &Work, recorder: Arc<Recorder>) -> Result<Self> {
        let (name, runtime) =
            if work.is_sandboxed { ("sandbox", "sandbox") } else { ("native", "native") };
        let client = Client::new(base);
        let payload = pickle::function("belljar_faults", name);
        let function = client.register(&payload, json!({"runtime": runtime}))?;
        let shared = Arc::new(Shared {
            base: base.to_owned(),
            function,
            side: side.to_string_lossy().into_owned(),
            rate: work.rate,
            begun: Instant::now(),
            recorder,
            known: Mutex::default(),
            enough: AtomicBool::new(false),
            over: AtomicBool::new(false),
            repeated: AtomicU64::new(0),
        });
        submit(&shared, &client, 0)?;
        let first = shared.known().all[0].0.clone();
        let (status, result) = client.wait(&first, 30)?;
        if status != "COMPLETED" {
            bail!("a first call came to {status} {result}");
        }
        let spawn = |work: fn(&Shared, u64) -> Result<()>, number: u64| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || work(&shared, number))
        };
        let submitters = (0..SUBMITTERS).map(|number| spawn(submit_steadily, number)).collect();
        let mut lookers: Vec<_> =
            (0..COLLECTORS as u64).map(|number| spawn(collect, number)).collect();
        lookers.push(spawn(observe, 0));
        Ok(Self { shared, submitters, lookers })
    }

    /// Waits until every task that was accepted up to now has ended; `false` where that takes longer.
    #[must_use]
    pub fn settled(&self, patience: Duration) -> bool {
        let mut left: HashSet<String> = self.shared.known().open.clone();
        eventually(patience, || {
            let known = self.shared.known();
            left.retain(|task| known.open.contains(task));
            left.is_empty()
        })
    }

    /// How many submissions had to be repeated.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.shared.repeated.load(Ordering::Relaxed)
    }

    /// Submits no more, waits for all ends, and looks at everything once more.
    ///
    /// # Errors
    /// The service does not answer, or the history cannot be written.
    pub fn finish(self, side: Option<&Path>, patience: Duration) -> Result<()> {
        self.shared.enough.store(true, Ordering::Relaxed);
        join(self.submitters)?;
        let load = Self { submitters: Vec::new(), shared: self.shared, lookers: self.lookers };
        // Where it is not, the history says what is missing.
        let _ = load.settled(patience);
        load.shared.over.store(true, Ordering::Relaxed);
        join(load.lookers)?;
        let client = Client::new(&load.shared.base);
        look_at_all(&load.shared, &client)?;
        if let Some(side) = side {
            count_attempts(&load.shared, &client, side)?;
        }
        read_books(&load.shared, &client, patience)?;
        load.shared.recorder.flush()
    }
}

fn join(threads: Vec<JoinHandle<Result<()>>>) -> Result<()> {
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    Ok(())
}

/// Submits every so manyth task when it is due, however long the ones before took.
fn submit_steadily(shared: &Shared, number: u64) -> Result<()> {
    let client = shared.client();
    for key in (number + 1..).step_by(SUBMITTERS as usize) {
        let due = shared.begun + Duration::from_micros(key * 1_000_000 / shared.rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        while shared.known().open.len() >= MOST_OPEN && !shared.enough.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_PAUSE);
        }
        if shared.enough.load(Ordering::Relaxed) {
            return Ok(());
        }
        submit(shared, &client, key)?;
    }
    Ok(())
}

/// Submits a task until it is accepted.
fn submit(shared: &Shared, client: &Client, key: u64) -> Result<()> {
    let args = pickle::arguments(&key.to_string(), &shared.side);
    let function = &shared.function;
    let body =
        json!({"function_id": function, "payload": args, "idempotency_key": format!("{key}")});
    loop {
        // A status below 500 that is not 200 is no fault of the weather.
        match client.post("/execute_function", &body) {
            Ok((200, reply)) => {
                let task = reply["task_id"].as_str().context("no task id")?.to_owned();
                shared.recorder.note(Event::Accepted { key, task: task.clone() })?;
                let mut known = shared.known();
                known.queues[key as usize % COLLECTORS].push_back(task.clone());
                known.open.insert(task.clone());
                known.all.push((task, key));
                return Ok(());
            }
            Ok((status, reply)) if status < 500 => bail!("key {key} was refused: {status} {reply}"),
            Ok(_) | Err(_) => {
                shared.repeated.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(RETRY_PAUSE);
            }
        }
    }
}

/// Waits for results, many at once, each task in its turn.
fn collect(shared: &Shared, number: u64) -> Result<()> {
    let client = shared.client();
    let mine = number as usize;
    while !shared.over.load(Ordering::Relaxed) {
        let asked: Vec<_> = {
            let mut known = shared.known();
            let count = known.queues[mine].len().min(ASKED_AT_ONCE);
            known.queues[mine].drain(..count).collect()
        };
        let asked_us = now_us();
        if !asked.is_empty()
            && let Ok((200, reply)) =
                client.post("/v1/results", &json!({"task_ids": asked, "wait": 0.5}))
        {
            for result in reply["results"].as_array().into_iter().flatten() {
                let task = result["task_id"].as_str().unwrap_or_default();
                if shared.saw(task, result, asked_us)? {
                    shared.known().open.remove(task);
                }
            }
        }
        let mut known = shared.known();
        let Known { open, queues, .. } = &mut *known;
        queues[mine].extend(asked.into_iter().filter(|task| open.contains(task)));
        drop(known);
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(())
}

/// Looks at one of the newest tasks, ended or not.
fn observe(shared: &Shared, _: u64) -> Result<()> {
    let client = shared.client();
    let mut turn = 0_usize;
    while !shared.over.load(Ordering::Relaxed) {
        // Strides without a common divisor come to every one, in no order.
        turn = turn.wrapping_add(7919);
        let task = {
            let known = shared.known();
            let back = turn % RECENT.min(known.all.len()).max(1);
            known.all.iter().rev().nth(back).map(|(task, _)| task.clone())
        };
        let asked_us = now_us();
        if let Some(task) = task
            && let Ok((200, reply)) = client.get(&format!("/result/{task}"))
        {
            shared.saw(&task, &reply, asked_us)?;
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(())
}

/// One more look at every task.
fn look_at_all(shared: &Shared, client: &Client) -> Result<()> {
    let all = std::mem::take(&mut shared.known().all);
    for part in all.chunks(ASKED_AT_ONCE) {
        let tasks: Vec<_> = part.iter().map(|(task, _)| task).collect();
        let asked_us = now_us();
        let (status, reply) = client.post("/v1/results", &json!({"task_ids": tasks, "wait": 0}))?;
        let results = reply["results"].as_array().with_context(|| format!("{status}: {reply}"))?;
        for result in results {
            shared.saw(result["task_id"].as_str().unwrap_or_default(), result, asked_us)?;
        }
    }
    shared.known().all = all;
    Ok(())
}

/// Asks how many attempts were made at those that ran more than once.
fn count_attempts(shared: &Shared, client: &Client, side: &Path) -> Result<()> {
    let notes = History::read_notes(side)?;
    let mut starts = HashMap::<u64, u32>::new();
    for note in notes.iter().filter(|note| note.phase == Phase::Start) {
        *starts.entry(note.key).or_default() += 1;
    }
    let all = shared.known().all.clone();
    for (task, key) in all {
        if starts.get(&key).is_some_and(|starts| *starts > 1) {
            let record = client.record(&task)?;
            let attempts = record["attempts"].as_u64().with_context(|| record.to_string())?;
            let attempts = u32::try_from(attempts)?;
            shared.recorder.note(Event::Attempts { task, attempts })?;
        }
    }
    Ok(())
}

fn read_books(shared: &Shared, client: &Client, patience: Duration) -> Result<()> {
    let mut books = Value::Null;
    // The last results may be on their way to the books' queues.
    let _ = eventually(patience, || {
        books = client.get("/v1/audit").map(|(_, books)| books).unwrap_or_default();
        books["running"] == 0 && books["queued"] == 0
    });
    let number = |name: &str| books[name].as_u64().with_context(|| format!("{name}: {books}"));
    let ended = number("completed")? + number("failed")? + number("cancelled")?;
    let accepted = number("accepted")?;
    let consistent = books["consistent"] == true;
    shared.recorder.note(Event::Books { consistent, accepted, ended })
}
