//! Calls of sessions.

use belljar_core::task::{Runtime, TaskSpec};

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::problem::Problem;
use crate::routes::submit_request::{Arguments, Options};
use crate::timing::{Phase, RequestTiming};

/// The most calls of one submission.
const MAX_CALLS: usize = 256;

/// What a call of a session may do: no more than that allows. Boxed by the caller: other calls carry none of its state.
pub(super) async fn join(
    app: &App,
    timing: &RequestTiming,
    caller: &Caller,
    (spec, args, options): (&mut TaskSpec, &Arguments, &Options),
) -> Result<(), ApiError> {
    let Some(id) = options.session else { return Ok(()) };
    let found = timing.time(Phase::Store, app.store.of(caller.tenant()).session(id)).await?;
    let session = found.ok_or(ApiError::UnknownSession(id))?.spec;
    let mut problems = Vec::new();
    let mut refuse = |is_refused: bool, msg: String| {
        problems.extend(is_refused.then(|| Problem::body("session_mismatch", "session_id", msg)));
    };
    let msg = "calls of a session run in the sandbox: leave `runtime` out";
    refuse(spec.class.runtime != Runtime::Sandbox, msg.to_owned());
    let (python, own) = (session.class.python, spec.class.python);
    refuse(
        python != own,
        format!("the session runs Python {python}, and the function is of {own}"),
    );
    let calls = args.payloads.len();
    refuse(calls > MAX_CALLS, format!("{calls} calls at once: a session takes {MAX_CALLS}"));
    if !problems.is_empty() {
        return Err(ApiError::Invalid(problems));
    }
    spec.limits.timeout_ms = spec.limits.timeout_ms.min(session.limits.timeout_ms);
    spec.limits.memory_mb = spec.limits.memory_mb.min(session.limits.memory_mb);
    Ok(())
}
