//! What every store and every decorator has to pass: the contract of [`Store`] as assertions.
//!
//! The caller gives an empty or a shared store, but none that matters: keys are drawn at random and deletes of FORMAT and
//! CURRENT are tried.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use lakebed_record::keys::{self, Key};

use crate::env::Env;
use crate::probe::probe;
use crate::{Body, Created, FaultKind, Listed, Meta, Object, PAGE, ReadError, Store, Swapped, Version};

/// Runs every case.
///
/// # Panics
/// With the broken rule, if the store breaks one or does not answer.
pub async fn run(store: Arc<dyn Store>, env: &Env) {
    let suite = Suite { store, run: env.entropy.u64(), env: env.clone() };
    suite.objects_come_back_as_they_were().await;
    suite.missing_objects().await;
    suite.ranges().await;
    suite.a_create_happens_once().await;
    suite.swaps_compare().await;
    suite.creates_and_swaps_of_one_key().await;
    suite.racing_increments_add_up().await;
    suite.many_keys_at_once().await;
    suite.deletes().await;
    suite.creates_and_deletes_of_one_key().await;
    suite.swaps_and_deletes_of_one_key().await;
    suite.format_and_current_are_spared().await;
    suite.lists().await;
    if let Err(broken) = probe(&*suite.store, env).await {
        panic!("the probe refuses the store: {broken}");
    }
}

struct Suite {
    store: Arc<dyn Store>,
    run: u64,
    env: Env,
}

impl Suite {
    async fn objects_come_back_as_they_were(&self) {
        let big = Bytes::from_iter((0..3_000_000u32).map(|i| (i % 253) as u8));
        let pieces = [0..1, 1..1, 1..70_000, 70_000..2_000_000, 2_000_000..3_000_000];
        let bodies = [
            ("empty", Body::default()),
            ("small", text("a")),
            ("rope", Body::new(pieces.map(|p| big.slice(p)).to_vec())),
            ("many-pieces", Body::new((0..3_000).map(|i| big.slice(i * 10..i * 10 + 10)).collect())),
        ];
        for (name, body) in bodies {
            let key = self.key(name);
            let created = self.store.create(&key, &body).await;
            assert!(matches!(created.value, Created::Yes), "{name}: {created:?}");
            assert!(created.date_ms.is_some(), "{name}: a reply without a Date");
            let object = self.get(&key).await.expect(name);
            assert!(object.bytes == body.to_bytes(), "{name}: other bytes came back");
            let meta = self.head(&key).await.expect(name);
            assert_eq!(meta.total_len, body.len(), "{name}");
            assert_eq!(object.meta.total_len, body.len(), "{name}");
            assert_eq!(object.meta.version, meta.version, "{name}");
        }
    }

    async fn missing_objects(&self) {
        let key = self.key("missing");
        assert!(self.get(&key).await.is_none());
        assert!(self.head(&key).await.is_none());
        let ranged = self.store.get(&key, Some(0..10)).await;
        assert!(matches!(ranged.value, Err(ReadError::NotFound)), "{ranged:?}");
        assert!(ranged.date_ms.is_some(), "a 404 without a Date");
        let swapped = self.store.swap(&key, Some(&Version("\"0\"".into())), &text("x")).await.value;
        assert!(!matches!(swapped, Swapped::Yes(_)), "swapped what is not there");
        assert!(self.get(&key).await.is_none(), "a refused swap created the object");
    }

    async fn ranges(&self) {
        let key = self.key("range");
        let body = Body::new(["0123", "4567", "89"].map(|s| Bytes::from_static(s.as_bytes())).to_vec());
        self.create(&key, &body).await;
        let empty = self.key("range-empty");
        self.create(&empty, &Body::default()).await;
        let cases = [
            (0..10, "0123456789"),
            (0..4, "0123"),
            (3..5, "34"),
            (9..10, "9"),
            (8..100, "89"),
            (5..5, ""),
            (10..11, ""),
            (100..200, ""),
        ];
        for (range, expected) in cases {
            let reply = self.store.get(&key, Some(range.clone())).await;
            let object = reply.value.unwrap_or_else(|e| panic!("{range:?}: {e}"));
            assert_eq!(object.bytes, expected, "{range:?}");
            assert_eq!(object.meta.total_len, 10, "{range:?}");
            assert!(reply.date_ms.is_some(), "{range:?}");
        }
        let object = self.store.get(&empty, Some(0..10)).await.value.expect("an empty object");
        assert_eq!((object.bytes.len(), object.meta.total_len), (0, 0));
    }

