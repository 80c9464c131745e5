//! Work that takes long and never waits: done where it does not hold up the other tasks of a worker thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` to its end inside this call. On a runtime with several threads, another one takes over the tasks of this
/// one meanwhile; on a runtime with a single thread (simulations), and outside any, it just runs.
pub fn off_worker<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn others_go_on_meanwhile() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let (tell, told) = mpsc::channel();
        let working = runtime.spawn(async move {
            // Queued behind this task, on the only worker.
            tokio::spawn(async move { tell.send(7) });
            off_worker(|| told.recv_timeout(Duration::from_secs(60)))
        });
        assert_eq!(runtime.block_on(working).expect("it ran"), Ok(7));
    }

    #[tokio::test]
    async fn a_single_thread_does_it_itself() {
        let here = std::thread::current().id();
        assert_eq!(off_worker(|| std::thread::current().id()), here);
    }
}
