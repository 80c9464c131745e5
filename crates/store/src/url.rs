//! `--store`: which store, parsed once, and opened with an error that says what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use ::url::Url;

use crate::Store;
use crate::env::Env;
use crate::file::{FileOpenError, FileStore};
use crate::memory::MemoryStore;
use crate::profile::{Profile, Profiled};
use crate::s3::{S3OpenError, S3Store};

/// Where a cluster keeps everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `memory://`: gone with the process.
    Memory,
    /// `file:///dir`.
    File(PathBuf),
    /// `s3://bucket/prefix`; the prefix may be empty.
    S3 { bucket: String, prefix: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is no store ({why}): use file:///dir, s3://bucket/prefix or memory://")]
pub struct StoreUrlError {
    url: String,
    why: &'static str,
}

/// Why a store cannot be opened: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    File(#[from] FileOpenError),
    #[error(transparent)]
    S3(#[from] S3OpenError),
}

/// Opens the store, creating a directory but never a bucket. `profile` adds delays.
pub async fn open(url: &StoreUrl, env: &Env, profile: Profile) -> Result<Arc<dyn Store>, OpenError> {
    let store: Arc<dyn Store> = match url {
        StoreUrl::Memory => Arc::new(MemoryStore::new(env)),
        StoreUrl::File(dir) => Arc::new(FileStore::open(dir, env).await?),
        StoreUrl::S3 { bucket, prefix } => Arc::new(S3Store::open(bucket, prefix, env).await?),
    };
    Ok(match profile {
        Profile::None => store,
        delayed => Arc::new(Profiled::new(store, delayed, env)),
    })
}

/// What the service may do to objects by itself, as far as it tells: sentences for an operator.
pub async fn notes(url: &StoreUrl, env: &Env) -> Result<Vec<String>, OpenError> {
    match url {
        StoreUrl::S3 { bucket, prefix } => Ok(S3Store::open(bucket, prefix, env).await?.notes().await),
        StoreUrl::Memory | StoreUrl::File(_) => Ok(Vec::new()),
    }
}

impl StoreUrl {
    /// A directory, relative to the working directory or absolute.
    pub fn file(dir: impl AsRef<Path>) -> StoreUrl {
        StoreUrl::File(dir.as_ref().to_owned())
    }

    /// Its scheme.
    pub fn kind(&self) -> &'static str {
        match self {
            StoreUrl::Memory => "memory",
            StoreUrl::File(_) => "file",
            StoreUrl::S3 { .. } => "s3",
        }
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(s: &str) -> Result<StoreUrl, StoreUrlError> {
        let wrong = |why| StoreUrlError { url: s.to_owned(), why };
        let url = Url::parse(s).map_err(|_| wrong("not a URL"))?;
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.port().is_some() {
            return Err(wrong("only a name and a path may stand in it"));
        }
        match url.scheme() {
            "memory" if url.host().is_none() && matches!(url.path(), "" | "/") => Ok(StoreUrl::Memory),
            "memory" => Err(wrong("memory has no name")),
            "file" => match url.to_file_path() {
                Ok(dir) if s.starts_with("file:///") => Ok(StoreUrl::File(dir)),
                _ => Err(wrong("a directory needs three slashes and an absolute path")),
            },
            "s3" => {
                let bucket = url.host_str().filter(|b| is_bucket(b)).ok_or_else(|| wrong("no valid bucket name"))?;
                let prefix = url.path().trim_matches('/');
                if !prefix.is_empty() && !prefix.split('/').all(is_segment) {
                    return Err(wrong("a prefix consists of letters, digits, '.', '_' and '-', parted by '/'"));
                }
                Ok(StoreUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
            }
            _ => Err(wrong("unknown scheme")),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Memory => f.write_str("memory://"),
            StoreUrl::File(dir) => match Url::from_directory_path(dir) {
                Ok(url) => f.write_str(url.as_str().trim_end_matches('/')),
                Err(()) => write!(f, "{}", dir.display()),
            },
            StoreUrl::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            StoreUrl::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// S3's rules, loosely: the service has the last word.
fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b))
}

/// As in an object key.
fn is_segment(s: &str) -> bool {
    !s.is_empty() && s != "." && s != ".." && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str, prefix: &str) -> StoreUrl {
        StoreUrl::S3 { bucket: bucket.into(), prefix: prefix.into() }
    }

    #[test]
    fn parses_what_the_command_line_takes() {
        for (text, url, shown) in [
            ("memory://", StoreUrl::Memory, "memory://"),
            ("file:///var/lib/lakebed", StoreUrl::file("/var/lib/lakebed"), "file:///var/lib/lakebed"),
            ("file:///with%20space/", StoreUrl::file("/with space/"), "file:///with%20space"),
            ("s3://bucket", s3("bucket", ""), "s3://bucket"),
            ("s3://bucket/", s3("bucket", ""), "s3://bucket"),
            ("s3://my.bucket-1/a/b_c/", s3("my.bucket-1", "a/b_c"), "s3://my.bucket-1/a/b_c"),
        ] {
            assert_eq!(text.parse(), Ok(url.clone()), "{text}");
            assert_eq!(url.to_string(), shown);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for text in [
            "",
            "lakebed-data",
            "http://host/",
            "file://relative/dir",
            "file:relative",
            "memory://name",
            "s3://",
            "s3:///prefix",
            "s3://b/prefix",
            "s3://UPPER_case!/",
            "s3://bucket/a//b",
            "s3://bucket/sp%20ace",
            "s3://bucket/a?x=y",
            "s3://key:secret@bucket/",
            "s3://bucket:80/",
        ] {
            let error = text.parse::<StoreUrl>().expect_err(text).to_string();
            assert!(error.contains("use file:///dir"), "{error}");
        }
    }

    #[tokio::test]
    async fn opens_with_and_without_delays() {
        let env = Env::system();
        let dir = tempfile::tempdir().unwrap();
        for url in [StoreUrl::Memory, StoreUrl::file(dir.path().join("new"))] {
            for profile in [Profile::None, Profile::S3Express] {
                let store = open(&url, &env, profile).await.unwrap();
                assert!(store.refuses_short_bodies());
            }
        }
    }
}
