//! The objects below a directory, in the byte order of their keys, one page at a time.
//!
//! A directory's keys all begin with its name and a slash, so that it takes the place that `name/` has among its
//! siblings: after `name-x`, before `name0`. Of a large directory only as many names are kept as the page can hold.
//! What vanishes meanwhile is left out.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use lakebed_record::keys::Key;

use super::disk::{last_modified_ms, missing_as_none};
use crate::{Listed, Listing};

pub(super) fn list(root: &Path, prefix: &str, after: &str, page: usize) -> io::Result<Listing> {
    let mut walk = Walk { root, prefix, after: after.to_owned(), page, listing: Listing::default() };
    // A root that is gone is an error, not an empty store.
    fs::metadata(root)?;
    walk.directory("")?;
    Ok(walk.listing)
}

struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    /// Every key up to here is done.
    after: String,
    page: usize,
    listing: Listing,
}

/// Names in a directory, of directories with a slash at their end.
struct Names {
    sorted: BTreeSet<String>,
    /// There are more, after the last of these, which is a file.
    cut: bool,
}

impl Walk<'_> {
    /// `name` is empty or ends with a slash.
    fn directory(&mut self, name: &str) -> io::Result<()> {
        loop {
            let names = self.names(name)?;
            for name in names.sorted {
                if name.ends_with('/') {
                    self.directory(&name)?;
                } else {
                    self.file(name)?;
                }
                if self.listing.more {
                    return Ok(());
                }
            }
            if !names.cut {
                return Ok(());
            }
        }
    }

    fn file(&mut self, name: String) -> io::Result<()> {
        let metadata = missing_as_none(fs::metadata(self.root.join(&name)))?.filter(fs::Metadata::is_file);
        if let (Some(metadata), Some(key)) = (metadata, Key::listed(&name)) {
            if self.listing.objects.len() == self.page {
                self.listing.more = true;
                return Ok(());
            }
            let last_modified_ms = last_modified_ms(&metadata);
            self.listing.objects.push(Listed { key, len: metadata.len(), last_modified_ms });
        }
        self.after = name;
        Ok(())
    }

    fn names(&self, directory: &str) -> io::Result<Names> {
        let (mut files, mut directories) = (BTreeSet::new(), BTreeSet::new());
        let room = self.page - self.listing.objects.len() + 1;
        let mut cut = false;
        let Some(entries) = missing_as_none(fs::read_dir(self.root.join(directory)))? else {
            return Ok(Names { sorted: directories, cut });
        };
        for entry in entries {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(|n| format!("{directory}{n}")) else { continue };
            if Key::listed(&name).is_none() {
                continue;
            }
            if entry.file_type()?.is_dir() {
                let name = format!("{name}/");
                if self.may_hold_wanted(&name) {
                    directories.insert(name);
                }
            } else if name.starts_with(self.prefix) && name > self.after {
                files.insert(name);
                if files.len() > room {
                    files.pop_last();
                    cut = true;
                }
            }
        }
        if let (true, Some(last)) = (cut, files.last()) {
            directories.retain(|d| d < last);
        }
        directories.append(&mut files);
        Ok(Names { sorted: directories, cut })
    }

    fn may_hold_wanted(&self, directory: &str) -> bool {
        let of_prefix = directory.starts_with(self.prefix) || self.prefix.starts_with(directory);
        of_prefix && (directory > self.after.as_str() || self.after.starts_with(directory))
    }
}
