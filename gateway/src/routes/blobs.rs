//! Values that clients upload once, and refer to in the arguments of calls.

use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use belljar_core::id::BlobId;
use belljar_core::sha256::Sha256Hash;
use belljar_pickle::payload::PART_BYTES;
use belljar_store::{Upload, UploadEnd, UploadedValue};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, Take};
use utoipa::ToSchema;

use crate::app::App;
use crate::body::{BodyPieces, drain};
use crate::caller::Caller;
use crate::encoding;
use crate::error::ApiError;
use crate::extract::InPath;
use crate::reply;
use crate::schema::{Invalid, NoValues, TooLarge, Unavailable, UnknownBlob, UploadConflict};
use crate::timing::{Phase, RequestTiming};
use crate::upload::{self, Piece, REPR_DIGEST, UPLOAD_OFFSET, UploadProblem};

/// So much of a body is gathered before it is written: a write costs as much as receiving this.
const GATHERED_BYTES: usize = 256 << 10;

/// A value that was uploaded.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BlobReply {
    /// What calls refer to it by.
    #[schema(value_type = uuid::Uuid)]
    blob_id: BlobId,
    /// Its length.
    bytes: u64,
    /// The hash of its content, in hexadecimal.
    sha256: String,
    /// Until when it is kept at least. Each call that refers to it keeps it for longer.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// A value of which pieces are missing.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UploadReply {
    /// What calls will refer to it by.
    #[schema(value_type = uuid::Uuid)]
    blob_id: BlobId,
    /// How many bytes have come: the next piece begins there.
    received: u64,
    /// How many it has.
    bytes: u64,
}

impl BlobReply {
    fn of(value: UploadedValue) -> Self {
        let expires_at = reply::rfc3339(value.expires_at);
        Self { blob_id: value.id, bytes: value.bytes, sha256: value.sha256.to_string(), expires_at }
    }
}

/// Upload a value
///
/// The body is the value: a pickle, to which arguments refer by the persistent id `blob:ID`, or any bytes (`bytes:ID`). The same value
/// has the same id. With `Repr-Digest: sha-256=:BASE64:` it is refused if it has another hash.
///
/// A value may come in pieces, each with `Content-Range: bytes FIRST-LAST/TOTAL` and the `Repr-Digest` of the whole; one with
/// `Content-Range: bytes */TOTAL` and no body asks how much has come, and keeps a value of which all has. What has come is kept for an hour after the last piece.
#[utoipa::path(
    put, path = "/v1/blobs", tag = "Values", operation_id = "upload_value",
    params(
        ("repr-digest" = Option<String>, Header, description = "The SHA-256 hash of the whole value."),
        ("content-range" = Option<String>, Header, description = "Which piece of it the body is.")
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = BlobReply, description = "It was there already."),
        (status = 201, body = BlobReply, description = "It is kept."),
        (status = 202, body = UploadReply, description = "Pieces are missing.", headers(
            ("upload-offset" = u64, description = "How many bytes have come."))),
        UploadConflict, TooLarge, Invalid, NoValues, Unavailable
    )
)]
pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let uploading = Uploading { app: &app, timing: &timing, caller: &caller };
    let digest = upload::digest(&parts.headers);
    let piece = upload::piece(&parts.headers);
    let asked = digest.and_then(|digest| Ok((digest, piece?)));
    let answer = match asked.map_err(ApiError::Upload) {
        Ok((digest, None)) => uploading.whole(&parts.headers, body, digest).await,
        Ok((Some(digest), Some(piece))) => {
            uploading.piece(&parts.headers, body, digest, piece).await
        }
        Ok((None, Some(_))) => Err((ApiError::Upload(UploadProblem::NoDigest), Some(body))),
        Err(error) => Err((error, Some(body))),
    };
    match answer {
        Ok(response) => Ok(response),
        Err((error, unread)) => {
            // A client that asks before it sends is answered before it sends.
            if let Some(body) = unread.filter(|_| !parts.headers.contains_key(header::EXPECT)) {
                drain(body).await;
            }
            let offset = match &error {
                ApiError::Upload(UploadProblem::Offset { offset, .. }) => Some(*offset),
                _ => None,
            };
            let mut response = error.into_response();
            if let Some(offset) = offset {
                response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(offset));
            }
            Ok(response)
        }
    }
}

/// An error, and the body as far as it is not read.
type Failed = (ApiError, Option<Body>);

struct Uploading<'a> {
    app: &'a App,
    timing: &'a RequestTiming,
    caller: &'a Caller,
}

