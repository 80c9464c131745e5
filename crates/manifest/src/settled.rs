//! Store operations off the commit path, tried again until they are settled.
//!
//! What may pass (time-outs, throttling, 5xx) is waited for with a pause that grows, up to [`LONGEST_PAUSE`], and differs between
//! callers. Start-up and commands give up after some ten seconds with what the store said; background work, of which giving up
//! would lose what it has done so far, never does: whoever stops waiting drops it. What an operator has to mend ends both at once.

use std::time::Duration;

use lakebed_record::keys::Key;
use lakebed_store::env::Env;
use lakebed_store::own::{self, Stored};
use lakebed_store::{Body, Fault, FaultKind, Object, ReadError, Store};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const FEW: u32 = 8;

/// How often an operation is tried that the store does not settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    Few,
    Endless,
}

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

/// Reads a whole object.
pub async fn get(store: &dyn Store, env: &Env, key: &Key, tries: Tries) -> Result<Object, GaveUp> {
    let mut again = Again::new(key, env, tries);
    loop {
        let fault = match store.get(key, None).await.value {
            Ok(object) if object.bytes.len() as u64 == object.meta.total_len => return Ok(object),
            Ok(_) => ended_early(key),
            Err(ReadError::NotFound) => return Err(GaveUp::NotFound(key.clone())),
            Err(ReadError::Fault(fault)) => fault,
        };
        again.after(fault).await?;
    }
}

/// Creates an object under a name that only this process uses. Background work: tried for as long as it may pass.
pub async fn create(store: &dyn Store, env: &Env, key: &Key, body: &Body) -> Result<(), GaveUp> {
    let mut again = Again::new(key, env, Tries::Endless);
    loop {
        match own::create(store, key, body).await {
            Stored::Yes => return Ok(()),
            Stored::Foreign => return Err(GaveUp::Foreign(key.clone())),
            Stored::Unknown(fault) => again.after(fault).await?,
        }
    }
}

/// Deletes an object. Background work, as above.
pub async fn delete(store: &dyn Store, env: &Env, key: &Key) -> Result<(), GaveUp> {
    let mut again = Again::new(key, env, Tries::Endless);
    while let Err(fault) = store.delete(key).await.value {
        again.after(fault).await?;
    }
    Ok(())
}

struct Again<'a> {
    key: &'a Key,
    env: &'a Env,
    tries: Tries,
    failed: u32,
}

impl<'a> Again<'a> {
    fn new(key: &'a Key, env: &'a Env, tries: Tries) -> Again<'a> {
        Again { key, env, tries, failed: 0 }
    }

    /// Waits before the next try, or gives up.
    async fn after(&mut self, fault: Fault) -> Result<(), GaveUp> {
        self.failed += 1;
        let hopeless = matches!(fault.kind, FaultKind::Denied | FaultKind::Other);
        if hopeless || self.tries == Tries::Few && self.failed == FEW {
            return Err(GaveUp::Fault { key: self.key.clone(), fault });
        }
        if self.failed == FEW {
            tracing::warn!(key = %self.key, %fault, "the store does not settle this; trying on");
        }
        self.env.clock.sleep(pause(self.failed, self.env.entropy.u64())).await;
        Ok(())
    }
}

/// Doubles with each try; half of it by chance, so that many callers do not come back at one time.
fn pause(failed: u32, chance: u64) -> Duration {
    let most = LONGEST_PAUSE.min(FIRST_PAUSE * (1 << failed.min(16)) / 2);
    most / 2 + (most / 2).mul_f64((chance >> 11) as f64 / (1_u64 << 53) as f64)
}

fn ended_early(key: &Key) -> Fault {
    Fault { kind: FaultKind::Server, message: format!("{key}: the store sent less than it announced") }
}

#[cfg(test)]
mod tests;