    async fn a_create_happens_once(&self) {
        let key = self.key("once");
        self.create(&key, &text("first")).await;
        let before = self.head(&key).await.expect("just created");
        for again in ["first", "second"] {
            let reply = self.store.create(&key, &text(again)).await;
            assert!(matches!(reply.value, Created::Exists), "{reply:?}");
            assert!(reply.date_ms.is_some(), "a 412 without a Date");
        }
        let after = self.get(&key).await.expect("still there");
        assert_eq!(after.bytes, "first");
        assert_eq!(after.meta.version, before.version);
    }

    async fn swaps_compare(&self) {
        let key = self.key("swap");
        let v1 = self.swap(&key, None, "one").await.expect("created");
        assert!(self.swap(&key, None, "other").await.is_none(), "created twice");
        assert_eq!(self.head(&key).await.expect("there").version, v1);
        let v2 = self.swap(&key, Some(&v1), "two").await.expect("swapped");
        assert_ne!(v1, v2);
        assert!(self.swap(&key, Some(&v1), "three").await.is_none(), "swapped from an outdated version");
        let now = self.get(&key).await.expect("there");
        assert_eq!((now.bytes.as_ref(), &now.meta.version), (b"two".as_ref(), &v2));
        // Content of other lengths, in quick succession: every version differs from all before.
        let mut seen = BTreeSet::from([v1.0.to_string(), v2.0.to_string()]);
        let mut version = v2;
        for i in 0..20 {
            version = self.swap(&key, Some(&version), &format!("value {i}")).await.expect("swapped");
            assert!(seen.insert(version.0.to_string()), "a version came back");
        }
    }

    async fn creates_and_swaps_of_one_key(&self) {
        let key = self.key("both");
        self.create(&key, &text("created")).await;
        assert!(self.swap(&key, None, "swapped in").await.is_none(), "a swap created what exists");
        let version = self.head(&key).await.expect("created").version;
        let next = self.swap(&key, Some(&version), "swapped").await.expect("a created object can be swapped");
        assert!(matches!(self.store.create(&key, &text("late")).await.value, Created::Exists));
        assert_eq!(self.get(&key).await.expect("there").meta.version, next);
    }

    /// A counter raised by compare-and-swap from several tasks loses no step.
    async fn racing_increments_add_up(&self) {
        const TASKS: usize = 4;
        const STEPS: usize = 5;
        let key = self.key("counter");
        self.swap(&key, None, "n 0").await.expect("created");
        let tasks = (0..TASKS).map(|_| async {
            for _ in 0..STEPS {
                loop {
                    let now = self.get(&key).await.expect("the counter");
                    let n: usize = std::str::from_utf8(&now.bytes[2..]).unwrap().parse().unwrap();
                    if self.swap(&key, Some(&now.meta.version), &format!("n {}", n + 1)).await.is_some() {
                        break;
                    }
                }
            }
        });
        join_all(tasks).await;
        assert_eq!(self.get(&key).await.expect("the counter").bytes, format!("n {}", TASKS * STEPS));
    }

    async fn many_keys_at_once(&self) {
        let keys: Vec<_> = (0..64).map(|i| self.key(&format!("many-{i}"))).collect();
        let bodies: Vec<_> = keys.iter().map(|k| text(k.as_str())).collect();
        join_all(keys.iter().zip(&bodies).map(|(k, b)| self.create(k, b))).await;
        let objects = join_all(keys.iter().map(|k| self.get(k))).await;
        for (key, object) in keys.iter().zip(objects) {
            assert_eq!(object.expect("just created").bytes, key.as_str());
        }
    }

