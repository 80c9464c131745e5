//! Objects and conditional creates: bytes in, bytes out, and honest answers about what is not known.
//!
//! This is the only crate that knows an S3 client. Everything above speaks [`Store`].

pub mod body;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod env;
pub mod file;
pub mod hedge;
pub mod list;
pub mod memory;
pub mod metered;
pub mod own;
pub mod pace;
pub mod probe;
pub mod profile;
pub mod s3;
#[cfg(test)]
mod speed;
#[cfg(any(test, feature = "conformance"))]
pub mod testing;
pub mod url;

pub use body::Body;

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use lakebed_record::keys::{self, Key};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What came back, and when: the store's own clock as far as the reply tells it.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    pub value: T,
    /// `Date` of this reply in ms since the epoch (S3: one-second steps; local stores: the host's clock, read *before*
    /// the operation). `None` if no reply arrived.
    pub date_ms: Option<i64>,
}

/// The three outcomes of creating an object that must not exist yet.
#[derive(Clone, Debug)]
pub enum Created {
    /// The store answered that it now holds exactly these bytes under this key.
    Yes,
    /// The key was taken (HTTP 412): by somebody else or by an earlier try of the caller's own.
    Exists,
    /// Nothing is proved: it may have happened, may happen later, or never (time-out, 5xx, 409, 429, 404, 403, no space).
    Unknown(Fault),
}

/// The three outcomes of a compare-and-swap.
#[derive(Clone, Debug)]
pub enum Swapped {
    Yes(Version),
    /// The object is not at the expected version (or, with `None` expected, exists).
    Mismatch,
    /// As in [`Created::Unknown`]: read back and compare contents.
    Unknown(Fault),
}

/// What a compare-and-swap compares: an ETag, opaque; never taken for a hash of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub Arc<str>);

#[derive(Clone, Debug)]
pub struct Object {
    /// The bytes of the range that was asked for, as far as the object reaches.
    pub bytes: Bytes,
    pub meta: Meta,
}

#[derive(Clone, Debug)]
pub struct Meta {
    /// Length of the whole object in bytes.
    pub total_len: u64,
    pub version: Version,
    /// Last-Modified in ms since the epoch, by the store's clock.
    pub last_modified_ms: i64,
}

/// An object as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: Key,
    pub len: u64,
    /// As in [`Meta`].
    pub last_modified_ms: i64,
}

/// A part of a list, in byte order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub objects: Vec<Listed>,
    /// There may be objects after the last of these, of which there is then at least one.
    pub more: bool,
}

/// Objects that one `list` answers at most, as S3 has it.
pub(crate) const PAGE: usize = 1_000;

#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// HTTP 404, and nothing else.
    #[error("no such object")]
    NotFound,
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why an operation gave no answer. The kind tells what to do; the message is for people.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// No reply in time, connection refused or cut: try again.
    Timeout,
    /// 429, 503 SlowDown: try again, slower.
    Throttled,
    /// 409: concurrent conditional request; try again.
    Conflict,
    /// Any other 5xx, or a reply that does not hold what it announced: try again.
    Server,
    /// 401, 403, unusable credentials: an operator has to act; keep trying meanwhile.
    Denied,
    /// The disk is full or the quota is used up: an operator has to act; keep trying meanwhile.
    NoSpace,
    /// Anything else that the request itself caused (400, bad bucket name, …).
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Memory,
    File,
    S3,
}

/// One bucket and prefix (or directory, or memory).
///
/// Contract, checked by the conformance suite that every implementation and decorator runs:
/// * `create`: of any number of concurrent creates of one key at most one ever answers `Yes`; once anyone saw `Yes`,
///   `Exists` or the object itself, every later `get` and `head` sees the object, whole, until a delete of the key is
///   sent. An object appears whole or not at all (S3 servers that break this are caught by length and CRC above).
/// * `swap`: linearizable per key; `None` creates.
/// * `get` of a range past the end answers the bytes there are; an empty object or a start past the end gives no bytes.
/// * `delete`: once it answered, no `get`, `head` or `list` begun later sees the object, unless the key is created again:
///   that works, and makes a new object with a Last-Modified of its own. An absent object is deleted already. A delete
///   without an answer may take effect at any time later, also on an object created meanwhile: so names are not used
///   twice. Readers get a whole object or none. FORMAT and CURRENT are refused ([`FaultKind::Other`]).
/// * `delete` in a bucket that keeps versions hides the object, which goes on being paid for: the S3 store warns.
/// * `list` shows what stayed as it was while it ran; names that are no keys of ours are left out.
/// * Last-Modified is never before the write began, by the store's own clock: S3's in steps of a second, the file
///   system's (st_ctime), or that of the memory store's host.
/// * No method retries by itself, and none hides a fault. Each has a time-out of its own and returns.
/// * Dropping a future leaves the operation's effect unknown, as a fault does.
/// * Correctness above never depends on `list`: it is for finding garbage.
pub trait Store: Send + Sync + 'static {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>>;
    /// `None` reads the whole object.
    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>>;
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>>;
    fn swap<'a>(&'a self, key: &'a Key, expected: Option<&'a Version>, body: &'a Body)
    -> BoxFuture<'a, Reply<Swapped>>;
    /// There is no form for many keys: deletes are free of charge, and callers run several at once.
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>>;
    /// A page of the objects whose keys start with `prefix` and come after `after`, which need not exist.
    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>>;
    fn kind(&self) -> StoreKind;
    /// False where a body cut short might be kept: then a `Yes` is confirmed by the length in a `head` (rule 6).
    fn refuses_short_bodies(&self) -> bool;
}

/// The answer to a delete of what must never be deleted; every store asks before it does anything.
fn spared(key: &Key) -> Option<Fault> {
    let spared = *key == keys::format() || *key == keys::current();
    spared.then(|| Fault { kind: FaultKind::Other, message: format!("{key} is never deleted") })
}
