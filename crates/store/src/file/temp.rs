//! Temporary files: each open store has a directory of its own below `<dir>/@tmp`, and holds a lock on it while it
//! lives. A directory whose lock is free was left by a process that is gone, and is removed.
//!
//! `@` is in no object key, so nothing here can be taken for an object.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::fs::{sync_dir, sync_everything};

const TEMP: &str = "@tmp";
/// Serialises making temporary directories with removing them.
const OPENING: &str = "opening.lock";
/// Held while an object is swapped.
const SWAPPING: &str = "swapping.lock";

pub(super) struct Temp {
    dir: PathBuf,
    next: AtomicU64,
    swapping: PathBuf,
    /// Says to others that `dir` is in use. Released by the system when the process ends, however it ends.
    _alive: File,
}

impl Temp {
    pub(super) fn open(root: &Path, instance: u64) -> io::Result<Temp> {
        let all = root.join(TEMP);
        fs::create_dir_all(&all)?;
        let opening = lock_file(&all.join(OPENING))?;
        opening.lock()?;
        remove_abandoned(&all)?;
        let dir = create_unused(&all, instance)?;
        let alive = File::open(&dir)?;
        alive.try_lock().map_err(|e| match e {
            TryLockError::Error(e) => e,
            TryLockError::WouldBlock => io::Error::other("another process locked a new directory"),
        })?;
        sync_dir(&all)?;
        Ok(Temp { dir, next: AtomicU64::new(0), swapping: all.join(SWAPPING), _alive: alive })
    }

    /// A name that was never used.
    pub(super) fn name(&self) -> PathBuf {
        self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// The lock that all processes take to swap an object, if it is free; dropping it releases it.
    pub(super) fn lock_for_swap(&self) -> io::Result<Option<File>> {
        let file = lock_file(&self.swapping)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // Fails if a file in doubt is still there: then the next `open` looks after it.
        let _ = fs::remove_dir(&self.dir);
    }
}

fn create_unused(all: &Path, mut instance: u64) -> io::Result<PathBuf> {
    loop {
        let dir = all.join(format!("{instance:016x}"));
        match fs::create_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => instance = instance.wrapping_add(1),
            done => return done.map(|()| dir),
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

fn remove_abandoned(all: &Path) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let held = File::open(entry.path())?;
        match held.try_lock() {
            Ok(()) => remove(&entry.path())?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let files = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    let mut in_doubt = false;
    for file in &files {
        in_doubt |= file.metadata()?.nlink() > 1;
    }
    if in_doubt {
        // An object's second link tells readers that its name may not be on disk yet: make it so before the link goes.
        sync_everything(dir)?;
    }
    fs::remove_dir_all(dir)
}
