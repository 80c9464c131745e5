//! The probe can fail: each way to lie is found, and called by its own name.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use lakebed_record::keys::Key;
use parking_lot::Mutex;

use super::*;
use crate::memory::MemoryStore;
use crate::{
    Body, BoxFuture, Created, FaultKind, Listing, Meta, Object, ReadError, Reply, StoreKind, Swapped, Version,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    None,
    /// Of each key's concurrent creates the first two win.
    TwoWinners,
    /// The last create wins, though the first was told so.
    LaterBytesStay,
    /// Creates replace what is there.
    CreateOverwrites,
    EveryoneLoses,
    StaleSwapAccepted,
    EverySwapRefused,
    /// A key that was missing once stays missing to readers.
    NegativeCaching,
    ShortReads,
    RangesIgnored,
    NoDate,
    DateGoesBack,
    LastModifiedInThePast,
    CorruptBodyKept,
    /// Answers deletes, and keeps the objects.
    DeletesNothing,
    /// Forbids deletes: no lie.
    DeletesDenied,
    /// Answers every second request with a fault: no lie at all.
    Flaky,
    /// Never answers.
    Away,
}

struct Liar {
    lie: Lie,
    truth: MemoryStore,
    missed: Mutex<HashSet<Key>>,
    wins: Mutex<HashSet<(Key, u8)>>,
    calls: Mutex<i64>,
}

