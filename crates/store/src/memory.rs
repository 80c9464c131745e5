//! Objects in memory: for tests, simulations, and `--store memory://`.
//!
//! Keeps the pieces it was given, copies nothing on the way in, and on the way out only where a range spans pieces.
//! Every operation happens at one instant under a lock and never fails. A crash loses everything.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

use lakebed_record::keys::Key;
use parking_lot::RwLock;

use crate::env::{Clock, Env};
use crate::{
    Body, BoxFuture, Created, Fault, Listed, Listing, Meta, Object, PAGE, ReadError, Reply, Store, StoreKind, Swapped,
    Version, spared,
};

/// One bucket in memory. Nodes of one process share it behind an `Arc`.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    objects: RwLock<BTreeMap<Key, Stored>>,
    page: usize,
}

struct Stored {
    body: Body,
    /// Counts the writes of this key.
    generation: u64,
    last_modified_ms: i64,
}

impl MemoryStore {
    /// `env` gives the clock behind `Date` and Last-Modified.
    pub fn new(env: &Env) -> MemoryStore {
        MemoryStore { clock: env.clock.clone(), objects: RwLock::default(), page: PAGE }
    }

    /// All keys, in order: for tests that look at what a run left behind.
    pub fn keys(&self) -> Vec<Key> {
        self.objects.read().keys().cloned().collect()
    }

    /// Bytes held by all objects.
    pub fn total_bytes(&self) -> u64 {
        self.objects.read().values().map(|o| o.body.len()).sum()
    }

    fn now(&self) -> i64 {
        self.clock.wall_ms()
    }

    fn put(&self, key: &Key, body: &Body, expected: Option<&Version>, date_ms: i64) -> Option<Version> {
        let mut objects = self.objects.write();
        let generation = match (objects.get(key), expected) {
            (None, None) => 1,
            (Some(stored), Some(version)) if stored.version() == *version => stored.generation + 1,
            _ => return None,
        };
        let stored = Stored { body: body.clone(), generation, last_modified_ms: date_ms };
        let version = stored.version();
        objects.insert(key.clone(), stored);
        Some(version)
    }

    fn page(&self, prefix: &str, after: Option<&Key>) -> Listing {
        let objects = self.objects.read();
        let from = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        let rest =
            objects.range::<str, _>((from, Bound::Unbounded)).take_while(|(k, _)| k.as_str().starts_with(prefix));
        let listed = |(key, stored): (&Key, &Stored)| Listed {
            key: key.clone(),
            len: stored.body.len(),
            last_modified_ms: stored.last_modified_ms,
        };
        let mut rest = rest.map(listed).fuse();
        let objects = rest.by_ref().take(self.page).collect();
        Listing { objects, more: rest.next().is_some() }
    }

    fn read<T>(&self, key: &Key, of: impl FnOnce(&Stored) -> T) -> Reply<Result<T, ReadError>> {
        let date_ms = Some(self.now());
        let value = self.objects.read().get(key).map(of).ok_or(ReadError::NotFound);
        Reply { value, date_ms }
    }
}

impl Stored {
    fn version(&self) -> Version {
        Version(self.generation.to_string().into())
    }

    fn meta(&self) -> Meta {
        Meta { total_len: self.body.len(), version: self.version(), last_modified_ms: self.last_modified_ms }
    }
}

impl Store for MemoryStore {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(async move {
            let date_ms = self.now();
            let value = self.put(key, body, None, date_ms).map_or(Created::Exists, |_| Created::Yes);
            Reply { value, date_ms: Some(date_ms) }
        })
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(async move {
            let found = self.read(key, |stored| (stored.body.clone(), stored.meta()));
            let value = found.value.map(|(body, meta)| {
                let bytes = range.map_or_else(|| body.to_bytes(), |r| body.slice(r));
                Object { bytes, meta }
            });
            Reply { value, date_ms: found.date_ms }
        })
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(async move { self.read(key, Stored::meta) })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(async move {
            let date_ms = self.now();
            let value = self.put(key, body, expected, date_ms).map_or(Swapped::Mismatch, Swapped::Yes);
            Reply { value, date_ms: Some(date_ms) }
        })
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        Box::pin(async move {
            let date_ms = Some(self.now());
            let value = match spared(key) {
                Some(fault) => Err(fault),
                None => {
                    self.objects.write().remove(key);
                    Ok(())
                }
            };
            Reply { value, date_ms }
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        Box::pin(async move {
            let date_ms = Some(self.now());
            Reply { value: Ok(self.page(prefix, after)), date_ms }
        })
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Memory
    }

    fn refuses_short_bodies(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        let env = Env::system();
        crate::conformance::run(Arc::new(MemoryStore::new(&env)), &env).await;
    }

    #[tokio::test]
    async fn lists_page_by_page() {
        let env = Env::system();
        let store = MemoryStore { page: 3, ..MemoryStore::new(&env) };
        crate::conformance::run(Arc::new(store), &env).await;
    }

    #[tokio::test]
    async fn a_page_holds_a_thousand_objects() {
        let store = MemoryStore::new(&Env::system());
        for i in 0..1_001 {
            store.create(&Key::new(format!("a/{i:04}")), &Body::default()).await;
        }
        let first = store.list("a/", None).await.value.unwrap();
        assert!(first.more && first.objects.len() == 1_000);
        let rest = store.list("a/", Some(&first.objects[999].key)).await.value.unwrap();
        assert_eq!((rest.objects.len(), rest.objects[0].key.as_str(), rest.more), (1, "a/1000", false));
        // A page that ends with the last object is the last one.
        store.delete(&rest.objects[0].key).await.value.unwrap();
        assert!(!store.list("a/", None).await.value.unwrap().more);
    }

    #[tokio::test]
    async fn last_modified_is_told_by_the_clock_that_was_passed_in() {
        struct Fixed;
        impl Clock for Fixed {
            fn monotonic(&self) -> std::time::Duration {
                std::time::Duration::ZERO
            }
            fn wall_ms(&self) -> i64 {
                42
            }
            fn sleep<'a>(&'a self, _: std::time::Duration) -> BoxFuture<'a, ()> {
                Box::pin(async {})
            }
        }
        let store = MemoryStore::new(&Env { clock: Arc::new(Fixed), ..Env::system() });
        let key = Key::new("a");
        store.create(&key, &Body::default()).await;
        assert_eq!(store.head(&key).await.value.unwrap().last_modified_ms, 42);
        assert_eq!(store.list("", None).await.value.unwrap().objects[0].last_modified_ms, 42);
    }

    #[tokio::test]
    async fn a_range_within_one_piece_is_not_copied() {
        let env = Env::system();
        let store = MemoryStore::new(&env);
        let pieces = vec![bytes::Bytes::from_static(b"0123"), bytes::Bytes::from_static(b"4567")];
        let body = Body::new(pieces.clone());
        let key = Key::new("a");
        store.create(&key, &body).await;
        let object = store.get(&key, Some(5..7)).await.value.unwrap();
        assert_eq!(object.bytes.as_ptr(), pieces[1][1..].as_ptr());
        assert_eq!((store.keys(), store.total_bytes()), (vec![key], 8));
    }
}
