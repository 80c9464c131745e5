//! Store operations off the commit path, tried again until they are settled or a bounded number of tries is used up.

use std::time::Duration;

use lakebed_record::keys::Key;
use lakebed_store::env::Env;
use lakebed_store::own::{self, Stored};
use lakebed_store::{Body, Fault, FaultKind, Object, ReadError, Store};

const TRIES: u32 = 8;

/// The store did not settle the operation.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GaveUp {
    #[error("{key}: {fault}")]
    Fault { key: Key, fault: Fault },
    #[error("{0}: no such object")]
    NotFound(Key),
    #[error("{0}: an object of this name exists with another length")]
    Foreign(Key),
}

fn backoff(tries: u32) -> Duration {
    Duration::from_millis(50 << tries.min(6))
}

fn hopeless(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Denied | FaultKind::Other)
}

/// Reads a whole object.
pub async fn get(store: &dyn Store, env: &Env, key: &Key) -> Result<Object, GaveUp> {
    let mut tries = 0;
    loop {
        let fault = match store.get(key, None).await.value {
            Ok(object) if object.bytes.len() as u64 == object.meta.total_len => return Ok(object),
            Ok(_) => ended_early(key),
            Err(ReadError::NotFound) => return Err(GaveUp::NotFound(key.clone())),
            Err(ReadError::Fault(fault)) => fault,
        };
        tries += 1;
        if tries == TRIES || hopeless(&fault) {
            return Err(GaveUp::Fault { key: key.clone(), fault });
        }
        env.clock.sleep(backoff(tries)).await;
    }
}

/// Creates an object under a name that only this process uses.
pub async fn create(store: &dyn Store, env: &Env, key: &Key, body: &Body) -> Result<(), GaveUp> {
    let mut tries = 0;
    loop {
        let fault = match own::create(store, key, body).await {
            Stored::Yes => return Ok(()),
            Stored::Foreign => return Err(GaveUp::Foreign(key.clone())),
            Stored::Unknown(fault) => fault,
        };
        tries += 1;
        if tries == TRIES || hopeless(&fault) {
            return Err(GaveUp::Fault { key: key.clone(), fault });
        }
        env.clock.sleep(backoff(tries)).await;
    }
}

fn ended_early(key: &Key) -> Fault {
    Fault { kind: FaultKind::Server, message: format!("{key}: the store sent less than it announced") }
}