    async fn deletes(&self) {
        let key = self.key("delete");
        self.delete(&key).await;
        assert!(self.get(&key).await.is_none());
        self.create(&key, &text("first")).await;
        let before = self.head(&key).await.expect("just created");
        self.delete(&key).await;
        assert!(self.get(&key).await.is_none(), "read after it was deleted");
        assert!(self.head(&key).await.is_none(), "seen after it was deleted");
        let swapped = self.store.swap(&key, Some(&before.version), &text("x")).await.value;
        assert!(!matches!(swapped, Swapped::Yes(_)), "swapped what was deleted");
        self.delete(&key).await;
        // Last-Modified may have steps of a second.
        self.env.clock.sleep(Duration::from_millis(1_100)).await;
        self.create(&key, &text("second")).await;
        let after = self.get(&key).await.expect("created again");
        assert_eq!(after.bytes, "second");
        assert!(after.meta.last_modified_ms > before.last_modified_ms, "{before:?} and then {:?}", after.meta);
    }

    /// Whoever reads meanwhile gets one of the objects, whole, or none; or no answer, as servers drop a request over such
    /// a race (S3 answers 409 to a write). LocalStack 4.13 may keep a lock of a key that was read while it was deleted, and
    /// answers no PUT of it any more; Lakebed writes no key again after its delete.
    async fn creates_and_deletes_of_one_key(&self) {
        const ROUNDS: usize = 8;
        let key = self.key("create-delete");
        let bodies = ["a", "b"].map(|c| text(&c.repeat(100_000)));
        let creators = bodies.iter().map(|body| async {
            for _ in 0..ROUNDS {
                if timed_out(&self.store.create(&key, body).await.value) {
                    break;
                }
            }
        });
        let deleter = async {
            for _ in 0..ROUNDS {
                let _ = self.store.delete(&key).await.value;
            }
        };
        let reader = async {
            for _ in 0..ROUNDS {
                if let Ok(object) = self.store.get(&key, None).await.value {
                    assert!(bodies.iter().any(|b| b.to_bytes() == object.bytes), "an object in part");
                }
                if let Ok(meta) = self.store.head(&key).await.value {
                    assert_eq!(meta.total_len, 100_000);
                }
            }
        };
        futures_util::future::join3(join_all(creators), deleter, reader).await;
        self.delete(&key).await;
        assert!(self.get(&key).await.is_none());
        let created = self.store.create(&key, &bodies[0]).await.value;
        if !timed_out(&created) {
            assert!(matches!(created, Created::Yes), "{key}: {created:?}");
            assert!(self.get(&key).await.expect("just created").bytes == bodies[0].to_bytes());
        }
    }

    /// A swap does not bring back what was deleted before it answered.
    async fn swaps_and_deletes_of_one_key(&self) {
        for round in 0..8 {
            let key = self.key(&format!("swap-delete-{round}"));
            let version = self.swap(&key, None, "one").await.expect("created");
            let body = text("two");
            let swap = self.store.swap(&key, Some(&version), &body);
            let (swapped, deleted) = futures_util::future::join(swap, self.store.delete(&key)).await;
            if let (Swapped::Yes(_) | Swapped::Mismatch, Ok(())) = (&swapped.value, &deleted.value) {
                let left = self.get(&key).await;
                assert!(left.is_none(), "{left:?} was there after a delete; the swap: {swapped:?}");
            }
        }
    }

    async fn format_and_current_are_spared(&self) {
        for key in [keys::format(), keys::current()] {
            let refused = self.store.delete(&key).await.value;
            assert!(matches!(&refused, Err(fault) if fault.kind == FaultKind::Other), "{key}: {refused:?}");
        }
    }

