//! Sessions: their records, and what their calls leave.
//!
//! A state is a value of Redis that no script reads. An attempt's is written under a key of its own before the script that ends
//! the attempt, which takes it over with the result, or not at all: a call that is lost, late or cancelled leaves nothing.

use std::borrow::Cow;
use std::iter::zip;
use std::time::Duration;

use belljar_core::id::{SessionId, TaskId};
use belljar_core::limits::MAX_SENT_ARGS_BYTES;
use belljar_core::outcome::{CallVerdict, Failure, FailureKind};
use belljar_core::session;
use belljar_core::tenant::Tenant;
use bytes::Bytes;
use futures_util::future::{try_join, try_join_all};
use redis::Value;

use crate::Store;
use crate::blob::UNCLAIMED_TTL;
use crate::error::StoreError;
use crate::record::{
    ClaimedTask, Completion, OverQuota, Page, SessionRecord, SessionSpec, StoreQuota, StoreQuotas,
    Timestamp,
};
use crate::reply::{self, parse_id, unexpected};

/// A session about to be made.
#[derive(Debug, Clone, Copy)]
pub enum NewSession<'a> {
    /// One that has nothing, and how long it is kept after its last call.
    Empty(&'a SessionSpec, Duration),
    /// One that goes on from what another has, with all that is fixed of that.
    From(SessionId),
}

/// A row of `session_list.lua`.
type Row = (String, Bytes, String, String, String, u64, String, String, String);

impl Store {
    /// Makes a session of a tenant; `None` where it should go on from one that is not known.
    pub(crate) async fn make_session_of(
        &self,
        tenant: &Tenant,
        quotas: StoreQuotas,
        new: NewSession<'_>,
    ) -> Result<Option<SessionId>, StoreError> {
        let id = SessionId::random();
        let mut call = self.inner.scripts.session.call(7, 512);
        call.arg(id.to_string()).arg(tenant.mark());
        let bound = |most: Option<u64>| most.map_or_else(String::new, |most| most.to_string());
        let from = match new {
            NewSession::Empty(spec, ttl) => {
                call.arg(encode(spec)).number(millis(ttl));
                String::new()
            }
            NewSession::From(from) => {
                call.arg("").number(0_u64);
                from.to_string()
            }
        };
        call.arg(bound(quotas.sessions)).arg(bound(quotas.stored_bytes)).arg(from);
        let mut answer = call.run::<Vec<Value>>(self).await?.into_iter();
        let verdict: String = reply::next(&mut answer, "session")?;
        let (quota, limit) = match verdict.as_str() {
            "made" => {
                self.confirm(|| self.inner.keys.session(id)).await?;
                return Ok(Some(id));
            }
            "unknown" => return Ok(None),
            "sessions" => (StoreQuota::Sessions, quotas.sessions),
            _ => (StoreQuota::StoredBytes, quotas.stored_bytes),
        };
        let (used, limit) = (reply::next(&mut answer, "session")?, limit.unwrap_or_default());
        Err(StoreError::OverQuota(OverQuota { quota, used, limit, frees_after: None }))
    }

