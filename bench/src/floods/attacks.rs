//! The floods. Each goes on until it is dropped.

use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::attacker::Attacker;
use crate::args::Flood;
use crate::http::{Connection, Http2, Origin, dial};

/// As many connections, or requests, as a gateway serves at once by default.
const ALL_CONNECTIONS: usize = 4_096;
/// Requests that one HTTP/2 connection may have open.
const STREAMS: usize = 256;
/// Connections of floods that work them hard.
const BUSY: usize = 64;
/// The largest pages of lists.
const LIST: &str = "/v1/tasks?limit=1000";
/// The pause of a client that was refused or cut.
const AGAIN: Duration = Duration::from_millis(100);

impl Flood {
    pub(super) const ALL: &[Self] = &[
        Self::LongPolls,
        Self::Http2Polls,
        Self::ManyIds,
        Self::DeafResults,
        Self::DeafEvents,
        Self::LargeLists,
        Self::LargeBatches,
        Self::NoOps,
        Self::WrongKeys,
        Self::Connections,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::LongPolls => "long-polls",
            Self::Http2Polls => "http2-polls",
            Self::ManyIds => "many-ids",
            Self::DeafResults => "deaf-results",
            Self::DeafEvents => "deaf-events",
            Self::LargeLists => "large-lists",
            Self::LargeBatches => "large-batches",
            Self::NoOps => "no-ops",
            Self::WrongKeys => "wrong-keys",
            Self::Connections => "connections",
        }
    }

    /// What it does, for people.
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::LongPolls => "4,096 long polls",
            Self::Http2Polls => "4,096 long polls over 16 connections of HTTP/2",
            Self::ManyIds => "20 requests that wait for 10,000 tasks each, again and again",
            Self::DeafResults => "64 readers of a 20 MiB result that read nothing",
            Self::DeafEvents => {
                "64 readers of events that read nothing, and 10,000 tasks at a time"
            }
            Self::LargeLists => "250 lists of 1,000 tasks at once over HTTP/2",
            Self::LargeBatches => "batches of 10,000 tasks over 16 connections",
            Self::NoOps => "no-ops over 64 connections",
            Self::WrongKeys => "wrong keys over 64 connections",
            Self::Connections => "4,096 connections that say nothing",
        }
    }

    pub(super) async fn run(self, attacker: &Attacker) -> Result<()> {
        match self {
            Self::LongPolls => {
                let poll = |at: &Attacker, n: usize| {
                    (Method::GET, format!("/result/{}?wait=60", at.tasks[n]), Bytes::new())
                };
                many(attacker, ALL_CONNECTIONS, poll).await
            }
            Self::Http2Polls => {
                let path = |n: usize| format!("/result/{}?wait=60", attacker.tasks[n]);
                over_http2(attacker, ALL_CONNECTIONS / STREAMS, STREAMS, path).await
            }
            Self::ManyIds => {
                let body = json!({"task_ids": attacker.tasks.as_ref(), "wait": 60}).to_string();
                let body = Bytes::from(body);
                many(attacker, 20, move |_, _| (Method::POST, "/v1/results".into(), body.clone()))
                    .await
            }
            Self::DeafResults => deaf(attacker, BUSY, &format!("/result/{}", attacker.large)).await,
            Self::DeafEvents => {
                let moving = batches(attacker, 1);
                tokio::try_join!(deaf(attacker, BUSY, "/v1/events"), moving).map(drop)
            }
            Self::LargeLists => over_http2(attacker, 1, 250, |_| LIST.to_owned()).await,
            Self::LargeBatches => batches(attacker, 16).await,
            Self::NoOps => calls(attacker, &attacker.origin).await,
            Self::WrongKeys => {
                let wrong = format!("bj_{}", "0".repeat(40));
                calls(attacker, &Origin { key: Some(wrong), ..attacker.origin.clone() }).await
            }
            Self::Connections => idle(attacker).await,
        }
    }
}