    async fn lists(&self) {
        let root = self.key("list").to_string();
        // In byte order, in which a slash comes after '-' and '.' and before digits and letters.
        let names = ["A", "a-b", "a.c", "a/1", "a/10", "a/2/x", "a/2/y", "a/2-z", "a/3", "a0", "a_", "b/c/d"];
        let mut keys: Vec<_> = names.iter().map(|n| Key::new(format!("{root}/{n}"))).collect();
        let bodies: Vec<_> = (0..keys.len()).map(|i| text(&"x".repeat(i))).collect();
        join_all(keys.iter().zip(&bodies).rev().map(|(k, b)| self.create(k, b))).await;
        keys.sort();
        let under = |prefix: &str| {
            let prefix = format!("{root}/{prefix}");
            keys.iter().filter(|k| k.as_str().starts_with(&prefix)).cloned().collect::<Vec<_>>()
        };
        for prefix in ["", "a", "a/", "a/1", "a/10", "a/2", "a/2/", "A", "b/c/d", "c", "a/1/"] {
            let listed = self.list(&format!("{root}/{prefix}"), None).await;
            assert_eq!(names_of(&listed), under(prefix), "{prefix:?}");
        }
        assert_eq!(names_of(&self.list(&root[..root.len() - 2], None).await).len(), keys.len());
        for listed in self.list(&format!("{root}/"), None).await {
            let meta = self.head(&listed.key).await.expect("listed");
            assert_eq!(listed.len, meta.total_len, "{listed:?}");
            // One of them may be rounded to a second.
            assert!((listed.last_modified_ms - meta.last_modified_ms).abs() < 1_000, "{listed:?} and {meta:?}");
        }
        let between = ["a", "a/1", "a/11", "a/2", "a/2/x", "a/9", "b", "z"];
        for after in between.map(|n| Key::new(format!("{root}/{n}"))) {
            let rest: Vec<_> = keys.iter().filter(|k| **k > after).cloned().collect();
            let listed = self.list(&format!("{root}/"), Some(&after)).await;
            assert_eq!(names_of(&listed), rest, "after {after}");
        }
        let gone = under("a/2/");
        join_all(gone.iter().map(|k| self.delete(k))).await;
        let listed = names_of(&self.list(&format!("{root}/"), None).await);
        assert!(listed.len() == keys.len() - gone.len() && !gone.iter().any(|k| listed.contains(k)), "{listed:?}");
        assert!(self.list(&format!("{root}/a/2/"), None).await.is_empty());
    }

    /// All pages.
    async fn list(&self, prefix: &str, after: Option<&Key>) -> Vec<Listed> {
        let mut all: Vec<Listed> = Vec::new();
        loop {
            let after = all.last().map(|l| &l.key).or(after);
            let reply = self.store.list(prefix, after).await;
            assert!(reply.date_ms.is_some(), "a list without a Date");
            let page = reply.value.unwrap_or_else(|fault| panic!("{prefix}: {fault}"));
            assert!(page.objects.len() <= PAGE, "a page of {}", page.objects.len());
            assert!(!page.more || !page.objects.is_empty(), "an empty page that is not the last");
            all.extend(page.objects);
            if !page.more {
                return all;
            }
        }
    }

    async fn delete(&self, key: &Key) {
        let reply = self.store.delete(key).await;
        assert!(reply.value.is_ok(), "{key}: {reply:?}");
        assert!(reply.date_ms.is_some(), "a delete without a Date");
    }

    async fn create(&self, key: &Key, body: &Body) {
        let reply = self.store.create(key, body).await;
        assert!(matches!(reply.value, Created::Yes), "{key}: {reply:?}");
    }

    async fn swap(&self, key: &Key, expected: Option<&Version>, content: &str) -> Option<Version> {
        match self.store.swap(key, expected, &text(content)).await.value {
            Swapped::Yes(version) => Some(version),
            Swapped::Mismatch => None,
            Swapped::Unknown(fault) => panic!("{key}: {fault}"),
        }
    }

    async fn get(&self, key: &Key) -> Option<Object> {
        found(key, self.store.get(key, None).await.value)
    }

    async fn head(&self, key: &Key) -> Option<Meta> {
        found(key, self.store.head(key).await.value)
    }

    fn key(&self, name: &str) -> Key {
        keys::probe(self.run, &format!("conformance-{name}"))
    }
}

fn names_of(listed: &[Listed]) -> Vec<Key> {
    listed.iter().map(|l| l.key.clone()).collect()
}

fn timed_out(created: &Created) -> bool {
    matches!(created, Created::Unknown(fault) if fault.kind == FaultKind::Timeout)
}

fn found<T>(key: &Key, value: Result<T, ReadError>) -> Option<T> {
    match value {
        Ok(found) => Some(found),
        Err(ReadError::NotFound) => None,
        Err(ReadError::Fault(fault)) => panic!("{key}: {fault}"),
    }
}

fn text(content: &str) -> Body {
    Body::from(Bytes::copy_from_slice(content.as_bytes()))
}
