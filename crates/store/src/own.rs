//! Creating objects under names that only one process uses, where "exists" is an earlier try of its own.

use lakebed_record::keys::Key;

use crate::{Body, Created, Fault, FaultKind, ReadError, Store};

/// What came of one try.
#[derive(Clone, Debug)]
pub enum Stored {
    /// The object is there, whole.
    Yes,
    /// Something of another length has the name, for ever.
    Foreign,
    /// Nothing is proved: try again.
    Unknown(Fault),
}

/// Tries once. What exists, or may have been cut short, is settled by its length (rule 6 of 4.3).
pub async fn create(store: &dyn Store, key: &Key, body: &Body) -> Stored {
    match store.create(key, body).await.value {
        Created::Yes if store.refuses_short_bodies() => Stored::Yes,
        Created::Yes | Created::Exists => match store.head(key).await.value {
            Ok(meta) if meta.total_len == body.len() => Stored::Yes,
            Ok(_) => Stored::Foreign,
            Err(ReadError::NotFound) => Stored::Unknown(vanished(key)),
            Err(ReadError::Fault(fault)) => Stored::Unknown(fault),
        },
        Created::Unknown(fault) => Stored::Unknown(fault),
    }
}

fn vanished(key: &Key) -> Fault {
    tracing::error!(%key, "the store answers that an object exists, and that it does not");
    Fault { kind: FaultKind::Server, message: format!("{key} was answered as existing, and then as missing") }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lakebed_record::keys;

    use super::*;
    use crate::env::Env;
    use crate::memory::MemoryStore;

    #[tokio::test]
    async fn the_length_tells_an_earlier_try_from_something_else() {
        let store = MemoryStore::new(&Env::system());
        let key = keys::probe(1, "own");
        let body = |bytes: &'static [u8]| Body::from(Bytes::from_static(bytes));
        assert!(matches!(create(&store, &key, &body(b"abc")).await, Stored::Yes));
        assert!(matches!(create(&store, &key, &body(b"abc")).await, Stored::Yes));
        assert!(matches!(create(&store, &key, &body(b"abcd")).await, Stored::Foreign));
    }
}
