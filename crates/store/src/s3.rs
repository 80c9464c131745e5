//! Objects in an S3 bucket, or in whatever speaks S3 well enough to pass the probe.
//!
//! * One call is one HTTP request: the client's retries are off, and each reply's status decides. (A list passes over
//!   pages of nothing but foreign names.)
//! * Every PUT is conditional, of known length, and carries its CRC-32C, so that a short or corrupt body is refused; the
//!   payload itself is not hashed for the signature.
//! * A read that ends early is a fault, never a short answer.
//! * A delete names no version. In a bucket that keeps versions it hides the object, which goes on being paid for: that is
//!   warned of once.
//! * The store's clock is the `Date` of each reply.
//! * Where a 429 or 503 says in Retry-After when to come back, nothing is sent before, for a minute at most.
//!
//! A crash or a dropped future leaves the effect of a request unknown; nothing else is kept here.

mod bucket;
mod client;
mod fault;
mod rest;
mod rope;
mod seen;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use lakebed_record::keys::{self, Key};

use self::fault::{Failure, Where};
use self::rest::{Rest, Turn};
use self::seen::{Seen, Watch};
use crate::env::{Clock, Env};
use crate::{
    Body, BoxFuture, Created, Fault, FaultKind, Listed, Listing, Meta, Object, PAGE, ReadError, Reply, Store,
    StoreKind, Swapped, Version, spared,
};

/// How long a request may take until its reply begins, and again until the reply ends…
const TIMEOUT: Duration = Duration::from_secs(10);
/// …plus what its body takes at this speed.
const SLOWEST_BYTES_PER_MS: u64 = 1_000;
/// Memory that a reply's announced length alone may claim.
const MAX_RESERVED: u64 = 64 << 20;
const CHECK_TRIES: u32 = 3;
const CHECK_PAUSE: Duration = Duration::from_millis(500);

/// Why a bucket cannot be used: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum S3OpenError {
    #[error("no AWS region is known: set AWS_REGION to the bucket's, or AWS_ENDPOINT_URL for another S3 service")]
    NoRegion,
    #[error("{0}")]
    Unusable(Fault),
}

/// One bucket and prefix.
pub struct S3Store {
    client: Client,
    place: Arc<Where>,
    prefix: String,
    clock: Arc<dyn Clock>,
    refuses_short_bodies: bool,
    rest: Rest,
    page: usize,
    /// Whether it was said that this bucket keeps what is deleted.
    warned_of_versions: AtomicBool,
}

/// The condition of a PUT.
enum If<'a> {
    Absent,
    At(&'a Version),
}

impl S3Store {
    /// Connects as the standard AWS variables, profiles and credential chain say, and tries one PUT. Objects are kept
    /// below `prefix`, which may be empty.
    pub async fn open(bucket: &str, prefix: &str, env: &Env) -> Result<S3Store, S3OpenError> {
        let (client, endpoint) = client::from_environment().await?;
        let place = Where { bucket: bucket.into(), endpoint };
        let mut store = S3Store::with_client(client, place, prefix, env);
        store.refuses_short_bodies = store.check(env).await.map_err(S3OpenError::Unusable)?;
        if !store.refuses_short_bodies {
            tracing::warn!(bucket, "the store does not verify checksums: each commit costs one more request");
        }
        Ok(store)
    }

    fn with_client(client: Client, place: Where, prefix: &str, env: &Env) -> S3Store {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        S3Store {
            client,
            place: Arc::new(place),
            prefix,
            clock: env.clock.clone(),
            refuses_short_bodies: false,
            rest: Rest::default(),
            page: PAGE,
            warned_of_versions: AtomicBool::new(false),
        }
    }

    /// Tells whether bodies with a wrong checksum are refused, or why the bucket cannot be used at all.
    async fn check(&self, env: &Env) -> Result<bool, Fault> {
        // Reads first: some services look at a body's checksum before they look for the bucket, or create it.
        let read = self.patiently(|| async {
            match self.get_object(&keys::format(), None).await.value {
                Err(failure) if failure.is_missing_object() => Ok(()),
                done => done.map(drop),
            }
        });
        read.await?;
        let key = keys::probe(env.entropy.u64(), "checksum");
        let body = Body::from(Bytes::from_static(b"lakebed"));
        let body = Body::with_crc(body.chunks().to_vec(), !body.crc32c());
        let refused = self.patiently(|| async {
            match self.put(&key, If::Absent, &body).await.value {
                Ok(_) => Ok(false),
                Err(failure) if failure.status == Some(400) && failure.fault.kind == FaultKind::Other => Ok(true),
                Err(failure) => Err(failure),
            }
        });
        let refused = refused.await?;
        if !refused {
            // Tidiness: it may be forbidden, and nothing reads the object.
            let _ = self.delete_object(&key).await;
        }
        Ok(refused)
    }

