//! What is measured at the end of a day.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lakebed_manifest::examine;
use lakebed_record::keys::Key;
use lakebed_store::Store;
use lakebed_testkit::store::plain_env;

use crate::cluster::{Cluster, Requests};

/// A start of a node.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    pub requests: u64,
    /// Of simulated time, with the latencies of S3.
    pub took: Duration,
    /// Of this machine's processor.
    pub worked: Duration,
}

/// One line: columns as in [`Day::HEAD`].
pub struct Day {
    number: u32,
    columns: Vec<f64>,
}

impl Day {
    pub const HEAD: &str = "day\tslot\tentries\tpages\tproducers\tnodes\tpending\tinline slots\tsnapshot bytes\t\
        log objects\tsnapshot objects\tsegments\tsegment MB\tPUT\tGET\tHEAD\tLIST\tDELETE\trecords read\t\
        start requests\tstart s\tstart CPU ms\tbucket MB\tRSS MB";

    pub async fn take(number: u32, cluster: &Cluster, requests: &Requests, starts: &[Started], read: i64) -> Day {
        let bucket = Bucket::look(cluster).await;
        let mean = |of: fn(&Started) -> f64| starts.iter().map(of).sum::<f64>() / starts.len().max(1) as f64;
        let mut columns = cluster.node(0).manifest().read(|s| {
            let pages: usize = s.partitions().map(|(_, p)| p.pages().len()).sum();
            let numbers = [
                s.entry_count(),
                pages,
                s.producer_count(),
                s.nodes().count(),
                s.pending_deletes().count(),
                s.inline_slot_count(),
            ];
            std::iter::once(s.slot().0 as f64).chain(numbers.map(|n| n as f64)).collect::<Vec<f64>>()
        });
        columns.push(bucket.newest_snapshot as f64);
        columns.extend(["log", "snapshots", "segments"].map(|prefix| bucket.objects(prefix).0 as f64));
        columns.push(bucket.objects("segments").1 as f64 / 1e6);
        let Requests { puts, gets, heads, lists, deletes } = *requests;
        columns.extend([puts, gets, heads, lists, deletes].map(|n| n as f64));
        columns.push(read as f64);
        columns.push(mean(|s| s.requests as f64));
        columns.push(mean(|s| s.took.as_secs_f64()));
        columns.push(mean(|s| s.worked.as_secs_f64() * 1000.0));
        columns.push(cluster.bucket.total_bytes() as f64 / 1e6);
        columns.push(resident_mb());
        Day { number, columns }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        self.columns.iter().try_for_each(|n| {
            let digits = if n.fract() == 0.0 { 0 } else { 2 };
            write!(f, "\t{n:.digits$}")
        })
    }
}

/// What lies in the bucket, looked at without a request that would be counted.
struct Bucket {
    /// Objects and bytes by first part of the key.
    by_prefix: BTreeMap<String, (u64, u64)>,
    /// Bytes of the newest snapshot's index and parts.
    newest_snapshot: u64,
}

impl Bucket {
    async fn look(cluster: &Cluster) -> Bucket {
        let store = cluster.bucket.as_ref();
        let (mut by_prefix, mut lengths) = (BTreeMap::<String, (u64, u64)>::new(), BTreeMap::new());
        let mut after: Option<Key> = None;
        loop {
            let page = store.list("", after.as_ref()).await.value.expect("memory lists");
            after = page.objects.last().map(|o| o.key.clone());
            for object in page.objects {
                let prefix = object.key.as_str().split('/').next().unwrap_or_default();
                let (objects, bytes) = by_prefix.entry(prefix.to_owned()).or_default();
                (*objects, *bytes) = (*objects + 1, *bytes + object.len);
                lengths.insert(object.key, object.len);
            }
            if !page.more {
                break;
            }
        }
        let env = plain_env(cluster.time, 0);
        let current = examine::cluster(store, &env).await.expect("the cluster can be read").current;
        let mut newest_snapshot = 0;
        if let Some(newest) = current.snapshots.first() {
            let mut keys = examine::snapshot_parts(store, &env, newest).await.expect("the snapshot is there");
            keys.push(Key::new(&newest.index));
            newest_snapshot = keys.iter().map(|key| lengths[key]).sum();
        }
        Bucket { by_prefix, newest_snapshot }
    }

    fn objects(&self, prefix: &str) -> (u64, u64) {
        self.by_prefix.get(prefix).copied().unwrap_or_default()
    }
}

/// Resident memory of this process, the bucket in it included (Linux).
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default() * 1024.0 / 1e6
}