impl Uploading<'_> {
    /// A value that comes at once.
    async fn whole(
        &self,
        headers: &HeaderMap,
        body: Body,
        digest: Option<Sha256Hash>,
    ) -> Result<Response, Failed> {
        let length = http_body::Body::size_hint(&body).exact();
        let checked = self.check(length.unwrap_or(0)).and_then(|()| encoding::coding(headers));
        let coding = match checked {
            Ok(coding) => coding,
            Err(error) => return Err((error, Some(body))),
        };
        let upload = match self.app.store.new_upload(digest).await {
            Ok(upload) => upload,
            Err(error) => return Err((error.into(), Some(body))),
        };
        let most = self.app.config.max_value_bytes;
        let pieces =
            BodyPieces::new(&self.app.config, body, coding).await.map_err(|error| (error, None))?;
        let upload = self.receive(upload, pieces, most).await.map_err(|error| (error, None))?;
        self.keep(upload, digest).await.map_err(|error| (error, None))
    }

    /// A piece of a value, or the question how much of it has come.
    async fn piece(
        &self,
        headers: &HeaderMap,
        body: Body,
        digest: Sha256Hash,
        Piece { place, total }: Piece,
    ) -> Result<Response, Failed> {
        let (store, tenant) = (&self.app.store, self.caller.tenant());
        let id = BlobId::derived(tenant.mark(), &digest.0);
        let view = self.app.store_of(self.caller);
        let begun = async {
            self.check(total)?;
            // A piece has its place among others: it comes as it is.
            if encoding::coding(headers)?.is_some() {
                return Err(ApiError::Encoding("a piece of a value, compressed".into()));
            }
            let reserve = self.timing.time(Phase::Store, view.reserve_upload(id, total));
            if let Some(value) = reserve.await.map_err(|error| self.caller.told(error))? {
                return Ok(Begun::Known(value));
            }
            if place.is_none() {
                let received = store.uploaded_bytes(id).await?;
                if received < total {
                    return Ok(Begun::Asked(received));
                }
                // All has come, and who took the last piece was lost before it was kept: it is now.
            }
            let upload = store.resume_upload(id).await?;
            let upload = upload.ok_or(ApiError::Upload(UploadProblem::Busy))?;
            let offset = upload.bytes();
            let first = place.map_or(offset, |(first, _)| first);
            if offset != first {
                return Err(ApiError::Upload(UploadProblem::Offset { first, offset }));
            }
            Ok(Begun::Upload(upload))
        };
        let upload = match begun.await {
            Ok(Begun::Upload(upload)) => upload,
            Ok(Begun::Known(value)) => {
                drain(body).await;
                return reply::json(&BlobReply::of(value)).map_err(|error| (error, None));
            }
            Ok(Begun::Asked(received)) => {
                return received_so_far(id, received, total).map_err(|error| (error, Some(body)));
            }
            Err(error) => return Err((error, Some(body))),
        };
        let most = place.map_or(0, |(first, length)| first + length);
        let pieces =
            BodyPieces::new(&self.app.config, body, None).await.map_err(|error| (error, None))?;
        let upload = self.receive(upload, pieces, most).await.map_err(|error| (error, None))?;
        let received = upload.bytes();
        if received < total {
            return match store.leave_upload(upload).await {
                Ok(true) => received_so_far(id, received, total).map_err(|error| (error, None)),
                Ok(false) => Err((ApiError::Upload(UploadProblem::Busy), None)),
                Err(error) => Err((error.into(), None)),
            };
        }
        self.keep(upload, Some(digest)).await.map_err(|error| (error, None))
    }

    /// Whether a value of so many bytes may come.
    fn check(&self, bytes: u64) -> Result<(), ApiError> {
        let limit = self.app.config.max_value_bytes;
        if bytes > limit { Err(ApiError::ValueTooLarge { limit }) } else { Ok(()) }
    }

    /// Writes the body behind what has come, up to `most` bytes in all. What comes before an error is written.
    async fn receive(
        &self,
        mut upload: Upload,
        mut pieces: BodyPieces,
        most: u64,
    ) -> Result<Upload, ApiError> {
        let store = &self.app.store;
        let room = crate::config::permits(GATHERED_BYTES);
        let _room = self.app.body_room.try_acquire_many(room).map_err(|_| ApiError::Overloaded)?;
        let mut gathered = BytesMut::new();
        loop {
            let next = pieces.next().await;
            let ended = !matches!(next, Ok(Some(_)));
            if let Ok(Some(bytes)) = &next {
                let have = upload.bytes() + gathered.len() as u64;
                if have + bytes.len() as u64 > most {
                    return Err(ApiError::ValueTooLarge { limit: most });
                }
                gathered.extend_from_slice(bytes);
            }
            if gathered.len() >= GATHERED_BYTES || (ended && !gathered.is_empty()) {
                upload = store.write_upload(upload, gathered.split().freeze()).await?;
            }
            match next {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(upload),
                Err(error) => {
                    // Apart from this request, which goes with its connection.
                    let store = store.clone();
                    tokio::spawn(async move { store.leave_upload(upload).await });
                    return Err(error);
                }
            }
        }
    }

    /// Keeps what has come.
    async fn keep(&self, upload: Upload, digest: Option<Sha256Hash>) -> Result<Response, ApiError> {
        let view = self.app.store_of(self.caller);
        let kept = self.timing.time(Phase::Store, view.keep_upload(upload, digest)).await;
        match kept.map_err(|error| self.caller.told(error))? {
            UploadEnd::Kept(value) => {
                self.timing.set_wrote();
                let mut response = reply::json(&BlobReply::of(value))?;
                *response.status_mut() = StatusCode::CREATED;
                Ok(response)
            }
            UploadEnd::Differs(found) => {
                let expected = digest.unwrap_or_default();
                Err(ApiError::Upload(UploadProblem::Differs { found, expected }))
            }
        }
    }
}