    /// Sessions of a tenant, the newest first.
    pub(crate) async fn sessions_of(
        &self,
        tenant: &Tenant,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<SessionRecord>, StoreError> {
        let mut call = self.inner.scripts.session_list.call(4, 64);
        call.arg(tenant.mark()).arg("").arg(cursor.unwrap_or("+inf")).number(limit as u64);
        let (next, items) = read_page(call.run(self).await?)?;
        Ok(Page { items, next: Some(next).filter(|next| !next.is_empty()) })
    }

    /// One session of a tenant.
    pub(crate) async fn session_of(
        &self,
        tenant: &Tenant,
        id: SessionId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let mut call = self.inner.scripts.session_list.call(2, 64);
        call.arg(tenant.mark()).arg(id.to_string());
        Ok(read_page(call.run(self).await?)?.1.pop())
    }

    /// Deletes a session of a tenant, if there is such a one.
    pub(crate) async fn delete_session_of(
        &self,
        tenant: &Tenant,
        id: SessionId,
    ) -> Result<bool, StoreError> {
        let mut call = self.inner.scripts.session_end.call(4, 260);
        call.arg(id.to_string()).arg(tenant.mark());
        call.number(self.result_ttl_ms()).arg(&*self.inner.cancelled_outcome);
        Ok(call.run::<u64>(self).await? == 1)
    }

    /// Puts what the last calls of sessions have left in front of the arguments of their next ones.
    pub(crate) async fn resume_sessions(
        &self,
        tasks: &mut [ClaimedTask],
        sessions: &[(TaskId, SessionId)],
        failed: &mut Vec<(usize, StoreError)>,
    ) -> Result<(), StoreError> {
        let is_lost = |place| failed.iter().any(|(other, _)| *other == place);
        let places: Vec<_> = (0..tasks.len())
            .filter_map(|place| {
                let found = sessions.iter().find(|(id, _)| *id == tasks[place].id());
                found.filter(|_| !is_lost(place)).map(|(_, session)| (place, *session))
            })
            .collect();
        let states = try_join_all(places.iter().map(|(_, session)| self.state(*session))).await?;
        for ((place, _), state) in zip(places, states) {
            let args = &mut tasks[place].invocation.args;
            match state {
                Ok(state) if (state.len() + args.len()) as u64 > MAX_SENT_ARGS_BYTES => {
                    let bytes = (state.len() + args.len()) as u64;
                    let limit = MAX_SENT_ARGS_BYTES;
                    failed.push((place, StoreError::SessionTooLarge { bytes, limit }));
                }
                Ok(state) => *args = session::envelope(&state, args),
                Err(error) => failed.push((place, error)),
            }
        }
        Ok(())
    }

    /// What a session's last call has left, nothing where there was none; or why it cannot be had.
    async fn state(&self, id: SessionId) -> Result<Result<Bytes, StoreError>, StoreError> {
        let keys = &self.inner.keys;
        let mut noted = redis::cmd("HMGET");
        noted.arg(keys.session(id)).arg("bytes").arg("active");
        let mut state = redis::cmd("GET");
        state.arg(keys.session_state(id));
        let noted = self.ask::<(Option<u64>, Option<String>)>("claim", &noted);
        let state = self.ask::<Option<Bytes>>("claim", &state);
        let ((bytes, active), state) = try_join(noted, state).await?;
        let (bytes, state) = (bytes.unwrap_or_default(), state.unwrap_or_default());
        if active.is_some() && bytes == state.len() as u64 {
            return Ok(Ok(state));
        }
        let why =
            format!("of {bytes} bytes of its state there are {}: begin a new session", state.len());
        Ok(Err(StoreError::Corrupt { what: format!("session {id}"), why }))
    }

    /// Writes what attempts leave to sessions, for the script that takes it over; the attempts without that, and which have some. Those for
    /// which the server has no memory fail, since what ended cannot wait.
    pub(crate) async fn put_states<'a>(
        &self,
        part: &'a [Completion],
    ) -> Result<(Cow<'a, [Completion]>, Vec<bool>), StoreError> {
        let has = |one: &Completion| one.report.outcome.files.iter().any(session::is_state);
        if !part.iter().any(has) {
            return Ok((Cow::Borrowed(part), Vec::new()));
        }
        let mut part = part.to_vec();
        let states: Vec<_> =
            part.iter_mut().map(|one| session::take(&mut one.report.outcome.files)).collect();
        let writes = part.iter_mut().zip(states).map(async |(one, state)| {
            let Some(state) = state else { return Ok(false) };
            let mut command = redis::Cmd::with_capacity(5, state.len() + 128);
            command.arg("SET").arg(self.inner.keys.left_state(one.report.task)).arg(&state[..]);
            command.arg("PX").arg(UNCLAIMED_TTL.as_millis());
            match self.ask::<()>("complete", &command).await {
                Err(StoreError::RefusesWrites(..)) => {
                    let text = "what the call leaves to its session cannot be kept: the memory of Redis is full";
                    let failure = Failure::by_platform(FailureKind::Limit, text.into());
                    one.report.outcome.verdict = CallVerdict::Failed(failure);
                    Ok(false)
                }
                written => written.map(|()| true),
            }
        });
        let written = try_join_all(writes).await?;
        Ok((Cow::Owned(part), written))
    }
}

fn encode(spec: &SessionSpec) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "our own types into memory")]
    rmp_serde::to_vec_named(spec).expect("records are serializable")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// An answer of `session_list.lua`: where the next page begins, and the sessions.
fn read_page(answer: Vec<Value>) -> Result<(String, Vec<SessionRecord>), StoreError> {
    let mut answer = answer.into_iter();
    let next = reply::next(&mut answer, "session")?;
    let mut sessions = Vec::with_capacity(answer.len());
    while answer.len() > 0 {
        sessions.push(read(reply::next(&mut answer, "session")?)?);
    }
    Ok((next, sessions))
}

fn read(
    (id, spec, created, ttl, active, waiting, calls, bytes, expires): Row,
) -> Result<SessionRecord, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt { what: format!("session {id}"), why };
    let number = |text: &str| text.parse::<u64>().map_err(|_| unexpected("session"));
    let expires = number(&expires)?;
    Ok(SessionRecord {
        id: id.parse().map_err(|_| unexpected("session"))?,
        spec: rmp_serde::from_slice(&spec).map_err(|error| corrupt(error.to_string()))?,
        created_at: Timestamp(number(&created)?),
        ttl: Duration::from_millis(number(&ttl)?),
        active: if active.is_empty() { None } else { Some(parse_id(&active)?) },
        waiting,
        calls: number(&calls)?,
        bytes: number(&bytes)?,
        expires_at: (expires > 0).then(|| Timestamp(expires * 1_000)),
    })
}
