//! The blocking part of the file store: what one call does to the disk, and in which order.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, ErrorKind, IoSlice, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use lakebed_record::keys::Key;
use parking_lot::Mutex;

use super::fs::{not_local, sync_dir};
use super::temp::Temp;
use super::{FileOpenError, list};
use crate::{Body, Listing, Meta, Object, Version};

/// The kernel takes at most 1,024 pieces in one call.
const MAX_PIECES: usize = 1024;

pub(super) struct Disk {
    root: PathBuf,
    pub(super) temp: Temp,
    /// Directories that this process knows to be durable, with all their parents.
    durable: Mutex<HashSet<PathBuf>>,
}

/// A directory that somebody takes away while an object is put into it is made again so many times.
const TRIES: u32 = 5;

/// Another process is swapping or deleting.
pub(super) struct Locked;

impl Disk {
    pub(super) fn open(dir: &Path, instance: u64) -> Result<Disk, FileOpenError> {
        let name = dir.display().to_string();
        let unusable = |e| FileOpenError::Unusable(name.clone(), e);
        fs::create_dir_all(dir).map_err(unusable)?;
        if let Some(what) = not_local(dir).map_err(unusable)? {
            return Err(FileOpenError::NotLocal(name, what));
        }
        let root = dir.canonicalize().map_err(unusable)?;
        let temp = Temp::open(&root, instance).map_err(unusable)?;
        let disk = Disk { root, temp, durable: Mutex::default() };
        disk.ensure_dir(&disk.root).map_err(unusable)?;
        disk.try_out().map_err(unusable)?.map_err(|e| FileOpenError::NoHardLinks(name.clone(), e))?;
        Ok(disk)
    }

    /// Creates the object, unless there is one: then `None`. Either answer is durable.
    pub(super) fn create(&self, key: &Key, body: &Body) -> io::Result<Option<Version>> {
        let (path, dir) = self.place(key);
        self.ensure_dir(&dir)?;
        let temp = self.write(body, None)?;
        let mut linked = fs::hard_link(&temp.path, &path);
        for _ in 1..TRIES {
            if !linked.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound) {
                break;
            }
            self.durable.lock().remove(&dir);
            linked = self.ensure_dir(&dir).and_then(|()| fs::hard_link(&temp.path, &path));
        }
        if let Err(e) = linked {
            temp.remove();
            if e.kind() != ErrorKind::AlreadyExists {
                return Err(e);
            }
            if let Some(metadata) = missing_as_none(fs::metadata(&path))? {
                settle(&metadata, &path)?;
            }
            return Ok(None);
        }
        // If this fails the temporary link stays, and tells readers that the name is in doubt.
        sync_dir(&dir)?;
        temp.remove();
        Ok(Some(temp.version))
    }

    /// Replaces the object if it is at `expected`; otherwise `None`.
    pub(super) fn swap(
        &self,
        key: &Key,
        expected: &Version,
        body: &Body,
    ) -> io::Result<Result<Option<Version>, Locked>> {
        let (path, dir) = self.place(key);
        let Some(_lock) = self.temp.lock_for_swap()? else {
            return Ok(Err(Locked));
        };
        let Some(old) = missing_as_none(fs::metadata(&path))? else {
            return Ok(Ok(None));
        };
        settle(&old, &path)?;
        if version(&old) != *expected {
            return Ok(Ok(None));
        }
        self.ensure_dir(&dir)?;
        let temp = self.write(body, Some(&old))?;
        let in_doubt = self.temp.name();
        let renamed = fs::hard_link(&temp.path, &in_doubt).and_then(|()| fs::rename(&temp.path, &path));
        if let Err(e) = renamed {
            temp.remove();
            let _ = fs::remove_file(&in_doubt);
            return Err(e);
        }
        sync_dir(&dir)?;
        let _ = fs::remove_file(&in_doubt);
        Ok(Ok(Some(temp.version)))
    }

    /// Takes the name away, if it is there. Not durable before [`Disk::sync_place`].
    pub(super) fn unlink(&self, key: &Key) -> io::Result<Result<(), Locked>> {
        let Some(_lock) = self.temp.lock_for_swap()? else {
            return Ok(Err(Locked));
        };
        let (path, _) = self.place(key);
        missing_as_none(fs::remove_file(path)).map(|_| Ok(()))
    }

    /// Makes durable which name is there, and which is not. A directory that holds nothing any more goes, unless it is one of a
    /// few that many keys share; that it went need not be durable.
    pub(super) fn sync_place(&self, key: &Key) -> io::Result<()> {
        let (_, dir) = self.place(key);
        let Some(()) = missing_as_none(sync_dir(&dir))? else {
            // No object is there; unless the whole store is gone, which is no answer.
            self.durable.lock().remove(&dir);
            return sync_dir(&self.root);
        };
        if !self.is_shared(&dir) && fs::remove_dir(&dir).is_ok() {
            self.durable.lock().remove(&dir);
        }
        Ok(())
    }

    /// The first level, and shards, whose names have two characters.
    fn is_shared(&self, dir: &Path) -> bool {
        let below = dir.strip_prefix(&self.root).map_or(0, |path| path.components().count());
        below < 2 || dir.file_name().is_none_or(|name| name.len() <= 2)
    }

    pub(super) fn list(&self, prefix: &str, after: Option<&Key>, page: usize) -> io::Result<Listing> {
        list::list(&self.root, prefix, after.map_or("", Key::as_str), page)
    }

    pub(super) fn meta(&self, key: &Key) -> io::Result<Option<Meta>> {
        let (path, _) = self.place(key);
        let Some(metadata) = missing_as_none(fs::metadata(&path))? else {
            return Ok(None);
        };
        settle(&metadata, &path)?;
        Ok(Some(meta(&metadata)))
    }

    pub(super) fn read(&self, key: &Key, range: Option<Range<u64>>) -> io::Result<Option<Object>> {
        let (path, _) = self.place(key);
        let Some(mut file) = missing_as_none(File::open(&path))? else {
            return Ok(None);
        };
        let metadata = file.metadata()?;
        settle(&metadata, &path)?;
        let range = range.unwrap_or(0..u64::MAX);
        let (start, end) = (range.start, range.end.min(metadata.len()));
        let wanted = end.saturating_sub(start);
        if start > 0 {
            file.seek(SeekFrom::Start(start))?;
        }
        let mut bytes = Vec::with_capacity(wanted as usize);
        file.take(wanted).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != wanted {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("{key} is shorter than its length says")));
        }
        Ok(Some(Object { bytes: Bytes::from(bytes), meta: meta(&metadata) }))
    }

    fn place(&self, key: &Key) -> (PathBuf, PathBuf) {
        let path = self.root.join(key.as_str());
        let dir = path.parent().unwrap_or(&self.root).to_owned();
        (path, dir)
    }

    /// Another process may have made a directory and not synced it yet, so the first use here syncs every parent.
    fn ensure_dir(&self, dir: &Path) -> io::Result<()> {
        if self.durable.lock().contains(dir) {
            return Ok(());
        }
        fs::create_dir_all(dir)?;
        for parent in dir.ancestors().skip(1) {
            match sync_dir(parent) {
                // Above the root, where others own the directories and made them long ago.
                Err(e) if e.kind() == ErrorKind::PermissionDenied && !parent.starts_with(&self.root) => break,
                done => done?,
            }
            if self.durable.lock().contains(parent) {
                break;
            }
        }
        self.durable.lock().insert(dir.to_owned());
        Ok(())
    }

    /// Writes a durable temporary file. One that replaces `old` gets a later modification time.
    fn write(&self, body: &Body, old: Option<&Metadata>) -> io::Result<Temporary> {
        let path = self.temp.name();
        let file = File::options().write(true).create_new(true).open(&path)?;
        let written = write_all(&file, body).and_then(|()| match old {
            None => file.sync_data(),
            Some(old) => outdate(&file, old).and_then(|()| file.sync_all()),
        });
        match written.and_then(|()| file.metadata()) {
            Ok(metadata) => Ok(Temporary { path, version: version(&metadata) }),
            Err(e) => {
                let _ = fs::remove_file(&path);
                Err(e)
            }
        }
    }

    /// The outer error: cannot write. The inner one: cannot link.
    fn try_out(&self) -> io::Result<io::Result<()>> {
        let temp = self.write(&Body::from(Bytes::from_static(b"try")), None)?;
        let link = self.temp.name();
        let linked = fs::hard_link(&temp.path, &link);
        temp.remove();
        let _ = fs::remove_file(&link);
        Ok(linked)
    }
}

