//! `lakebed fsck`: the bucket against the manifest. The list is taken first, then the log is replayed, so that what is named was
//! made before; what the list does not show is asked for once more. Nothing is changed unless it is asked to.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures_util::stream::{self, StreamExt};
use lakebed_manifest::fsck::{self, Finding, Inventory, Parts};
use lakebed_manifest::{Entry, GaveUp, SnapshotError, State, examine};
use lakebed_record::batch::{batches, crc_matches};
use lakebed_record::entries::IndexPage;
use lakebed_record::keys::{self, Key};
use lakebed_record::{DataObject, TopicPartition};
use lakebed_store::env::Env;
use lakebed_store::{ReadError, Store, list};

use crate::cli::{FsckArgs, StoreProfile};
use crate::output::say;
use crate::{config, open};

/// What stands in the index pages of each partition.
type Pages = Vec<(TopicPartition, Vec<Entry>)>;

/// Requests at once.
const PARALLEL: usize = 16;

pub async fn fsck(args: FsckArgs) -> Result<()> {
    let env = Env::system();
    let at = config::store_or_default(args.store)?;
    let store = open::store(&at, StoreProfile::None, &env).await?;
    let check = Check { store, env };
    let (cluster, pages, mut findings) = check.compare().await?;
    if args.read {
        findings.extend(check.read(&cluster.state, &pages).await?);
    }
    for finding in &findings {
        say(format_args!("{finding}"));
    }
    let (damage, rest): (Vec<_>, Vec<_>) = findings.iter().partition(|f| f.is_damage());
    let orphans: Vec<&Key> =
        rest.iter().filter_map(|f| if let Finding::Orphan { key, .. } = f { Some(key) } else { None }).collect();
    let state = &cluster.state;
    let counted = format!(
        "{} topics, {} partitions, {} entries up to slot {}",
        state.topics().count(),
        state.partition_count(),
        state.entry_count(),
        state.slot()
    );
    say(format_args!("checked   {counted}; {} damaged, {} orphans", damage.len(), orphans.len()));
    let garbage_only = findings.iter().all(|f| matches!(f, Finding::Orphan { .. } | Finding::Unknown { .. }));
    if args.remove_orphans && garbage_only {
        check.remove(&orphans).await?;
        say(format_args!("removed   {} orphans", orphans.len()));
    } else if args.remove_orphans {
        say(format_args!("removed   nothing: see to the rest first"));
    }
    if damage.is_empty() { Ok(()) } else { bail!("{} findings are damage; data may be lost", damage.len()) }
}

struct Check {
    store: Arc<dyn Store>,
    env: Env,
}

impl Check {
    async fn compare(&self) -> Result<(examine::Cluster, Pages, Vec<Finding>)> {
        let inventory = self.list().await?;
        let cluster = examine::cluster(self.store.as_ref(), &self.env).await?;
        let (parts, unreadable) = self.parts(&cluster).await?;
        let (pages, unreadable_pages) = self.pages(&cluster.state).await;
        let mut findings = fsck::check(&inventory, &cluster.current, &parts, &cluster.state, &pages);
        findings.extend(unreadable_pages);
        findings.extend(unreadable);
        let mut confirmed = Vec::new();
        for finding in findings {
            if let Finding::Missing { key, .. } = &finding
                && self.exists(key).await?
            {
                continue;
            }
            confirmed.push(finding);
        }
        Ok((cluster, pages, confirmed))
    }

    async fn list(&self) -> Result<Inventory> {
        let mut inventory = Inventory::new();
        let mut pages = pin!(list::pages(self.store.as_ref(), ""));
        while let Some(page) = pages.next().await {
            inventory.extend(page.context("cannot list the bucket")?.into_iter().map(|o| (o.key, o.len)));
        }
        Ok(inventory)
    }