    /// Repeats what may pass: only on opening.
    async fn patiently<T, F: Future<Output = Result<T, Failure>>>(&self, request: impl Fn() -> F) -> Result<T, Fault> {
        for _ in 1..CHECK_TRIES {
            match request().await {
                Err(failure) if failure.may_pass() => self.clock.sleep(CHECK_PAUSE).await,
                done => return done.map_err(|failure| failure.fault),
            }
        }
        request().await.map_err(|failure| failure.fault)
    }

    async fn put(&self, key: &Key, condition: If<'_>, body: &Body) -> Reply<Result<Version, Failure>> {
        let seen = Watch::default();
        let request = self.client.put_object().bucket(&self.place.bucket).key(self.name(key));
        let request = match condition {
            If::Absent => request.if_none_match("*"),
            If::At(Version(etag)) => request.if_match(&**etag),
        };
        let send = request
            .content_length(body.len() as i64)
            .checksum_crc32_c(base64::prelude::BASE64_STANDARD.encode(body.crc32c().to_be_bytes()))
            .body(ByteStream::new(rope::sdk_body(body)))
            .customize()
            .interceptor(seen.clone())
            .disable_payload_signing()
            .send();
        let sent = self.answer(body.len(), &seen, send).await;
        let value = sent.and_then(|reply| etag(reply.e_tag()).map_err(Failure::from));
        Reply { value, date_ms: seen.take().date_ms }
    }

