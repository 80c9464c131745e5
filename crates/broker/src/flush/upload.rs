//! Makes a segment object of an assembled flush: the same bytes to the same name until it is known to be there.
//!
//! A crash leaves at most an object that no commit names; the collector finds it by its fence.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lakebed_manifest::Manifest;
use lakebed_record::{SegmentName, keys, segment};
use lakebed_store::env::Env;
use lakebed_store::own::{self, Stored};
use lakebed_store::{Body, Store};

use super::assemble::Assembled;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A segment that is in the store, header included.
#[derive(Debug)]
pub struct Segment {
    pub name: SegmentName,
    pub chunks: Vec<Bytes>,
    pub total_len: u64,
}

enum Put {
    Stored,
    /// Something else has the name: take another one.
    Taken,
    /// Nobody waits for it any more.
    Unwanted,
}

/// `None`: every batch was given up on, or the node stops.
pub async fn upload(
    manifest: &Manifest,
    store: &dyn Store,
    env: &Env,
    counter: &AtomicU64,
    flush: &Assembled,
) -> Option<Segment> {
    let feature_level = manifest.read(|s| s.feature_level());
    let (header, crc) = segment::header(feature_level, flush.len, flush.crc);
    let mut chunks = vec![header];
    chunks.extend(flush.chunks.iter().cloned());
    let body = Body::with_crc(chunks, crc);
    loop {
        let name = next_name(manifest, env, counter, flush).await?;
        match put(store, env, &name, &body, flush).await {
            Put::Stored => {
                let (total_len, chunks) = (body.len(), body.chunks().to_vec());
                return Some(Segment { name, chunks, total_len });
            }
            Put::Taken => {
                tracing::error!(%name.node, name.number, "segment name is taken by an object of another length")
            }
            Put::Unwanted => return None,
        }
    }
}

async fn next_name(manifest: &Manifest, env: &Env, counter: &AtomicU64, flush: &Assembled) -> Option<SegmentName> {
    let mut pause = FIRST_PAUSE;
    let fence = manifest.fence();
    tokio::pin!(fence);
    loop {
        tokio::select! {
            biased;
            fence = &mut fence => {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                return Some(SegmentName { fence: fence.ok()?, node: manifest.incarnation(), number });
            }
            () = env.clock.sleep(pause) => {}
        }
        if !flush.is_wanted(env.clock.monotonic()) {
            return None;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn put(store: &dyn Store, env: &Env, name: &SegmentName, body: &Body, flush: &Assembled) -> Put {
    let key = keys::segment(name);
    let mut pause = FIRST_PAUSE;
    loop {
        match own::create(store, &key, body).await {
            Stored::Yes => return Put::Stored,
            Stored::Foreign => return Put::Taken,
            Stored::Unknown(fault) => tracing::debug!(%key, %fault, "segment not stored, trying again"),
        }
        if !flush.is_wanted(env.clock.monotonic()) {
            return Put::Unwanted;
        }
        env.clock.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