struct Temporary {
    path: PathBuf,
    version: Version,
}

impl Temporary {
    fn remove(&self) {
        // One that stays costs a directory sync per read, and goes with the next `open`.
        let _ = fs::remove_file(&self.path);
    }
}

/// A second link means that the name may not be on disk yet: sync it before anybody is told of it.
fn settle(metadata: &Metadata, path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if metadata.nlink() > 1 => sync_dir(dir),
        _ => Ok(()),
    }
}

/// Sets a modification time after that of `old`, however coarse the file system's clock.
fn outdate(file: &File, old: &Metadata) -> io::Result<()> {
    let old_ns = modified_ns(old);
    let set = |ns: u64| {
        file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_nanos(ns)))?;
        file.metadata().map(|m| modified_ns(&m))
    };
    let now = modified_ns(&file.metadata()?);
    for step in [1, 1_000, 1_000_000, 2_000_000_000] {
        if set(now.max(old_ns + step))? > old_ns {
            return Ok(());
        }
    }
    Err(io::Error::other("the file system does not keep modification times"))
}

fn version(metadata: &Metadata) -> Version {
    Version(format!("{:x}-{:x}", modified_ns(metadata), metadata.len()).into())
}

fn modified_ns(metadata: &Metadata) -> u64 {
    u64::try_from(metadata.mtime()).unwrap_or(0) * 1_000_000_000 + u64::try_from(metadata.mtime_nsec()).unwrap_or(0)
}

fn meta(metadata: &Metadata) -> Meta {
    Meta { total_len: metadata.len(), version: version(metadata), last_modified_ms: last_modified_ms(metadata) }
}

pub(super) fn last_modified_ms(metadata: &Metadata) -> i64 {
    metadata.ctime() * 1_000 + metadata.ctime_nsec() / 1_000_000
}

fn write_all(mut file: &File, body: &Body) -> io::Result<()> {
    let mut slices: Vec<_> = body.chunks().iter().filter(|c| !c.is_empty()).map(|c| IoSlice::new(c)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let now = rest.len().min(MAX_PIECES);
        match file.write_vectored(&rest[..now]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut rest, n),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

pub(super) fn missing_as_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
