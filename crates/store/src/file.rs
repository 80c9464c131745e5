//! Objects as files below one directory: `--store file:///dir`, safe for several processes of one machine.
//!
//! * `create`: write a temporary file, fsync it, link it to its name (which fails if the name is taken), fsync the
//!   directory, unlink the temporary name.
//! * `swap`: the same, but under a lock that all processes share, after comparing versions, and by rename.
//! * A name is visible a moment before its directory is synced. Until then the file has a second link, so whoever finds
//!   one (`get`, `head`, "already exists") syncs the directory before answering: nothing that was ever seen is lost to
//!   a power cut.
//! * `delete`: unlink, under that lock, so that a swap does not bring back what it compared with, then fsync of the
//!   directory; also if there was nothing, as another process may have unlinked it and not synced yet. Whoever has the
//!   file open reads it to its end. A reader may miss the object before that sync, and see it again after a power cut.
//!   A directory of its own that is empty then goes as well; one that many keys share stays.
//! * `list`: a walk in key order, of one directory at a time. `@tmp` and other names that are no keys are passed over.
//! * An answer is dated before its operation, and what took longer than [`TIMEOUT`] by this process's clock is answered as a
//!   time-out even if it is done: a process that is stopped in the middle must not take what it did an hour later for what it
//!   did at that date.
//! * The version is the modification time, which `swap` makes grow; Last-Modified is st_ctime, since the modification
//!   time survives link and rename.
//!
//! A crash leaves at most temporary files, which the next `open` removes once their owner is gone.

mod disk;
mod fs;
mod list;
mod temp;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lakebed_record::keys::Key;

use self::disk::{Disk, Locked};
use crate::env::{Clock, Env};
use crate::{
    Body, BoxFuture, Created, Fault, FaultKind, Listing, Meta, Object, PAGE, ReadError, Reply, Store, StoreKind,
    Swapped, Version, spared,
};

/// A disk that takes longer than this for one operation is reported, not waited for.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a lock that another process holds is tried again.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// Why a directory cannot hold a store: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileOpenError {
    #[error("cannot use {0} as the store ({1}): make it a directory that this user may write, or name another one")]
    Unusable(String, std::io::Error),
    #[error(
        "{0} is on {1}, which does not keep the store's promises: use a directory on a local disk, or an S3 bucket"
    )]
    NotLocal(String, &'static str),
    #[error("the file system of {0} has no hard links ({1}): use a directory on another local disk, or an S3 bucket")]
    NoHardLinks(String, std::io::Error),
}

/// One directory. Several instances, in one process or in many, may share it.
pub struct FileStore {
    disk: Arc<Disk>,
    clock: Arc<dyn Clock>,
    /// One swap or delete at a time in this process, so that only processes contend for the lock file.
    swapping: tokio::sync::Mutex<()>,
    page: usize,
}

impl FileStore {
    /// Creates the directory if need be, tries it out, and removes what crashed processes left of unfinished writes.
    pub async fn open(dir: impl AsRef<Path>, env: &Env) -> Result<FileStore, FileOpenError> {
        let dir = dir.as_ref().to_owned();
        let clock = env.clock.clone();
        let entropy = env.entropy.clone();
        let name = dir.display().to_string();
        let disk = tokio::task::spawn_blocking(move || Disk::open(&dir, entropy.u64())).await;
        let disk = disk.unwrap_or_else(|e| Err(FileOpenError::Unusable(name, std::io::Error::other(e))))?;
        Ok(FileStore { disk: Arc::new(disk), clock, swapping: tokio::sync::Mutex::default(), page: PAGE })
    }

    /// The result of an operation, and the host's clock before it.
    async fn dated<T>(&self, operation: impl Future<Output = Result<T, Fault>>) -> (Result<T, Fault>, Option<i64>) {
        // In this order, so that being stopped in between counts as well.
        let begun = self.clock.monotonic();
        let date_ms = Some(self.clock.wall_ms());
        let done = operation.await;
        let late = self.clock.monotonic().saturating_sub(begun) > TIMEOUT;
        let value = if late {
            done.and_then(|_| Err(timeout("the disk or this process stood still: no answer")))
        } else {
            done
        };
        (value, date_ms)
    }

