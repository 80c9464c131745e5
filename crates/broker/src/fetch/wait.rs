//! Long polls: who waits for which partition. Waiters are told in the order in which they came.

use std::collections::HashMap;
use std::sync::Arc;

use lakebed_record::TopicPartition;
use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub struct Waiters {
    partitions: Mutex<HashMap<TopicPartition, Vec<Arc<Notify>>>>,
}

/// Somebody waits; dropping ends it.
#[derive(Debug)]
pub struct Waiting<'a> {
    waiters: &'a Waiters,
    partitions: Vec<TopicPartition>,
    told: Arc<Notify>,
}

impl Waiters {
    pub fn register(&self, partitions: Vec<TopicPartition>) -> Waiting<'_> {
        let told = Arc::new(Notify::new());
        let mut map = self.partitions.lock();
        for tp in &partitions {
            map.entry(*tp).or_default().push(Arc::clone(&told));
        }
        drop(map);
        Waiting { waiters: self, partitions, told }
    }

    /// The partitions have changed. A waiter that is not waiting right now finds out when it next does.
    pub fn wake(&self, partitions: &[TopicPartition]) {
        let map = self.partitions.lock();
        if map.is_empty() {
            return;
        }
        partitions.iter().filter_map(|tp| map.get(tp)).flatten().for_each(|told| told.notify_one());
    }
}

impl Waiting<'_> {
    /// Returns once a partition has changed since registration or since the last return.
    pub async fn changed(&self) {
        self.told.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut map = self.waiters.partitions.lock();
        for tp in &self.partitions {
            if let Some(waiting) = map.get_mut(tp) {
                waiting.retain(|told| !Arc::ptr_eq(told, &self.told));
                if waiting.is_empty() {
                    map.remove(tp);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn tells_those_who_wait_for_the_partition() {
        let waiters = Waiters::default();
        let tp = |n| TopicPartition::new(lakebed_record::TopicId(1), n);
        let both = waiters.register(vec![tp(0), tp(1)]);
        let one = waiters.register(vec![tp(1)]);
        waiters.wake(&[tp(0), tp(7)]);
        assert!(both.changed().now_or_never().is_some());
        assert!(both.changed().now_or_never().is_none());
        assert!(one.changed().now_or_never().is_none());
        waiters.wake(&[tp(1)]);
        assert!(both.changed().now_or_never().is_some());
        assert!(one.changed().now_or_never().is_some());
        drop((both, one));
        assert!(waiters.partitions.lock().is_empty());
    }
}