    async fn parts(&self, cluster: &examine::Cluster) -> Result<(Parts, Vec<Finding>)> {
        let (mut parts, mut unreadable) = (Parts::new(), Vec::new());
        for snapshot in &cluster.current.snapshots {
            let Some(key) = Key::listed(&snapshot.index) else {
                bail!("CURRENT names a snapshot by what is no key: {:?}", snapshot.index);
            };
            match examine::snapshot_parts(self.store.as_ref(), &self.env, snapshot).await {
                Ok(named) => parts.push((key, named)),
                Err(SnapshotError::Store(GaveUp::NotFound(_))) => {
                    unreadable.push(Finding::Missing { key, wanted_by: "CURRENT".into() });
                }
                // What the store does not say is no finding.
                Err(error @ SnapshotError::Store(_)) => return Err(error.into()),
                Err(error) => unreadable.push(Finding::Corrupt { key, why: error.to_string() }),
            }
        }
        Ok((parts, unreadable))
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        match self.store.head(key).await.value {
            Ok(_) => Ok(true),
            Err(ReadError::NotFound) => Ok(false),
            Err(ReadError::Fault(fault)) => Err(fault).with_context(|| key.to_string()),
        }
    }

    /// The entries that stand in index pages; a page that is missing is found as an object that is.
    async fn pages(&self, state: &State) -> (Pages, Vec<Finding>) {
        let named =
            state.partitions().flat_map(|(tp, p)| p.pages().iter().map(move |page| (tp, keys::segment(&page.name))));
        let mut reads = stream::iter(named)
            .map(|(tp, key)| async move { (tp, self.store.get(&key, None).await.value, key) })
            .buffered(PARALLEL);
        let (mut pages, mut unreadable) = (Pages::new(), Vec::new());
        while let Some((tp, object, key)) = reads.next().await {
            match object {
                Ok(object) => match IndexPage::decode(&object.bytes) {
                    Ok(page) => pages.push((tp, Entry::of_page(&page))),
                    Err(error) => unreadable.push(Finding::Corrupt { key, why: error.to_string() }),
                },
                Err(ReadError::NotFound) => {}
                Err(ReadError::Fault(fault)) => {
                    unreadable.push(Finding::Corrupt { key, why: format!("cannot be read: {fault}") });
                }
            }
        }
        (pages, unreadable)
    }

    /// Reads every batch that an entry names.
    async fn read(&self, state: &State, pages: &Pages) -> Result<Vec<Finding>> {
        let sealed = pages.iter().flat_map(|(tp, entries)| entries.iter().map(move |e| (*tp, *e)));
        let all = state.partitions().flat_map(|(tp, p)| p.entries().map(move |e| (tp, *e))).chain(sealed);
        let mut reads = stream::iter(all).map(|(tp, entry)| self.read_entry(tp, entry)).buffered(PARALLEL);
        let (mut findings, mut told) = (Vec::new(), BTreeSet::new());
        while let Some(found) = reads.next().await {
            if let Some((object, why)) = found
                && told.insert((object, why.clone()))
            {
                findings.push(Finding::Corrupt { key: keys::data(&object), why });
            }
        }
        Ok(findings)
    }

    async fn read_entry(&self, tp: TopicPartition, entry: Entry) -> Option<(DataObject, String)> {
        let key = keys::data(&entry.object);
        let range = entry.start..entry.start + entry.len;
        let why = match self.store.get(&key, Some(range)).await.value {
            Ok(object) => judge(&entry, &object.bytes).err()?,
            // Found above already.
            Err(ReadError::NotFound) => return None,
            Err(ReadError::Fault(fault)) => format!("cannot be read: {fault}"),
        };
        Some((entry.object, format!("{tp} from offset {}: {why}", entry.base_offset)))
    }

    async fn remove(&self, orphans: &[&Key]) -> Result<()> {
        let mut deletes = stream::iter(orphans)
            .map(
                |key| async move { self.store.delete(key).await.value.with_context(|| format!("cannot delete {key}")) },
            )
            .buffered(PARALLEL);
        while let Some(done) = deletes.next().await {
            done?;
        }
        Ok(())
    }
}

/// Whole batches, each with its CRC-32C, that take as many offsets as the entry says.
fn judge(entry: &Entry, bytes: &[u8]) -> Result<(), String> {
    if bytes.len() as u64 != entry.len {
        return Err(format!("{} bytes of {}", bytes.len(), entry.len));
    }
    let mut offsets = 0;
    for batch in batches(bytes) {
        let (header, bytes) = batch.map_err(|e| e.to_string())?;
        if !crc_matches(&header, bytes) {
            return Err("the CRC-32C of a batch does not match".into());
        }
        offsets += header.last_offset_delta as u64 + 1;
    }
    if offsets == entry.offsets { Ok(()) } else { Err(format!("{offsets} offsets of {}", entry.offsets)) }
}

#[cfg(test)]
mod tests;