impl Liar {
    fn new(lie: Lie, env: &Env) -> Liar {
        Liar {
            lie,
            truth: MemoryStore::new(env),
            missed: Mutex::default(),
            wins: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    fn reply<T>(&self, mut reply: Reply<T>) -> Reply<T> {
        match self.lie {
            Lie::NoDate => reply.date_ms = None,
            Lie::DateGoesBack => reply.date_ms = reply.date_ms.map(|d| d - *self.calls.lock() * 10_000),
            _ => {}
        }
        reply
    }

    /// The fault to answer with, if any.
    fn fault(&self) -> Option<Fault> {
        let mut calls = self.calls.lock();
        *calls += 1;
        let fault = Fault { kind: FaultKind::Denied, message: "go away".into() };
        match self.lie {
            Lie::Flaky if *calls % 2 == 1 => Some(Fault { kind: FaultKind::Server, ..fault }),
            Lie::Away => Some(fault),
            _ => None,
        }
    }

    async fn overwrite(&self, key: &Key, body: &Body) -> Option<Version> {
        let now = self.truth.head(key).await.value.ok().map(|m| m.version);
        match self.truth.swap(key, now.as_ref(), body).await.value {
            Swapped::Yes(version) => Some(version),
            Swapped::Mismatch | Swapped::Unknown(_) => None,
        }
    }

    async fn do_create(&self, key: &Key, body: &Body) -> Created {
        let first = |n| self.wins.lock().insert((key.clone(), n));
        match self.lie {
            Lie::TwoWinners if first(0) || first(1) => {
                self.overwrite(key, body).await;
                Created::Yes
            }
            Lie::LaterBytesStay => {
                self.overwrite(key, body).await;
                if first(0) { Created::Yes } else { Created::Exists }
            }
            Lie::CreateOverwrites if key.as_str().ends_with("race") && !first(0) && !body_is_late(body) => {
                Created::Exists
            }
            Lie::CreateOverwrites => {
                self.overwrite(key, body).await;
                Created::Yes
            }
            Lie::EveryoneLoses if key.as_str().ends_with("race") => {
                self.truth.create(key, body).await;
                Created::Exists
            }
            Lie::CorruptBodyKept => self.truth.create(key, body).await.value,
            _ if Body::new(body.chunks().to_vec()).crc32c() != body.crc32c() => {
                Created::Unknown(Fault { kind: FaultKind::Other, message: "bad digest".into() })
            }
            _ => self.truth.create(key, body).await.value,
        }
    }
}

fn body_is_late(body: &Body) -> bool {
    body.to_bytes().windows(4).any(|w| w == b"late")
}

impl Store for Liar {
    fn create<'a>(&'a self, key: &'a Key, body: &'a Body) -> BoxFuture<'a, Reply<Created>> {
        Box::pin(async move {
            let date_ms = self.truth.head(key).await.date_ms;
            if let Some(fault) = self.fault() {
                return Reply { value: Created::Unknown(fault), date_ms: None };
            }
            let value = self.do_create(key, body).await;
            self.reply(Reply { value, date_ms })
        })
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Reply<Result<Object, ReadError>>> {
        Box::pin(async move {
            if let Some(fault) = self.fault() {
                return Reply { value: Err(fault.into()), date_ms: None };
            }
            let range = range.filter(|_| self.lie != Lie::RangesIgnored);
            let mut reply = self.reply(self.truth.get(key, range).await);
            if reply.value.is_err() {
                self.missed.lock().insert(key.clone());
            } else if self.lie == Lie::NegativeCaching && self.missed.lock().contains(key) {
                reply.value = Err(ReadError::NotFound);
            }
            if let (Lie::ShortReads, Ok(object)) = (self.lie, &mut reply.value) {
                object.bytes.truncate(object.bytes.len() / 2);
            }
            reply
        })
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<Meta, ReadError>>> {
        Box::pin(async move {
            if let Some(fault) = self.fault() {
                return Reply { value: Err(fault.into()), date_ms: None };
            }
            let mut reply = self.reply(self.truth.head(key).await);
            if let (Lie::LastModifiedInThePast, Ok(meta)) = (self.lie, &mut reply.value) {
                meta.last_modified_ms = 0;
            }
            reply
        })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expected: Option<&'a Version>,
        body: &'a Body,
    ) -> BoxFuture<'a, Reply<Swapped>> {
        Box::pin(async move {
            if let Some(fault) = self.fault() {
                return Reply { value: Swapped::Unknown(fault), date_ms: None };
            }
            let mut reply = self.truth.swap(key, expected, body).await;
            match (self.lie, expected) {
                (Lie::StaleSwapAccepted, Some(_)) => {
                    reply.value = self.overwrite(key, body).await.map_or(Swapped::Mismatch, Swapped::Yes);
                }
                (Lie::EverySwapRefused, Some(_)) => reply.value = Swapped::Mismatch,
                _ => {}
            }
            self.reply(reply)
        })
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Reply<Result<(), Fault>>> {
        Box::pin(async move {
            if let Some(fault) = self.fault() {
                return Reply { value: Err(fault), date_ms: None };
            }
            let reply = match self.lie {
                Lie::DeletesDenied => {
                    let fault = Fault { kind: FaultKind::Denied, message: "not you".into() };
                    return Reply { value: Err(fault), date_ms: None };
                }
                Lie::DeletesNothing => self.truth.delete(&Key::new("something-else")).await,
                _ => self.truth.delete(key).await,
            };
            self.reply(reply)
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Key>) -> BoxFuture<'a, Reply<Result<Listing, Fault>>> {
        self.truth.list(prefix, after)
    }

    fn kind(&self) -> StoreKind {
        StoreKind::S3
    }

    fn refuses_short_bodies(&self) -> bool {
        true
    }
}

async fn judge(lie: Lie) -> Result<ProbeReport, Broken> {
    let env = Env::system();
    probe(&Liar::new(lie, &env), &env).await
}

#[tokio::test]
async fn the_honest_pass() {
    let report = judge(Lie::None).await.unwrap();
    assert!(report.kept.len() >= 7, "{report:?}");
    assert!(report.notes.is_empty() && report.clock_offset_ms.abs() < 1_000, "{report:?}");
}

#[tokio::test]
async fn nothing_of_a_probe_stays_unless_deletes_are_denied() {
    let env = Env::system();
    for (lie, left) in [(Lie::None, false), (Lie::EverySwapRefused, false), (Lie::DeletesDenied, true)] {
        let store = Liar::new(lie, &env);
        let report = probe(&store, &env).await;
        assert_eq!(!store.truth.keys().is_empty(), left, "{lie:?}");
        if lie == Lie::DeletesDenied {
            let notes = report.unwrap().notes;
            assert!(notes.len() == 1 && notes[0].contains("not you"), "{notes:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn faults_are_no_lies() {
    judge(Lie::Flaky).await.unwrap();
}

#[tokio::test]
async fn every_lie_is_called_by_its_name() {
    use Broken::*;
    type Named = fn(&Broken) -> bool;
    let cases: [(Lie, Named); 15] = [
        (Lie::TwoWinners, |b| matches!(b, SeveralWinners(2))),
        (Lie::LaterBytesStay, |b| matches!(b, WinnerOverwritten)),
        (Lie::CreateOverwrites, |b| matches!(b, SecondCreate)),
        (Lie::EveryoneLoses, |b| matches!(b, NoWinner)),
        (Lie::StaleSwapAccepted, |b| matches!(b, StaleSwap)),
        (Lie::EverySwapRefused, |b| matches!(b, FreshSwapRefused)),
        (Lie::NegativeCaching, |b| matches!(b, Broken::NegativeCaching)),
        (Lie::ShortReads, |b| matches!(b, ShortRead { .. })),
        (Lie::RangesIgnored, |b| matches!(b, WrongRange(_))),
        (Lie::NoDate, |b| matches!(b, Broken::NoDate)),
        (Lie::DateGoesBack, |b| matches!(b, DateWentBack(_))),
        (Lie::LastModifiedInThePast, |b| matches!(b, LastModifiedOff(_))),
        (Lie::CorruptBodyKept, |b| matches!(b, Broken::CorruptBodyKept)),
        (Lie::DeletesNothing, |b| matches!(b, DeletedStays)),
        (Lie::Away, |b| matches!(b, Unreachable(_))),
    ];
    for (lie, named) in cases {
        let broken = judge(lie).await.expect_err("a lie passed");
        assert!(named(&broken), "{lie:?} was called: {broken}");
    }
}

/// Stores whose races go wrong only when they are real are for the conformance suite; here the swap race is staged.
#[tokio::test]
async fn racing_swaps_that_all_succeed_are_found() {
    struct Staged(Liar);
    impl crate::testing::PassThrough for Staged {
        fn inner(&self) -> &dyn Store {
            &self.0
        }

        fn swap<'a>(
            &'a self,
            key: &'a Key,
            from: Option<&'a Version>,
            body: &'a Body,
        ) -> BoxFuture<'a, Reply<Swapped>> {
            Box::pin(async move {
                let mut reply = self.0.swap(key, from, body).await;
                if key.as_str().ends_with("swap-race") && matches!(reply.value, Swapped::Mismatch) {
                    reply.value = Swapped::Yes(Version("\"x\"".into()));
                }
                reply
            })
        }
    }
    let env = Env::system();
    let broken = probe(&Staged(Liar::new(Lie::None, &env)), &env).await.expect_err("a lie passed");
    assert!(matches!(broken, Broken::SwapRace(8)), "{broken}");
}

#[tokio::test]
#[should_panic(expected = "refuses the store")]
async fn the_conformance_suite_includes_the_probe() {
    let env = Env::system();
    crate::conformance::run(Arc::new(Liar::new(Lie::CorruptBodyKept, &env)), &env).await;
}

#[tokio::test]
async fn bodies_that_are_not_verified_are_noted_where_commits_are_confirmed() {
    struct Unverified(MemoryStore);
    impl crate::testing::PassThrough for Unverified {
        fn inner(&self) -> &dyn Store {
            &self.0
        }

        fn kind(&self) -> StoreKind {
            StoreKind::S3
        }

        fn refuses_short_bodies(&self) -> bool {
            false
        }
    }
    let env = Env::system();
    let report = probe(&Unverified(MemoryStore::new(&env)), &env).await.unwrap();
    assert_eq!(report.notes.len(), 1);
}
