//! An instance over a child process that answers one call at a time over a framed socket.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belljar_core::access::AccessLog;
use belljar_core::args;
use belljar_core::frame::{self, Call, Done, FrameError};
use belljar_core::grants::GrantPolicy;
use belljar_core::invocation::Invocation;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind, Outcome};
use belljar_core::requirements::PackageLock;
use belljar_core::session;
use belljar_core::shared_blobs::SharedBlobs;
use belljar_core::task::{Runtime, TaskClass};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deadline::Deadline;
use super::folder::Folder;
use super::host_memory::HostMemory;
use super::sent_code::SentCode;
use super::{Instance, Ran, Started};
use crate::child::call_frame::{self, CallFrame, SentPiece};
use crate::child::long_result::LongResult;
use crate::child::output::Output;
use crate::child::pipe::Answer;
use crate::child::{Child, ChildCommand, Lost};
use crate::error::StartError;
use crate::event::ExecutorInfo;
use crate::http_proxy::{CallProxy, HttpProxy};
use crate::live::Live;
use crate::packages::{PackageFolder, PackageStore, PackagesError};

/// A child is replaced after this many calls, for whatever collects in it.
const CALLS_PER_CHILD: u64 = 100_000;

/// The child processes of one class: what the native runtime and the sandbox share.
#[derive(Debug)]
pub(super) struct Processes {
    pub(super) class: TaskClass,
    pub(super) command: ChildCommand,
    pub(super) grant_policy: GrantPolicy,
    /// Makes the HTTP requests of calls that are granted some.
    pub(super) http: Option<Arc<HttpProxy>>,
    /// Installs the packages that functions ask for, where that is offered.
    pub(super) packages: Option<Arc<PackageStore>>,
}

impl Processes {
    /// Starts a child and waits until it is ready.
    pub(super) async fn start(&self) -> Result<Started, StartError> {
        self.start_by(&self.command, None).await
    }

    /// The same for functions with these packages, which come before all else on the path.
    pub(super) async fn start_with(&self, packages: &PackageLock) -> Result<Started, StartError> {
        let store = self.packages.as_ref().ok_or(PackagesError::NotOffered)?;
        let folder = store.folder(self.class, packages).await?;
        let mut command = self.command.clone();
        let option: [OsString; 2] = ["--python-path".into(), folder.path().into()];
        command.args.splice(..0, option);
        self.start_by(&command, Some(folder)).await
    }

    async fn start_by(
        &self,
        command: &ChildCommand,
        packages: Option<PackageFolder>,
    ) -> Result<Started, StartError> {
        let (child, ready) = Child::start(command).await?;
        let info =
            ExecutorInfo { class: self.class, python: ready.python, dill: ready.dill, guest: None };
        // A native call limits its own memory.
        let memory = (self.class.runtime == Runtime::Sandbox).then(|| HostMemory::of(child.pid()));
        let process = Process {
            child,
            grant_policy: self.grant_policy.clone(),
            http: self.http.clone(),
            max_result_bytes: self.command.max_result_bytes as u64,
            blobs: self.command.blobs.clone(),
            sent: SentCode::default(),
            calls: 0,
            timer: Deadline::default(),
            memory: memory.transpose().map_err(StartError::Memory)?,
            _packages: packages,
        };
        Ok(Started { instance: Box::new(process), info })
    }
}

/// A child process between two calls.
#[derive(Debug)]
struct Process {
    child: Child,
    grant_policy: GrantPolicy,
    http: Option<Arc<HttpProxy>>,
    max_result_bytes: u64,
    blobs: Option<SharedBlobs>,
    sent: SentCode,
    calls: u64,
    timer: Deadline,
    memory: Option<HostMemory>,
    /// Stays in the cache for as long as the child may import from it.
    _packages: Option<PackageFolder>,
}

/// What is sent to a child.
struct ChildRequest {
    frame: CallFrame,
    /// For a call that may make HTTP requests.
    http: Option<Box<CallProxy>>,
}

/// How an exchange with a child ended.
#[expect(clippy::large_enum_variant, reason = "a moment on the stack of the only one who asks")]
enum Exchange {
    Replied(Result<Answer, Lost>),
    DeadlinePassed,
    Cancelled,
}

/// Whether the child can take another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Replaced,
}

