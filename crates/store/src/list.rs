//! Whole lists, page by page.

use futures_util::stream::{self, Stream};

use crate::{Fault, Listed, Store};

/// The pages of a list, none of them empty, in byte order of the keys; the next one is asked for when it is wanted. The first fault
/// is the last item.
pub fn pages<'a>(store: &'a dyn Store, prefix: &'a str) -> impl Stream<Item = Result<Vec<Listed>, Fault>> + 'a {
    enum At {
        Start,
        After(lakebed_record::keys::Key),
        End,
    }
    stream::unfold(At::Start, move |at| async move {
        let after = match &at {
            At::Start => None,
            At::After(key) => Some(key),
            At::End => return None,
        };
        match store.list(prefix, after).await.value {
            Ok(page) => {
                let last = page.objects.last().map(|o| o.key.clone())?;
                Some((Ok(page.objects), if page.more { At::After(last) } else { At::End }))
            }
            Err(fault) => Some((Err(fault), At::End)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt;
    use lakebed_record::keys::Key;

    use super::*;
    use crate::env::Env;
    use crate::memory::MemoryStore;
    use crate::testing::PassThrough;
    use crate::{Body, BoxFuture, FaultKind, Listing, PAGE, Reply};

    /// Fails the list with this number, counted from 0.
    struct Failing(MemoryStore, usize, AtomicUsize);

    impl PassThrough for Failing {
        fn inner(&self) -> &dyn Store {
            &self.0
        }

        fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
            if self.2.fetch_add(1, Ordering::Relaxed) == self.1 {
                let fault = Fault { kind: FaultKind::Server, message: "no".into() };
                return Box::pin(async { Reply { value: Err(fault), date_ms: None } });
            }
            self.0.list(prefix, after)
        }
    }

    #[tokio::test]
    async fn every_page_once_and_nothing_after_a_fault() {
        for (objects, fails_at, expected) in [
            (0, 9, vec![]),
            (1, 9, vec![Ok(1)]),
            (PAGE, 9, vec![Ok(PAGE)]),
            (PAGE + 1, 9, vec![Ok(PAGE), Ok(1)]),
            (2 * PAGE + 7, 9, vec![Ok(PAGE), Ok(PAGE), Ok(7)]),
            (2 * PAGE, 1, vec![Ok(PAGE), Err(())]),
            (2 * PAGE, 0, vec![Err(())]),
        ] {
            let store = Failing(MemoryStore::new(&Env::system()), fails_at, AtomicUsize::new(0));
            for n in 0..objects {
                store.0.create(&Key::new(format!("a/{n:05}")), &Body::default()).await;
            }
            store.0.create(&Key::new("b"), &Body::default()).await;
            let pages: Vec<_> = pages(&store, "a/").collect().await;
            let keys: Vec<_> = pages.iter().flatten().flatten().map(|o| o.key.clone()).collect();
            assert!(keys.is_sorted() && keys.iter().all(|k| k.as_str().starts_with("a/")));
            let lengths: Vec<_> = pages.into_iter().map(|p| p.map(|p| p.len()).map_err(drop)).collect();
            assert_eq!(lengths, expected, "{objects} objects");
        }
    }
}