/// So many connections, each of which sends its request again and again.
async fn many(
    attacker: &Attacker,
    connections: usize,
    request: impl Fn(&Attacker, usize) -> (Method, String, Bytes) + Clone + Send + 'static,
) -> Result<()> {
    let mut loops = JoinSet::new();
    for number in 0..connections {
        let (attacker, request) = (attacker.clone(), request.clone());
        loops.spawn(async move {
            loop {
                let Ok(mut connection) =
                    Connection::open_as(attacker.address, &attacker.origin).await
                else {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                };
                attacker.count.open.fetch_add(1, Ordering::Relaxed);
                loop {
                    let (method, path, body) = request(&attacker, number);
                    let answer = connection.request(method, &path, body).await;
                    attacker.count.answer(&answer);
                    if answer.is_err() {
                        tokio::time::sleep(AGAIN).await;
                        break;
                    }
                }
            }
        });
    }
    pending().await
}

/// Calls of a no-op, each with its result.
async fn calls(attacker: &Attacker, origin: &Origin) -> Result<()> {
    let body = json!({"function_id": attacker.function, "payload": attacker.call.args}).to_string();
    let (attacker, body) =
        (Attacker { origin: origin.clone(), ..attacker.clone() }, Bytes::from(body));
    let call =
        move |_: &Attacker, _| (Method::POST, "/execute_function?wait=60".to_owned(), body.clone());
    many(&attacker, BUSY, call).await
}

/// Batches of no-ops as large as may be.
async fn batches(attacker: &Attacker, connections: usize) -> Result<()> {
    let payloads = vec![&attacker.call.args; attacker.tasks.len()];
    let body = json!({"function_id": attacker.function, "payloads": payloads}).to_string();
    let body = Bytes::from(body);
    many(attacker, connections, move |_, _| (Method::POST, "/v1/tasks".into(), body.clone())).await
}

/// So many requests at once over each of some connections of HTTP/2, again and again.
async fn over_http2(
    attacker: &Attacker,
    connections: usize,
    streams: usize,
    path: impl Fn(usize) -> String,
) -> Result<()> {
    let mut loops = JoinSet::new();
    for connection in 0..connections {
        let http2 = Http2::open_as(attacker.address, &attacker.origin).await?;
        attacker.count.open.fetch_add(1, Ordering::Relaxed);
        for stream in 0..streams {
            let (attacker, mut http2) = (attacker.clone(), http2.clone());
            let path = path(connection * streams + stream);
            loops.spawn(async move {
                loop {
                    let answer = http2.get(&path).await;
                    attacker.count.answer(&answer);
                    if answer.is_err() {
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            });
        }
    }
    pending().await
}

/// Connections that ask and never read the answer.
async fn deaf(attacker: &Attacker, connections: usize, path: &str) -> Result<()> {
    let key = attacker.origin.key.as_deref().unwrap_or_default();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {key}\r\n\r\n",
        attacker.address
    );
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..connections {
        let mut stream = dial(attacker.address, attacker.origin.from).await?;
        stream.write_all(head.as_bytes()).await?;
        attacker.count.open.fetch_add(1, Ordering::Relaxed);
        open.push(stream);
    }
    // The one that is cut is replaced, as its socket tells.
    loop {
        tokio::time::sleep(AGAIN).await;
        for stream in &mut open {
            if stream
                .try_write(b"\r\n")
                .is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
            {
                attacker.count.refused.fetch_add(1, Ordering::Relaxed);
                *stream = dial(attacker.address, attacker.origin.from).await?;
                stream.write_all(head.as_bytes()).await?;
            }
        }
    }
}

/// Connections that never say anything; the ones that are closed are opened again.
async fn idle(attacker: &Attacker) -> Result<()> {
    let mut loops = JoinSet::new();
    for _ in 0..ALL_CONNECTIONS {
        let attacker = attacker.clone();
        loops.spawn(async move {
            loop {
                if let Ok(stream) = dial(attacker.address, attacker.origin.from).await {
                    attacker.count.open.fetch_add(1, Ordering::Relaxed);
                    // Readable: it was closed.
                    let _ = stream.readable().await;
                    attacker.count.refused.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
    pending().await
}