impl Process {
    /// What goes to the child, unless the call asks for what is not offered here or is too long.
    fn request(
        &mut self,
        invocation: &Invocation,
        args: Option<Vec<SentPiece>>,
        folder: Option<&Folder>,
    ) -> Result<ChildRequest, Failure> {
        let asked = invocation.spec.grants.as_deref();
        let granted = asked.map(|asked| self.grant_policy.grant(asked));
        let mut granted = granted
            .transpose()
            .map_err(|denied| Failure::by_platform(FailureKind::Denied, denied.to_string()))?;
        if let Some(memory) = &mut self.memory {
            let default = self.grant_policy.default_scratch_mb();
            let scratch_mb = granted.as_ref().map_or(default, |granted| granted.scratch_mb);
            memory.limit(invocation.spec.limits.memory_mb, scratch_mb);
        }
        let http = match (asked, &mut granted) {
            (Some(asked), Some(granted)) if granted.http => {
                let patterns = asked.http.iter().filter_map(|text| text.parse().ok()).collect();
                let proxy = self.http.clone();
                granted.http = proxy.is_some();
                proxy.map(|proxy| Box::new(CallProxy::new(proxy, patterns)))
            }
            _ => None,
        };
        let (invocation, evict) = self.sent.add(invocation);
        let max_result_bytes = invocation.spec.limits.max_result_bytes(self.max_result_bytes);
        let granted = granted.map(Box::new);
        let (nonce, folder) = (frame::nonce(), folder.map(Folder::path));
        let mut call = Call { nonce, invocation, evict, granted, max_result_bytes, folder };
        let frame = CallFrame::of(&mut call, args, self.blobs.as_ref())?;
        Ok(ChildRequest { frame, http })
    }

    async fn call(
        &mut self,
        invocation: &Invocation,
        cancel: &CancellationToken,
        live: &Live<'_>,
    ) -> (Option<Outcome>, Fate) {
        self.calls += 1;
        // What is far away comes before the call's time begins.
        let args = match args::is_list(&invocation.args) {
            // In a box: other calls carry none of its state.
            true => match Box::pin(self.collected(invocation, cancel)).await {
                Ok(args) => Some(args),
                Err(verdict) => return (Some(Outcome::bare(verdict, Duration::ZERO)), Fate::Kept),
            },
            false => None,
        };
        let started = Instant::now();
        // A sandboxed call has a `/tmp` of its own.
        let has_folder =
            self.memory.is_none() && call_frame::has_files(&invocation.args, args.as_deref());
        let folder = if has_folder { Folder::make().map(Some) } else { Ok(None) };
        let request = folder.and_then(|folder| {
            self.request(invocation, args, folder.as_ref()).map(|request| (request, folder))
        });
        // The folder is removed once the call has ended, however it ends.
        let (mut request, _folder) = match request {
            Ok(request) => request,
            Err(failure) => {
                let outcome = Outcome::bare(CallVerdict::Failed(failure), started.elapsed());
                return (Some(outcome), Fate::Kept);
            }
        };
        let deadline = self.timer.passed(started + invocation.spec.limits.timeout());
        let exchange = exchange(&mut self.child, &mut request, deadline, cancel, live).await;
        let (mut outcome, fate) = match exchange {
            Exchange::Replied(Ok(mut answer)) => {
                let unsent = answer.in_file.as_mut().and_then(|result| result.unsent.take());
                let (mut outcome, fate) = self.done(answer, invocation);
                if let Some(unsent) = unsent
                    && matches!(outcome.verdict, CallVerdict::CompletedInFile(_))
                {
                    outcome.verdict = Box::pin(unsent.send(cancel)).await;
                }
                (outcome, fate)
            }
            Exchange::Replied(Err(lost)) if self.calls > 1 && lost.has_not_begun() => {
                let why = &lost as &dyn std::error::Error;
                tracing::debug!(task_id = %invocation.task.task_id, why, "runs in another child");
                return (None, Fate::Replaced);
            }
            Exchange::Replied(Err(lost)) => (self.lost(lost).await, Fate::Replaced),
            Exchange::DeadlinePassed => {
                let limit = invocation.spec.limits.timeout();
                let text = format!("the call was stopped at its time limit of {limit:?}");
                let verdict = CallVerdict::Failed(Failure::by_platform(FailureKind::Timeout, text));
                (stopped(&mut self.child, verdict).await, Fate::Replaced)
            }
            Exchange::Cancelled => {
                (stopped(&mut self.child, CallVerdict::Cancelled).await, Fate::Replaced)
            }
        };
        if let Some(http) = request.http {
            let mut log = http.into_log();
            log.add(outcome.access.as_deref().map_or(&[], |access| &access.denied));
            outcome.access = log.recorded();
        }
        outcome.elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        (Some(outcome), fate)
    }

    /// The pieces of arguments that are a list; how the call ends, where they cannot be had.
    async fn collected(
        &self,
        invocation: &Invocation,
        cancel: &CancellationToken,
    ) -> Result<Vec<SentPiece>, CallVerdict> {
        let is_sandboxed = self.memory.is_some();
        let collect = call_frame::collect(&invocation.args, is_sandboxed, self.blobs.as_ref());
        let collected = cancel.run_until_cancelled(collect).await;
        collected.ok_or(CallVerdict::Cancelled)?.map_err(CallVerdict::Failed)
    }

