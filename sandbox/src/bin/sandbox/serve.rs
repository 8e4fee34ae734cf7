//! Answers calls, one at a time, until the parent has no more.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::FromRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use belljar_core::files::CallFiles;
use belljar_core::frame::{self, CHILD_FD, Call, ChildReply, Done, FrameError, Ready};
use belljar_core::grants::Granted;
use belljar_core::http::HTTP_REQUEST_BYTES;
use belljar_core::limits::MAX_INLINE_RESULT_BYTES;
use belljar_core::live::Progress;
use belljar_core::session;
use belljar_core::task::CodeHash;
use belljar_sandbox::{
    Answer, Error, Function, FunctionName, GrantedAccess, HttpChannel, Limits, ProgressChannel,
    Sandbox,
};
use bytes::Bytes;

use crate::hardening;

/// Why this process cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The channel to the parent.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] Error),
    /// The restrictions of this process.
    #[error(transparent)]
    Hardening(#[from] hardening::FilterError),
    /// The parent names a function that it never sent.
    #[error("a call names a function that was not sent")]
    UnknownFunction,
    /// The parent grants a directory that this process was not started with.
    #[error("a call is granted a directory that was not opened")]
    UnknownDirectory,
}

/// Serves `sandbox` on [`CHILD_FD`].
pub(crate) fn run(mut sandbox: Sandbox, grantable: &GrantedAccess) -> Result<(), ServeError> {
    #[expect(unsafe_code, reason = "the one descriptor that the parent hands over by number")]
    // SAFETY: nothing else in this process owns it; `main` closed all but 0 to 3.
    let channel = unsafe { File::from_raw_fd(CHILD_FD) };
    let parent = Arc::new(channel.try_clone().map_err(FrameError::from)?);
    let mut replies = &*parent;
    let mut calls = BufReader::with_capacity(64 << 10, channel);
    hardening::apply_seccomp()?;

    let description = sandbox.description();
    let (python, dill) = (description.python.clone(), description.dill.clone());
    frame::write(&mut replies, &ChildReply::Ready(Ready { python, dill }))?;
    let listener = Arc::new(Listener { channel: Arc::clone(&parent), nonce: AtomicU64::new(0) });
    let grantable = &grantable.clone().progress(Arc::<Listener>::clone(&listener));
    let default = grantable.only(&[]).ok_or(ServeError::UnknownDirectory)?;
    let mut functions: HashMap<CodeHash, Bytes> = HashMap::new();
    while let Some(call) = frame::read::<Call>(&mut calls)? {
        let Call { nonce, invocation, evict, granted, max_result_bytes, folder: _ } = call;
        if evict {
            functions.clear();
        }
        if let Some(code) = invocation.code {
            functions.insert(invocation.spec.code, code);
        }
        let code = functions.get(&invocation.spec.code).ok_or(ServeError::UnknownFunction)?;
        let memory_bytes = (invocation.spec.limits.memory_mb as usize) << 20;
        let time = Some(invocation.spec.limits.timeout());
        let limits = Limits { memory_bytes, time };
        let grants = granted
            .map(|granted| granted_access(grantable, *granted, &parent, max_result_bytes))
            .transpose()?;
        let (state, args) = match session::open(&invocation.args) {
            Some((state, args)) => (Some(state), args),
            None => (None, invocation.args),
        };
        let (files, args) = CallFiles::open(&args).map_err(FrameError::from)?;
        let most_left = max_result_bytes.min(MAX_INLINE_RESULT_BYTES);
        let grants = match files {
            Some(files) => Some(grants.unwrap_or_else(|| default.clone()).files(files, most_left)),
            None => grants,
        };
        let grants = grants.as_ref().unwrap_or(&default);
        let name = FunctionName { id: invocation.spec.function_id, code: invocation.spec.code };
        let function = Function { code, name: Some(name), warm: invocation.spec.warm };
        listener.nonce.store(nonce, Ordering::Relaxed);
        let answer = match &state {
            None => sandbox.call_granting(function, &args, &limits, grants)?,
            Some(state) => in_session(&mut sandbox, function, &args, (&limits, grants, state))?,
        };
        let done = Done {
            nonce,
            result: answer.result,
            phases: answer.phases,
            peak_memory_bytes: answer.peak_memory_bytes,
            files: answer.files,
            denied: answer.denied,
        };
        frame::write_done(&mut replies, done.within(max_result_bytes))?;
        // While the parent is busy with the answer.
        sandbox.prepare()?;
    }
    Ok(())
}

/// Calls a function where the call before of its session has ended. What it leaves is among its files.
fn in_session(
    sandbox: &mut Sandbox,
    function: Function<'_>,
    args: &[u8],
    (limits, grants, state): (&Limits, &GrantedAccess, &[u8]),
) -> Result<Answer, Error> {
    let called = sandbox.call_in_session(function, args, (limits, grants), state);
    let (mut answer, left) = called?;
    answer.files.extend(left.map(session::left));
    Ok(answer)
}

/// What a call may reach.
fn granted_access(
    grantable: &GrantedAccess,
    granted: Granted,
    parent: &Arc<File>,
    max_result_bytes: u64,
) -> Result<GrantedAccess, ServeError> {
    if !granted.http {
        return select(grantable, granted);
    }
    let request_bytes = HTTP_REQUEST_BYTES.min(max_result_bytes as usize);
    let parent = Parent { channel: Arc::clone(parent), request_bytes };
    Ok(select(grantable, granted)?.http(Arc::new(parent)))
}

/// The parent, which makes the HTTP requests of a call that runs.
#[derive(Debug)]
struct Parent {
    channel: Arc<File>,
    /// The longest request that it takes.
    request_bytes: usize,
}

impl HttpChannel for Parent {
    fn exchange(&self, request: &[u8]) -> io::Result<Bytes> {
        if request.len() > self.request_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut channel = &*self.channel;
        let request = ChildReply::Http(Bytes::copy_from_slice(request));
        frame::write(&mut channel, &request).map_err(io::Error::other)?;
        // Nothing else is on its way: the next call comes after the answer to this one.
        let answer = frame::read(&mut channel).map_err(io::Error::other)?;
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// The parent, which is told how far the running call has come.
#[derive(Debug)]
struct Listener {
    channel: Arc<File>,
    /// That of the call.
    nonce: AtomicU64,
}

impl ProgressChannel for Listener {
    fn tell(&self, progress: Progress) {
        let mut channel = &*self.channel;
        let reply = ChildReply::Progress(self.nonce.load(Ordering::Relaxed), progress);
        // A parent that has gone is noticed at the answer.
        let _ = frame::write(&mut channel, &reply);
    }
}

/// What the parent grants to one call, of what this process can reach.
fn select(grantable: &GrantedAccess, granted: Granted) -> Result<GrantedAccess, ServeError> {
    let mut grants = grantable.only(&granted.read).ok_or(ServeError::UnknownDirectory)?;
    for (name, value) in &granted.env {
        grants = grants.env(name, value)?;
    }
    Ok(grants.scratch(u64::from(granted.scratch_mb) << 20))
}