    async fn get_object(&self, key: &Key, range: Option<Range<u64>>) -> Reply<Result<Object, Failure>> {
        let seen = Watch::default();
        let asked = range.clone().map(|r| format!("bytes={}-{}", r.start, r.end - 1));
        let send = self
            .client
            .get_object()
            .bucket(&self.place.bucket)
            .key(self.name(key))
            .set_range(asked)
            .customize()
            .interceptor(seen.clone())
            .send();
        let begun = self.answer(0, &seen, send).await;
        let seen = seen.take();
        let date_ms = seen.date_ms;
        let value = match begun {
            Ok(reply) => self.receive(reply, &seen, range).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        Reply { value, date_ms }
    }

    /// Reads a reply's body to its announced end.
    async fn receive(&self, reply: GetObjectOutput, seen: &Seen, asked: Option<Range<u64>>) -> Result<Object, Fault> {
        let announced = reply.content_length().and_then(|n| u64::try_from(n).ok());
        let announced = announced.ok_or_else(|| malformed("a reply without Content-Length"))?;
        let part = seen.part(announced).ok_or_else(|| malformed("a reply with a strange Content-Range"))?;
        let meta = Meta {
            total_len: part.total_len,
            version: etag(reply.e_tag())?,
            last_modified_ms: last_modified(reply.last_modified())?,
        };
        let bytes = self.in_time(announced, collect(reply.body, announced)).await?;
        if bytes.len() as u64 != announced {
            return Err(malformed(format!("a reply of {} bytes that announced {announced}", bytes.len())));
        }
        let asked = asked.unwrap_or(0..u64::MAX);
        let end = asked.end.min(part.total_len);
        let (Some(from), Some(to)) = (asked.start.checked_sub(part.start), end.checked_sub(part.start)) else {
            return Err(malformed("a reply with another range than was asked for"));
        };
        if from > to || to > announced {
            return Err(malformed("a reply with another range than was asked for"));
        }
        Ok(Object { bytes: bytes.slice(from as usize..to as usize), meta })
    }

    async fn head_object(&self, key: &Key) -> Reply<Result<Meta, Failure>> {
        let seen = Watch::default();
        let request = self.client.head_object().bucket(&self.place.bucket).key(self.name(key));
        let send = request.customize().interceptor(seen.clone()).send();
        let sent = self.answer(0, &seen, send).await;
        let value = sent.and_then(|reply| {
            let len = reply.content_length().and_then(|n| u64::try_from(n).ok());
            Ok(Meta {
                total_len: len.ok_or_else(|| malformed("a reply without Content-Length"))?,
                version: etag(reply.e_tag())?,
                last_modified_ms: last_modified(reply.last_modified())?,
            })
        });
        Reply { value, date_ms: seen.take().date_ms }
    }

    async fn delete_object(&self, key: &Key) -> Reply<Result<(), Failure>> {
        let seen = Watch::default();
        let request = self.client.delete_object().bucket(&self.place.bucket).key(self.name(key));
        let send = request.customize().interceptor(seen.clone()).send();
        let sent = self.answer(0, &seen, send).await;
        let value = match sent {
            Ok(reply) => {
                self.warn_of_versions(reply.delete_marker() == Some(true) || reply.version_id().is_some());
                Ok(())
            }
            Err(failure) if failure.is_missing_object() => Ok(()),
            Err(failure) => Err(failure),
        };
        Reply { value, date_ms: seen.take().date_ms }
    }

    fn warn_of_versions(&self, kept: bool) {
        if kept && !self.warned_of_versions.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                bucket = self.place.bucket,
                "the bucket keeps versions of what is deleted, and they are paid for: turn versioning off, \
                 or let a lifecycle rule expire noncurrent versions"
            );
        }
    }

    /// Names of the bucket, not of the store.
    async fn list_objects(&self, prefix: &str, after: Option<String>) -> Reply<Result<ListObjectsV2Output, Failure>> {
        let seen = Watch::default();
        let request = self.client.list_objects_v2().bucket(&self.place.bucket).prefix(prefix);
        let request = request.set_start_after(after).max_keys(i32::try_from(self.page).unwrap_or(i32::MAX));
        let send = request.customize().interceptor(seen.clone()).send();
        let value = self.answer(0, &seen, send).await;
        Reply { value, date_ms: seen.take().date_ms }
    }

    async fn page(&self, prefix: &str, after: Option<&Key>) -> Reply<Result<Listing, Fault>> {
        let prefix = format!("{}{prefix}", self.prefix);
        let mut after = after.map(|key| self.name(key));
        loop {
            let Reply { value, date_ms } = self.list_objects(&prefix, after.take()).await;
            let value = value.map_err(|failure| failure.fault).and_then(|page| {
                let last = page.contents().last().and_then(|o| o.key()).map(str::to_owned);
                self.listing(&page).map(|listing| (listing, last))
            });
            match value {
                Ok((listing, Some(last))) if listing.more && listing.objects.is_empty() => after = Some(last),
                Ok((listing, None)) if listing.more => {
                    return Reply { value: Err(malformed("an empty part of a list that goes on")), date_ms };
                }
                value => return Reply { value: value.map(|(listing, _)| listing), date_ms },
            }
        }
    }

    /// Names that are not ours are left out.
    fn listing(&self, page: &ListObjectsV2Output) -> Result<Listing, Fault> {
        let mut objects = Vec::with_capacity(page.contents().len());
        for object in page.contents() {
            let name = object.key().ok_or_else(|| malformed("a list without keys"))?;
            let name = name.strip_prefix(&self.prefix).ok_or_else(|| malformed("another list than was asked for"))?;
            let Some(key) = Key::listed(name) else { continue };
            let len = object.size().and_then(|n| u64::try_from(n).ok());
            objects.push(Listed {
                key,
                len: len.ok_or_else(|| malformed("a list without sizes"))?,
                last_modified_ms: last_modified(object.last_modified())?,
            });
        }
        if !objects.is_sorted_by(|a, b| a.key < b.key) {
            return Err(malformed("a list that is not in the order of keys"));
        }
        Ok(Listing { objects, more: page.is_truncated() == Some(true) })
    }

    /// The answer to a range that holds no bytes, which HTTP cannot ask for.
    async fn nothing_of(&self, key: &Key) -> Reply<Result<Object, ReadError>> {
        let reply = self.head_object(key).await;
        let value = reply.value.map(|meta| Object { bytes: Bytes::new(), meta }).map_err(Failure::of_head);
        Reply { value, date_ms: reply.date_ms }
    }

    /// Sends a request, once the store wants to be asked again.
    async fn answer<T, E>(
        &self,
        body_len: u64,
        seen: &Watch,
        send: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, Failure>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        match self.rest.turn(self.clock.monotonic()) {
            Turn::Now => {}
            Turn::In(wait) => self.clock.sleep(wait).await,
            Turn::Later(wait) => {
                let (endpoint, seconds) = (&self.place.endpoint, wait.as_secs() + 1);
                let message = format!("not sent: {endpoint} wants to be left alone for {seconds} s more");
                return Err(Fault { kind: FaultKind::Throttled, message }.into());
            }
        }
        let sent =
            self.in_time(body_len, async { send.await.map_err(|e| Failure::new(&e, &self.place, &seen.peek())) });
        let answer = sent.await;
        if let Err(failure) = &answer
            && failure.fault.kind == FaultKind::Throttled
            && let Some(wait) = seen.peek().retry_after
        {
            self.rest.wanted(wait, self.clock.monotonic());
        }
        answer
    }

    /// Drops the request, and with it its connection, if there is no answer in time.
    async fn in_time<T, E: From<Fault>>(
        &self,
        body_len: u64,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let limit = TIMEOUT + Duration::from_millis(body_len / SLOWEST_BYTES_PER_MS);
        tokio::select! {
            biased;
            done = request => done,
            () = self.clock.sleep(limit) => {
                let message = format!("no answer from {} within {} ms", self.place.endpoint, limit.as_millis());
                Err(Fault { kind: FaultKind::Timeout, message }.into())
            }
        }
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }
}

