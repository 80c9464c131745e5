//! Keeps the answer to "does the store work?" current: one small GET every few seconds, whatever else is going on.

use std::sync::Arc;
use std::time::Duration;

use lakebed_record::keys;
use lakebed_store::Store;
use lakebed_store::env::Env;
use lakebed_store::metered::Metered;

/// Readiness must not be older than 5 s.
const EVERY: Duration = Duration::from_secs(4);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Probes for ever; [`Metered::health`] has the results. Logs when the store goes away and when it comes back.
pub async fn watch(store: Arc<Metered>, env: Env) {
    let mut away = false;
    loop {
        env.clock.sleep(EVERY).await;
        // FORMAT is small, never changes, and is there once a node is up.
        let key = keys::format();
        let answered = tokio::select! {
            reply = store.get(&key, None) => reply.value.is_ok(),
            () = env.clock.sleep(TIMEOUT) => false,
        };
        match (away, answered) {
            (false, false) => {
                let fault = store.health().last_fault.unwrap_or_else(|| "no answer".to_owned());
                tracing::warn!(fault, "the store does not answer: clients wait, nothing is acknowledged");
            }
            (true, true) => tracing::info!("the store answers again"),
            _ => {}
        }
        away = !answered;
    }
}
