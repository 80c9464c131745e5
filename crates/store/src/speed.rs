//! Requests and bytes a second of a store, printed: for ignored tests that are run by hand.

use bytes::Bytes;
use futures_util::future::join_all;
use lakebed_record::keys::{self, Key};

use crate::env::Env;
use crate::{Body, Created, Store};

/// Small requests and 8 MiB transfers, one after the other and several at once.
pub(crate) async fn print(store: &dyn Store, env: &Env) {
    let run = env.entropy.u64();
    let small = Body::from(Bytes::from_static(b"hello world"));
    let piece = Bytes::from_iter((0..1u32 << 20).map(|i| (i % 251) as u8));
    let large = Body::new(vec![piece; 8]);
    for (body, count, at_once) in [(&small, 200, 1), (&small, 400, 8), (&large, 24, 1), (&large, 48, 4)] {
        let name = |i| keys::probe(run, &format!("speed-{}-{at_once}-{i}", body.len()));
        let keys: Vec<_> = (0..count).map(name).collect();
        for read in [false, true] {
            let start = env.clock.monotonic();
            join_all((0..at_once).map(|lane| request(store, keys.iter().skip(lane).step_by(at_once), body, read)))
                .await;
            let s = (env.clock.monotonic() - start).as_secs_f64();
            println!(
                "{} {} bytes, {at_once} at once: {:.0}/s, {:.1} MB/s, {:.2} ms each",
                if read { "GET" } else { "PUT" },
                body.len(),
                count as f64 / s,
                body.len() as f64 * count as f64 / 1e6 / s,
                s * 1e3 * at_once as f64 / count as f64
            );
        }
    }
}

async fn request(store: &dyn Store, keys: impl Iterator<Item = &Key>, body: &Body, read: bool) {
    for key in keys {
        if read {
            let object = store.get(key, None).await.value.expect("just written");
            assert_eq!(object.bytes.len() as u64, body.len());
        } else {
            let created = store.create(key, body).await.value;
            assert!(matches!(created, Created::Yes), "{created:?}");
        }
    }
}