impl Store for S3Store {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(async move {
            let reply = self.put(key, If::Absent, body).await;
            let value = match reply.value {
                Ok(_) => Created::Yes,
                Err(failure) if failure.status == Some(412) => Created::Exists,
                Err(failure) => Created::Unknown(failure.fault),
            };
            Reply { value, date_ms: reply.date_ms }
        })
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(async move {
            if range.as_ref().is_some_and(Range::is_empty) {
                return self.nothing_of(key).await;
            }
            let reply = self.get_object(key, range).await;
            let value = match reply.value {
                Ok(object) => Ok(object),
                Err(failure) if failure.status == Some(416) => return self.nothing_of(key).await,
                Err(failure) => Err(failure.of_get()),
            };
            Reply { value, date_ms: reply.date_ms }
        })
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(async move {
            let reply = self.head_object(key).await;
            Reply { value: reply.value.map_err(Failure::of_head), date_ms: reply.date_ms }
        })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(async move {
            let reply = self.put(key, expected.map_or(If::Absent, If::At), body).await;
            let value = match reply.value {
                Ok(version) => Swapped::Yes(version),
                Err(failure) if failure.status == Some(412) => Swapped::Mismatch,
                Err(failure) => Swapped::Unknown(failure.fault),
            };
            Reply { value, date_ms: reply.date_ms }
        })
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        Box::pin(async move {
            if let Some(fault) = spared(key) {
                return Reply { value: Err(fault), date_ms: None };
            }
            let reply = self.delete_object(key).await;
            Reply { value: reply.value.map_err(|failure| failure.fault), date_ms: reply.date_ms }
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        Box::pin(self.page(prefix, after))
    }

    fn kind(&self) -> StoreKind {
        StoreKind::S3
    }

    fn refuses_short_bodies(&self) -> bool {
        self.refuses_short_bodies
    }
}

/// Copies only if the body came in several pieces.
async fn collect(mut body: ByteStream, announced: u64) -> Result<Bytes, Fault> {
    let cut = |e| Fault { kind: FaultKind::Server, message: format!("the reply broke off: {}", fault::chain(&e)) };
    let Some(first) = body.try_next().await.map_err(cut)? else {
        return Ok(Bytes::new());
    };
    if first.len() as u64 == announced {
        // Reads on to the end, so that the connection can be used again.
        return match body.try_next().await.map_err(cut)? {
            None => Ok(first),
            Some(_) => Err(malformed("a reply that is longer than it announced")),
        };
    }
    let mut all = BytesMut::with_capacity(announced.min(MAX_RESERVED) as usize);
    all.extend_from_slice(&first);
    while let Some(next) = body.try_next().await.map_err(cut)? {
        if (all.len() + next.len()) as u64 > announced {
            return Err(malformed("a reply that is longer than it announced"));
        }
        all.extend_from_slice(&next);
    }
    Ok(all.freeze())
}

fn etag(etag: Option<&str>) -> Result<Version, Fault> {
    etag.map(|e| Version(e.into())).ok_or_else(|| malformed("a reply without ETag"))
}

fn last_modified(time: Option<&DateTime>) -> Result<i64, Fault> {
    time.and_then(|t| t.to_millis().ok()).ok_or_else(|| malformed("a reply without Last-Modified"))
}

fn malformed(what: impl std::fmt::Display) -> Fault {
    Fault { kind: FaultKind::Server, message: format!("the store sent {what}") }
}