    /// The end of a call that the child did not answer.
    async fn lost(&mut self, lost: Lost) -> Outcome {
        let failure = match lost {
            Lost::Protocol(FrameError::TooLong { bytes, .. }) => {
                Failure::too_long("answer", bytes, self.max_result_bytes)
            }
            Lost::Arguments(error) => {
                let text = format!("a value that the arguments refer to cannot be read: {error}");
                Failure::by_platform(FailureKind::Decode, text)
            }
            Lost::Unwritten(bytes, error) => {
                let text = format!(
                    "the result of {bytes} bytes cannot be written to the directory for large values: {error}"
                );
                Failure::by_platform(FailureKind::Limit, text)
            }
            lost => return died(&mut self.child, &explain(&lost)).await,
        };
        stopped(&mut self.child, CallVerdict::Failed(failure)).await
    }

    /// The end of a call that the child answered.
    fn done(&mut self, answer: Answer, invocation: &Invocation) -> (Outcome, Fate) {
        let output = self.child.take_output();
        let fate = if self.calls < CALLS_PER_CHILD { Fate::Kept } else { Fate::Replaced };
        let limits = &invocation.spec.limits;
        let mut done = answer.done.within(limits.max_result_bytes(self.max_result_bytes));
        if !done.files.is_empty() && !session::is_envelope(&invocation.args) {
            // A child may be hostile: what has no session leaves nothing to one.
            done.files.retain(|file| !session::is_state(file));
        }
        (outcome_of(done, answer.in_file, output), fate)
    }
}

#[async_trait]
impl Instance for Process {
    fn is_stale(&self) -> bool {
        self.child.is_stale()
            || self.memory.as_ref().is_some_and(|memory| memory.has_grown(self.calls))
    }

    async fn run(
        mut self: Box<Self>,
        invocation: &Invocation,
        cancel: &CancellationToken,
        live: &Live<'_>,
    ) -> Ran {
        let (outcome, fate) = self.call(invocation, cancel, live).await;
        let instance: Option<Box<dyn Instance>> = match fate {
            Fate::Kept => Some(self),
            Fate::Replaced => None,
        };
        Ran { outcome, instance }
    }

    async fn end(mut self: Box<Self>) {
        self.child.end().await;
    }
}

/// Sends the call and waits until it ends in one way or another.
async fn exchange(
    child: &mut Child,
    request: &mut ChildRequest,
    deadline: impl Future<Output = ()>,
    cancel: &CancellationToken,
    live: &Live<'_>,
) -> Exchange {
    let (pipe, streams) = child.parts();
    let ChildRequest { frame, http } = request;
    let on_progress = |progress| live.progress(progress);
    let wait = async {
        let reply = pipe.exchange(frame, http.as_deref_mut(), on_progress);
        tokio::select! {
            biased;
            reply = reply => Exchange::Replied(reply),
            () = deadline => Exchange::DeadlinePassed,
            () = cancel.cancelled() => Exchange::Cancelled,
        }
    };
    live.while_showing(streams, wait).await
}

fn explain(lost: &Lost) -> String {
    match lost {
        Lost::Protocol(error) => format!("the executor broke its protocol ({error}): "),
        Lost::Foreign | Lost::LeftBehind(_) => {
            format!("the executor broke its protocol ({lost}): ")
        }
        Lost::Closed | Lost::Socket(_) | Lost::Arguments(_) | Lost::Unwritten(..) => {
            "the process that ran the call died: ".to_owned()
        }
    }
}

/// The outcome of a call during which the child died.
async fn died(child: &mut Child, problem: &str) -> Outcome {
    let death = child.end_by_itself().await;
    let output = child.take_output();
    let text = format!("{problem}{}", death.describe(&output));
    let verdict = CallVerdict::Failed(Failure::by_platform(FailureKind::ExecutorDied, text));
    with_output(verdict, output, death.peak_memory_bytes)
}

/// The outcome of a call that was stopped, once its code has ended.
async fn stopped(child: &mut Child, verdict: CallVerdict) -> Outcome {
    let death = child.end().await;
    let output = child.take_output();
    with_output(verdict, output, death.peak_memory_bytes)
}

fn with_output(verdict: CallVerdict, output: Output, peak_memory_bytes: u64) -> Outcome {
    let Output { stdout, stderr } = output;
    Outcome { stdout, stderr, peak_memory_bytes, ..Outcome::bare(verdict, Duration::ZERO) }
}

fn outcome_of(done: Done, in_file: Option<LongResult>, output: Output) -> Outcome {
    let verdict = match (done.result, in_file) {
        (Err(failure), _) => CallVerdict::Failed(failure),
        (Ok(_), Some(result)) => CallVerdict::CompletedInFile(result.bytes),
        (Ok(value), None) => CallVerdict::Completed(value),
    };
    let mut access = AccessLog::default();
    access.add(&done.denied);
    let (phases, files, access) = (done.phases, done.files, access.recorded());
    Outcome { phases, files, access, ..with_output(verdict, output, done.peak_memory_bytes) }
}
