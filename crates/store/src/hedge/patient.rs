//! The same store for work that nobody waits for.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use lakebed_record::keys::Key;

use super::Hedged;
use crate::{
    Body, BoxFuture, Created, Fault, Listing, Meta, Object, ReadError, Reply, Store, StoreKind, Swapped, Version,
};

/// The longest that an object waits for a throttling store to be calm again: what makes the state smaller must go on.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Sends nothing twice, is not measured with requests that are waited for, and leaves writes to them while the store throttles.
pub struct Patient(Arc<Hedged>);

impl Patient {
    pub fn new(hedged: Arc<Hedged>) -> Patient {
        Patient(hedged)
    }

    async fn calm(&self) {
        let calm_at = *self.0.calm_until.lock();
        let wait = calm_at.saturating_sub(self.0.env.clock.monotonic()).min(LONGEST_WAIT);
        if !wait.is_zero() {
            self.0.env.clock.sleep(wait).await;
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Patient {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(async move {
            self.calm().await;
            self.0.noted(self.0.store.create(key, body).await)
        })
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(async move { self.0.noted(self.0.store.get(key, range).await) })
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        self.0.head(key)
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        self.0.swap(key, expected, body)
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        self.0.delete(key)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        self.0.list(prefix, after)
    }

    fn kind(&self) -> StoreKind {
        self.0.kind()
    }

    fn refuses_short_bodies(&self) -> bool {
        self.0.refuses_short_bodies()
    }
}
