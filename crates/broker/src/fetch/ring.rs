//! The objects that this node wrote or read whole most recently, by reference: what consumers at the tail want. Bounded
//! in bytes, the oldest goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use lakebed_record::DataObject;
use parking_lot::Mutex;

use super::rope::Rope;

#[derive(Debug)]
pub struct Ring {
    capacity: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: HashMap<DataObject, Arc<Rope>>,
    order: VecDeque<DataObject>,
    bytes: u64,
}

impl Ring {
    /// `capacity` in bytes.
    pub fn new(capacity: u64) -> Ring {
        Ring { capacity, inner: Mutex::default() }
    }

    /// The whole object, from its first byte.
    pub fn insert(&self, object: DataObject, chunks: Vec<Bytes>) {
        let rope = Rope::new(0, chunks);
        if rope.end() > self.capacity {
            return;
        }
        // Freed after the lock is released: dropping megabytes takes time.
        let mut evicted = Vec::new();
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        inner.bytes += rope.end();
        match inner.objects.insert(object, Arc::new(rope)) {
            Some(before) => inner.bytes -= before.end(),
            None => inner.order.push_back(object),
        }
        while inner.bytes > self.capacity
            && let Some(oldest) = inner.order.pop_front()
        {
            let rope = inner.objects.remove(&oldest);
            inner.bytes -= rope.as_ref().map_or(0, |r| r.end());
            evicted.push(rope);
        }
        drop(guard);
    }

    pub fn get(&self, object: &DataObject) -> Option<Arc<Rope>> {
        self.inner.lock().objects.get(object).cloned()
    }

    pub fn bytes(&self) -> u64 {
        self.inner.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use lakebed_record::Slot;

    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let ring = Ring::new(100);
        let object = |n| DataObject::Inline(Slot(n));
        for n in 1..=5 {
            ring.insert(object(n), vec![Bytes::from(vec![n as u8; 30])]);
        }
        let held: Vec<u64> = (1..=5).filter(|n| ring.get(&object(*n)).is_some()).collect();
        assert_eq!(held, [3, 4, 5]);
        assert_eq!(ring.bytes(), 90);
        ring.insert(object(9), vec![Bytes::from(vec![0; 101])]);
        assert_eq!(ring.bytes(), 90, "what does not fit does not evict the rest");
        ring.insert(object(5), vec![Bytes::from(vec![0; 10])]);
        assert_eq!(ring.bytes(), 70);
    }
}
