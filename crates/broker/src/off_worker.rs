//! Work that takes long and never waits: done where it does not hold up the other tasks of a worker thread, and only as much
//! of it at once as there are processors.
//!
//! Whoever has such work waits for a [`Turn`] first, as a task and not as a thread: what decompressors hold, and how many
//! threads they take from the runtime, is bounded by the turns, whatever clients send.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// First come, first served.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Semaphore>);

/// The right to do one piece of work that takes long.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Turns {
    /// So many at once.
    pub fn new(turns: usize) -> Turns {
        Turns(Arc::new(Semaphore::new(turns)))
    }

    /// One per processor.
    pub fn of_this_machine() -> Turns {
        Turns::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
    }

    pub async fn next(&self) -> Turn {
        let permit = Arc::clone(&self.0).acquire_owned().await.expect("the semaphore is never closed");
        Turn { _permit: permit }
    }
}

impl Turn {
    /// Runs `work` to its end inside this call. On a runtime with several threads, another one takes over the tasks of this
    /// one meanwhile; on a runtime with a single thread (simulations), and outside any, it just runs.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
            _ => work(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
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
            Turns::new(1).next().await.run(|| told.recv_timeout(Duration::from_secs(60)))
        });
        assert_eq!(runtime.block_on(working).expect("it ran"), Ok(7));
    }

    #[test]
    fn no_more_run_at_once_than_there_are_turns() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
        let turns = Turns::new(2);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = |_| {
            let (turns, running, most) = (turns.clone(), running.clone(), most.clone());
            runtime.spawn(async move {
                turns.next().await.run(|| {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    running.fetch_sub(1, Ordering::SeqCst);
                });
            })
        };
        let all: Vec<_> = (0..50).map(work).collect();
        all.into_iter().for_each(|task| runtime.block_on(task).expect("it ran"));
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    }

    #[tokio::test]
    async fn a_single_thread_does_it_itself() {
        let here = std::thread::current().id();
        assert_eq!(Turns::new(1).next().await.run(|| std::thread::current().id()), here);
    }
}
