//! Keeps the answer to "does the store work?" current: one small GET every few seconds, whatever else is going on, and a
//! look at how writes ended since the last one. A store may answer every question well and take nothing: a full disk.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lakebed_record::keys;
use lakebed_store::Store;
use lakebed_store::env::Env;
use lakebed_store::metered::{Metered, Operation, Outcome, Snapshot};

/// Readiness must not be older than 5 s.
const EVERY: Duration = Duration::from_secs(4);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Cheap to clone; clones share what was found.
#[derive(Clone)]
pub struct Probe {
    store: Arc<Metered>,
    env: Env,
    /// What the store said when it last refused a write, if none has succeeded since.
    unwritable: Arc<Mutex<Option<String>>>,
}

/// Creates so far, by whether the store took or refused them. A key that was taken is an answer, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Writes {
    well: u64,
    faulty: u64,
}

/// How writes went between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    Well,
    Badly,
    /// Nothing ended: nothing is known.
    Unknown,
}

impl Writes {
    fn of(snapshot: &Snapshot) -> Writes {
        let sum = |well| {
            let of = |outcome: Outcome| outcome.answered() == Some(well);
            let counts = snapshot.counts.iter().filter(|(op, o, _)| *op == Operation::Create && of(*o));
            counts.map(|(.., count)| count.requests).sum()
        };
        Writes { well: sum(true), faulty: sum(false) }
    }

    fn since(self, before: Writes) -> Went {
        match (self.well > before.well, self.faulty > before.faulty) {
            (true, _) => Went::Well,
            (false, true) => Went::Badly,
            (false, false) => Went::Unknown,
        }
    }
}

impl Probe {
    pub fn new(store: Arc<Metered>, env: Env) -> Probe {
        Probe { store, env, unwritable: Arc::default() }
    }

    pub fn store(&self) -> &Metered {
        &self.store
    }

    /// Why nothing can be written, as far as that was tried lately.
    pub fn unwritable(&self) -> Option<String> {
        self.unwritable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for ever. Logs when the store goes away and when it comes back.
    pub async fn watch(self) {
        let mut away = false;
        let mut writes = Writes::of(&self.store.snapshot());
        loop {
            self.env.clock.sleep(EVERY).await;
            let now = self.store.snapshot();
            let before = std::mem::replace(&mut writes, Writes::of(&now));
            self.judge(writes.since(before), now.health.last_fault);
            let answers = self.answers().await;
            let bad = !answers || self.unwritable().is_some();
            if bad && !away {
                let fault =
                    self.unwritable().or(self.store.health().last_fault).unwrap_or_else(|| "no answer".to_owned());
                tracing::warn!(fault, "the store does not work: clients wait, nothing is acknowledged");
            } else if away && !bad {
                tracing::info!("the store works again");
            }
            away = bad;
        }
    }

    fn judge(&self, went: Went, fault: Option<String>) {
        let mut unwritable = self.unwritable.lock().unwrap_or_else(PoisonError::into_inner);
        match went {
            Went::Well => *unwritable = None,
            Went::Badly => *unwritable = Some(fault.unwrap_or_default()),
            Went::Unknown => {}
        }
    }

    /// FORMAT is small, never changes, and is there once a node is up.
    async fn answers(&self) -> bool {
        let key = keys::format();
        tokio::select! {
            reply = self.store.get(&key, None) => reply.value.is_ok(),
            () = self.env.clock.sleep(TIMEOUT) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_judged_by_what_ended_since() {
        let before = Writes { well: 5, faulty: 2 };
        assert_eq!(before.since(before), Went::Unknown);
        assert_eq!(Writes { faulty: 3, ..before }.since(before), Went::Badly);
        assert_eq!(Writes { well: 6, faulty: 9 }.since(before), Went::Well);
    }

    #[test]
    fn a_refused_write_stays_known_until_one_succeeds() {
        let env = Env::system();
        let store = Arc::new(lakebed_store::memory::MemoryStore::new(&env));
        let probe = Probe::new(Arc::new(Metered::new(store, &env)), env);
        probe.judge(Went::Badly, Some("no space".into()));
        probe.judge(Went::Unknown, None);
        assert_eq!(probe.unwritable().as_deref(), Some("no space"));
        probe.judge(Went::Well, None);
        assert_eq!(probe.unwritable(), None);
    }
}