    /// Runs `work` where it may block. It goes on to its end even if this times out or is dropped.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let disk = self.disk.clone();
        let work = tokio::task::spawn_blocking(move || work(&disk));
        tokio::select! {
            biased;
            done = work => match done {
                Ok(done) => done.map_err(|e| fault(&e)),
                Err(panic) => Err(Fault { kind: FaultKind::Other, message: panic.to_string() }),
            },
            () = self.clock.sleep(TIMEOUT) => Err(timeout("the disk did not answer")),
        }
    }

    /// Runs what needs the lock of all processes, as soon as it is free.
    async fn run_locked<T: Send + 'static>(
        &self,
        work: impl Fn(&Disk) -> std::io::Result<Result<T, Locked>> + Clone + Send + 'static,
    ) -> Result<T, Fault> {
        let give_up = self.clock.monotonic() + TIMEOUT;
        let _one_at_a_time = self.swapping.lock().await;
        loop {
            match self.run(work.clone()).await? {
                Ok(done) => return Ok(done),
                Err(Locked) if self.clock.monotonic() < give_up => self.clock.sleep(LOCK_POLL).await,
                Err(Locked) => return Err(timeout("another process held the lock of the store's directory")),
            }
        }
    }

    async fn swap_existing(&self, key: &Key, expected: &Version, body: &Body) -> Result<Option<Version>, Fault> {
        let (key, expected, body) = (key.clone(), expected.clone(), body.clone());
        self.run_locked(move |disk| disk.swap(&key, &expected, &body)).await
    }

    async fn remove(&self, key: &Key) -> Result<(), Fault> {
        if let Some(fault) = spared(key) {
            return Err(fault);
        }
        let name = key.clone();
        self.run_locked(move |disk| disk.unlink(&name)).await?;
        let key = key.clone();
        self.run(move |disk| disk.sync_place(&key)).await
    }

    async fn create_new(&self, key: &Key, body: &Body) -> Result<Option<Version>, Fault> {
        let (key, body) = (key.clone(), body.clone());
        self.run(move |disk| disk.create(&key, &body)).await
    }
}

impl Store for FileStore {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(async move {
            let (done, date_ms) = self.dated(self.create_new(key, body)).await;
            let value = match done {
                Ok(Some(_)) => Created::Yes,
                Ok(None) => Created::Exists,
                Err(fault) => Created::Unknown(fault),
            };
            Reply { value, date_ms }
        })
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(async move {
            let key = key.clone();
            let (found, date_ms) = self.dated(self.run(move |disk| disk.read(&key, range))).await;
            Reply { value: found.map_err(ReadError::Fault).and_then(|o| o.ok_or(ReadError::NotFound)), date_ms }
        })
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(async move {
            let key = key.clone();
            let (found, date_ms) = self.dated(self.run(move |disk| disk.meta(&key))).await;
            Reply { value: found.map_err(ReadError::Fault).and_then(|m| m.ok_or(ReadError::NotFound)), date_ms }
        })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(async move {
            let (done, date_ms) = match expected {
                None => self.dated(self.create_new(key, body)).await,
                Some(expected) => self.dated(self.swap_existing(key, expected, body)).await,
            };
            let value = match done {
                Ok(Some(version)) => Swapped::Yes(version),
                Ok(None) => Swapped::Mismatch,
                Err(fault) => Swapped::Unknown(fault),
            };
            Reply { value, date_ms }
        })
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        Box::pin(async move {
            let (value, date_ms) = self.dated(self.remove(key)).await;
            Reply { value, date_ms }
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        Box::pin(async move {
            let (prefix, after, page) = (prefix.to_owned(), after.cloned(), self.page);
            let (value, date_ms) = self.dated(self.run(move |disk| disk.list(&prefix, after.as_ref(), page))).await;
            Reply { value, date_ms }
        })
    }

    fn kind(&self) -> StoreKind {
        StoreKind::File
    }

    fn refuses_short_bodies(&self) -> bool {
        true
    }
}

fn timeout(what: impl Display) -> Fault {
    Fault { kind: FaultKind::Timeout, message: format!("{what} within {} s", TIMEOUT.as_secs()) }
}

fn fault(e: &std::io::Error) -> Fault {
    use std::io::ErrorKind;
    let (kind, hint) = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (FaultKind::NoSpace, ": free some space"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            (FaultKind::Denied, ": make the store's directory writable for this user")
        }
        ErrorKind::NotFound => (FaultKind::Server, ": the store's directory was removed or unmounted"),
        ErrorKind::TimedOut | ErrorKind::Interrupted | ErrorKind::ResourceBusy => (FaultKind::Timeout, ""),
        ErrorKind::InvalidInput | ErrorKind::InvalidFilename => (FaultKind::Other, ""),
        // Failing hardware, too many open files: may pass.
        _ => (FaultKind::Server, ""),
    };
    Fault { kind, message: format!("{e}{hint}") }
}
