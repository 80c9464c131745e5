//! Every object that a bucket has ever held: when it came, what it held, and when it went.
//!
//! A key is written once. With deletion it may come back, by a create that was sent before and lands late; what must never
//! happen is that an object is replaced while it is there.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use lakebed_record::keys::Key;
use parking_lot::Mutex;

/// One stay of an object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub bytes: Bytes,
    /// In true time.
    pub from: Duration,
    pub until: Option<Duration>,
}

impl Life {
    /// Whether the object was there all the time from `from` on until `until` (`None`: until the end).
    pub fn covers(&self, from: Duration, until: Option<Duration>) -> bool {
        let long_enough = match (self.until, until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(gone), Some(until)) => gone >= until,
        };
        self.from <= from && long_enough
    }
}

#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<Key, Vec<Life>>>);

impl Ledger {
    pub fn created(&self, key: &Key, bytes: &Bytes, at: Duration) {
        let life = Life { bytes: bytes.clone(), from: at, until: None };
        self.0.lock().entry(key.clone()).or_default().push(life);
    }

    /// Of what is not there nothing is deleted, which is no error.
    pub fn deleted(&self, key: &Key, at: Duration) {
        if let Some(life) = self.0.lock().get_mut(key).and_then(|lives| lives.last_mut()) {
            life.until.get_or_insert(at);
        }
    }

    /// Oldest first.
    pub fn lives(&self, key: &Key) -> Vec<Life> {
        self.0.lock().get(key).cloned().unwrap_or_default()
    }

    /// What a name stood for when it was first there. A slot that was deleted and made anew by a late create is garbage.
    pub fn first(&self, key: &Key) -> Option<Life> {
        self.0.lock().get(key).and_then(|lives| lives.first()).cloned()
    }

    /// Every object that has ever been below `prefix`, in the order of their keys.
    pub fn all(&self, prefix: &str) -> Vec<(Key, Vec<Life>)> {
        let lives = self.0.lock();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let all = lives.range::<str, _>(from).take_while(|(key, _)| key.as_str().starts_with(prefix));
        all.map(|(key, lives)| (key.clone(), lives.clone())).collect()
    }

    /// What each object holds that is there now.
    pub fn living(&self) -> BTreeMap<Key, Bytes> {
        let lives = self.0.lock();
        let living = lives.iter().filter_map(|(key, l)| Some((key, l.last().filter(|l| l.until.is_none())?)));
        living.map(|(key, life)| (key.clone(), life.bytes.clone())).collect()
    }

    /// Keys that were created again with other bytes although nobody had deleted them.
    pub fn replaced(&self) -> Vec<Key> {
        let replaces = |pair: &[Life]| {
            let gone = pair[0].until.is_some_and(|until| until <= pair[1].from);
            !gone && pair[0].bytes != pair[1].bytes
        };
        let lives = self.0.lock();
        lives.iter().filter(|(_, l)| l.windows(2).any(replaces)).map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_object_is_there_from_its_creation_to_its_deletion() {
        let life = |until| Life { bytes: Bytes::new(), from: at(2), until };
        assert!(life(None).covers(at(2), None));
        assert!(!life(None).covers(at(1), None));
        assert!(life(Some(at(5))).covers(at(3), Some(at(5))));
        assert!(!life(Some(at(5))).covers(at(3), Some(at(6))));
        assert!(!life(Some(at(5))).covers(at(3), None));
    }

    #[test]
    fn an_object_may_come_back_but_not_be_replaced() {
        let ledger = Ledger::default();
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let [back, same, replaced] = ["back", "same", "replaced"].map(Key::new);
        ledger.deleted(&back, at(0));
        ledger.created(&back, &a, at(1));
        ledger.deleted(&back, at(2));
        ledger.deleted(&back, at(3));
        assert_eq!(ledger.lives(&back)[0].until, Some(at(2)), "it went once");
        assert!(ledger.living().is_empty());
        ledger.created(&back, &b, at(4));
        for (key, second) in [(&same, &a), (&replaced, &b)] {
            ledger.created(key, &a, at(1));
            ledger.created(key, second, at(2));
        }
        assert_eq!(ledger.replaced(), [replaced]);
        assert_eq!((ledger.living().get(&back), ledger.first(&back).map(|l| l.bytes)), (Some(&b), Some(a)));
        assert_eq!(ledger.lives(&back).len(), 2);
    }
}