/// What becomes of a piece before its body is read.
enum Begun {
    /// The value is there already.
    Known(UploadedValue),
    /// So much of it is.
    Asked(u64),
    Upload(Upload),
}

fn received_so_far(blob_id: BlobId, received: u64, bytes: u64) -> Result<Response, ApiError> {
    let response = reply::json(&UploadReply { blob_id, received, bytes })?;
    let mut response = reply::accepted(response);
    response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(received));
    Ok(response)
}

/// An uploaded value
///
/// As it was uploaded, or with `Range: bytes=FIRST-LAST` a part of it. `HEAD` tells of it without its content.
#[utoipa::path(
    get, path = "/v1/blobs/{blob_id}", tag = "Values", operation_id = "get_value",
    params(("blob_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream", headers(
            ("repr-digest" = String, description = "The SHA-256 hash of the whole value."),
            ("x-result-expires" = String, description = "Until when it is kept at least."))),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream", description = "A part of it."),
        (status = 416, description = "It has no such part."),
        UnknownBlob, Invalid, Unavailable
    )
)]
pub(crate) async fn blob(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(id): InPath<BlobId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let store = app.store.of(caller.tenant());
    let value = timing.time(Phase::Store, store.uploaded(id)).await?;
    let value = value.ok_or(ApiError::UnknownBlob(id))?;
    let bytes = value.bytes;
    let Ok(part) = upload::wanted(&headers, bytes) else {
        let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
        set(&mut response, header::CONTENT_RANGE, format!("bytes */{bytes}"));
        return Ok(response);
    };
    let (start, length) = part.unwrap_or((0, bytes));
    let (digest, expires_at) = (upload::digest_header(value.sha256), value.expires_at);
    let file = app.store.read_upload(&value, start).await?.take(length);
    let body = Body::from_stream(stream::try_unfold((file, length), next_part));
    let mut response = reply::of("application/octet-stream", body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Whatever it is, a browser only saves it.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(&mut response, REPR_DIGEST, digest);
    set(&mut response, reply::RESULT_EXPIRES, reply::rfc3339(expires_at));
    if part.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {start}-{}/{bytes}", start + length - 1);
        set(&mut response, header::CONTENT_RANGE, range);
    }
    Ok(response)
}

fn set(response: &mut Response, name: http::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Delete an uploaded value
///
/// Tasks that refer to it still run.
#[utoipa::path(
    delete, path = "/v1/blobs/{blob_id}", tag = "Values", operation_id = "delete_value",
    params(("blob_id" = uuid::Uuid, Path)),
    responses((status = 200, body = BlobReply, description = "It is forgotten."), UnknownBlob, Invalid, Unavailable)
)]
pub(crate) async fn remove_blob(
    State(app): State<Arc<App>>,
    Extension(timing): Extension<Arc<RequestTiming>>,
    caller: Caller,
    InPath(id): InPath<BlobId>,
) -> Result<Response, ApiError> {
    let store = app.store.of(caller.tenant());
    let dropped = timing.time(Phase::Store, store.drop_upload(id)).await?;
    reply::json(&BlobReply::of(dropped.ok_or(ApiError::UnknownBlob(id))?))
}

/// The next bytes of a value and what is left of it. An error here cuts the connection, since the answer has begun: the client sees that
/// it is not whole.
async fn next_part<R: AsyncRead + Unpin>(
    (mut file, left): (Take<R>, u64),
) -> io::Result<Option<(Bytes, (Take<R>, u64))>> {
    if left == 0 {
        return Ok(None);
    }
    let mut part = BytesMut::with_capacity(PART_BYTES);
    match file.read_buf(&mut part).await? {
        0 => Err(io::Error::other("the value is cut")),
        read => Ok(Some((part.freeze(), (file, left - read as u64)))),
    }
}
