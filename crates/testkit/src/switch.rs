//! A value that tasks wait on, woken in the order in which they began to wait (tokio's `watch` wakes in a random order).

use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub struct Switch<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Copy> Switch<T> {
    pub fn new(value: T) -> Switch<T> {
        Switch { value: Mutex::new(value), changed: Notify::new() }
    }

    pub fn get(&self) -> T {
        *self.value.lock()
    }

    pub fn set(&self, value: T) {
        *self.value.lock() = value;
        self.changed.notify_waiters();
    }

    /// Returns the value once it is as wanted.
    pub async fn when(&self, wanted: impl Fn(T) -> bool) -> T {
        loop {
            let changed = self.changed.notified();
            let value = self.get();
            if wanted(value) {
                return value;
            }
            changed.await;
        }
    }
}
