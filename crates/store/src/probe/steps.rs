//! The steps of a probe. Requests that prove nothing are repeated: only answers are judged.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use lakebed_record::keys::{self, Key};

use super::{Broken, ProbeReport, RACERS};
use crate::env::Env;
use crate::{Body, Created, Fault, FaultKind, Meta, Object, ReadError, Reply, Store, StoreKind, Swapped, Version};

/// Tries of one request before the store counts as unreachable, and the pause between them.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(300);
/// `Date` has whole seconds, and several front ends may answer.
const DATE_SLACK_MS: i64 = 5_000;
const LAST_MODIFIED_SLACK_MS: i64 = 60_000;
const SWAP_RACERS: usize = 8;
const DELETE_ROUNDS: usize = 3;

pub(super) struct Run<'a> {
    store: &'a dyn Store,
    env: &'a Env,
    run: u64,
    /// All that this run may have created.
    keys: Vec<Key>,
    report: ProbeReport,
    last_date_ms: Option<i64>,
}

impl<'a> Run<'a> {
    pub(super) fn new(store: &'a dyn Store, env: &'a Env) -> Self {
        Run { store, env, run: env.entropy.u64(), keys: Vec::new(), report: ProbeReport::default(), last_date_ms: None }
    }

    pub(super) async fn all(mut self) -> Result<ProbeReport, Broken> {
        let outcome = self.steps().await;
        self.clean_up().await;
        outcome.map(|()| self.report)
    }

    async fn steps(&mut self) -> Result<(), Broken> {
        self.misses_are_not_cached().await?;
        self.creates_race().await?;
        self.swaps().await?;
        self.swaps_race().await?;
        self.ranges().await?;
        self.corrupt_bodies().await?;
        self.deletes().await
    }

    /// Once each: what stays harms nobody.
    async fn clean_up(&mut self) {
        join_all(self.keys.iter().map(|key| self.store.delete(key))).await;
    }

    async fn misses_are_not_cached(&mut self) -> Result<(), Broken> {
        let key = self.key("miss");
        let body = self.body("miss", 0);
        if self.get(&key, None).await?.is_some() || self.head(&key).await?.is_some() {
            return Err(Broken::PhantomObject);
        }
        if !self.create(&key, &body).await? {
            return Err(Broken::PhantomObject);
        }
        let object = self.get(&key, None).await?.ok_or(Broken::NegativeCaching)?;
        let meta = self.head(&key).await?.ok_or(Broken::NegativeCaching)?;
        if object.bytes != body.to_bytes() || meta.total_len != body.len() {
            return Err(Broken::ReadAfterWrite);
        }
        self.kept("a new object is seen at once, by readers who missed it before too");
        let date = self.last_date_ms.ok_or(Broken::NoDate)?;
        let off = meta.last_modified_ms - date;
        if off.abs() > LAST_MODIFIED_SLACK_MS {
            return Err(Broken::LastModifiedOff(off));
        }
        self.kept("replies carry a Date that agrees with Last-Modified");
        self.report.clock_offset_ms = date - self.env.clock.wall_ms();
        Ok(())
    }

    async fn creates_race(&mut self) -> Result<(), Broken> {
        let key = self.key("race");
        let bodies: Vec<_> = (0..RACERS).map(|i| self.body("race", i)).collect();
        let answers = join_all(bodies.iter().map(|b| self.store.create(&key, b))).await;
        let mut winners = Vec::new();
        let mut unknown = Vec::new();
        for (i, reply) in answers.into_iter().enumerate() {
            match self.date(reply)? {
                Created::Yes => winners.push(i),
                Created::Exists => {}
                Created::Unknown(fault) => unknown.push((i, fault)),
            }
        }
        if winners.len() > 1 {
            return Err(Broken::SeveralWinners(winners.len()));
        }
        let object = match (self.get(&key, None).await?, unknown.first()) {
            (Some(object), _) => object,
            (None, Some((_, fault))) if winners.is_empty() => return Err(Broken::Unreachable(fault.clone())),
            (None, _) => return Err(Broken::ReadAfterWrite),
        };
        let is = |i: usize| object.bytes == bodies[i].to_bytes();
        match winners.first() {
            Some(&winner) if is(winner) => {}
            Some(_) => return Err(Broken::WinnerOverwritten),
            None if unknown.iter().any(|(i, _)| is(*i)) => {}
            None => return Err(Broken::NoWinner),
        }
        self.kept("of concurrent creates of one key exactly one wins");

        let late = self.body("late", 0);
        for _ in 0..2 {
            if self.create(&key, &late).await? {
                return Err(Broken::SecondCreate);
            }
        }
        let again = self.get(&key, None).await?.ok_or(Broken::ReadAfterWrite)?;
        if again.bytes != object.bytes {
            return Err(Broken::WinnerOverwritten);
        }
        self.kept("a create of a key that exists is refused, and the object stays as it was");
        Ok(())
    }

    async fn swaps(&mut self) -> Result<(), Broken> {
        let key = self.key("swap");
        let [first, second, third] = [0, 1, 2].map(|i| self.body("swap", i));
        let v1 = self.swap(&key, None, &first).await?.ok_or(Broken::FreshSwapRefused)?;
        if self.swap(&key, None, &second).await?.is_some() {
            return Err(Broken::SecondCreate);
        }
        let v2 = self.swap(&key, Some(&v1), &second).await?.ok_or(Broken::FreshSwapRefused)?;
        if self.swap(&key, Some(&v1), &third).await?.is_some() {
            return Err(Broken::StaleSwap);
        }
        let now = self.get(&key, None).await?.ok_or(Broken::ReadAfterWrite)?;
        if now.bytes == third.to_bytes() {
            return Err(Broken::StaleSwap);
        }
        if now.bytes != second.to_bytes() || now.meta.version != v2 {
            return Err(Broken::ReadAfterWrite);
        }
        self.swap(&key, Some(&v2), &third).await?.ok_or(Broken::FreshSwapRefused)?;
        self.kept("a compare-and-swap from the current version succeeds, from an outdated one it fails");
        Ok(())
    }

    async fn swaps_race(&mut self) -> Result<(), Broken> {
        let key = self.key("swap-race");
        let mut from: Option<Version> = None;
        for round in 0..2 {
            let bodies: Vec<_> = (0..SWAP_RACERS).map(|i| self.body("swap-race", round * 100 + i)).collect();
            let answers = join_all(bodies.iter().map(|b| self.store.swap(&key, from.as_ref(), b))).await;
            let (mut won, mut unknown) = (0, None);
            for reply in answers {
                match self.date(reply)? {
                    Swapped::Yes(_) => won += 1,
                    Swapped::Mismatch => {}
                    Swapped::Unknown(fault) => unknown = Some(fault),
                }
            }
            match (won, unknown) {
                (1, _) => {}
                (0, Some(fault)) => {
                    let now = self.get(&key, None).await?.map(|o| o.meta.version);
                    if now == from {
                        return Err(Broken::Unreachable(fault));
                    }
                }
                (n, _) => return Err(Broken::SwapRace(n)),
            }
            from = Some(self.head(&key).await?.ok_or(Broken::ReadAfterWrite)?.version);
        }
        self.kept("of concurrent compare-and-swaps from one version exactly one succeeds");
        Ok(())
    }

    async fn ranges(&mut self) -> Result<(), Broken> {
        let key = self.key("range");
        let content = Bytes::from_iter((0..1_000u32).map(|i| (i * 7 % 251) as u8));
        self.create(&key, &Body::from(content.clone())).await?;
        for range in [0..10, 500..501, 990..2_000, 1_000..1_010, 0..5_000] {
            let object = self.get(&key, Some(range.clone())).await?.ok_or(Broken::ReadAfterWrite)?;
            let whole = content.len() as u64;
            let (start, end) = (range.start.min(whole) as usize, range.end.min(whole) as usize);
            if object.bytes != content[start..end] || object.meta.total_len != whole {
                let got = object.bytes.len();
                return Err(Broken::WrongRange(format!("{range:?} of {whole} bytes gave {got}")));
            }
        }
        self.kept("ranges are read as asked for");
        Ok(())
    }

    /// Only remote stores can get other bytes than were sent.
    async fn corrupt_bodies(&mut self) -> Result<(), Broken> {
        if self.store.kind() != StoreKind::S3 {
            return Ok(());
        }
        let key = self.key("corrupt");
        let good = self.body("corrupt", 0);
        let bad = Body::with_crc(good.chunks().to_vec(), !good.crc32c());
        let reply = self.store.create(&key, &bad).await;
        let accepted = matches!(self.date(reply)?, Created::Yes) || self.get(&key, None).await?.is_some();
        match (accepted, self.store.refuses_short_bodies()) {
            (false, _) => self.kept("a body that does not match its checksum is refused"),
            (true, true) => return Err(Broken::CorruptBodyKept),
            (true, false) => self.report.notes.push(
                "the store does not verify checksums, so the length of each commit is confirmed by one more request"
                    .into(),
            ),
        }
        Ok(())
    }

    /// Only cleaning needs them. A create that got no answer may land after the delete, so it takes more than one that
    /// stays to call it a lie.
    async fn deletes(&mut self) -> Result<(), Broken> {
        for round in 0..DELETE_ROUNDS {
            let key = self.key(&format!("delete-{round}"));
            self.create(&key, &self.body("delete", round)).await?;
            let mut gone = true;
            // The second time there is nothing left to delete.
            for _ in 0..2 {
                if let Err(fault) = self.delete(&key).await? {
                    self.report.notes.push(format!("deletes are refused, so cleaning has to stay off: {fault}"));
                    return Ok(());
                }
                gone &= self.get(&key, None).await?.is_none() && self.head(&key).await?.is_none();
            }
            if gone {
                self.kept("a deleted object is gone");
                return Ok(());
            }
        }
        Err(Broken::DeletedStays)
    }

    /// The inner error: an operator has to act before anything can be deleted.
    async fn delete(&mut self, key: &Key) -> Result<Result<(), Fault>, Broken> {
        let mut fault = None;
        for _ in 0..TRIES {
            match self.date(self.store.delete(key).await)? {
                Ok(()) => return Ok(Ok(())),
                Err(f) if matches!(f.kind, FaultKind::Denied | FaultKind::Other) => return Ok(Err(f)),
                Err(f) => fault = Some(self.pause(f).await?),
            }
        }
        Err(unreachable(fault))
    }

    /// Whether it was created, now or by an earlier try that got no answer.
    async fn create(&mut self, key: &Key, body: &Body) -> Result<bool, Broken> {
        let mut fault = None;
        for _ in 0..TRIES {
            match self.date(self.store.create(key, body).await)? {
                Created::Yes => return Ok(true),
                Created::Exists if fault.is_none() => return Ok(false),
                Created::Exists => return Ok(self.get(key, None).await?.is_some_and(|o| o.bytes == body.to_bytes())),
                Created::Unknown(f) => fault = Some(self.pause(f).await?),
            }
        }
        Err(unreachable(fault))
    }

    /// The new version if it was swapped, now or by an earlier try that got no answer.
    async fn swap(&mut self, key: &Key, from: Option<&Version>, body: &Body) -> Result<Option<Version>, Broken> {
        let mut fault = None;
        for _ in 0..TRIES {
            match self.date(self.store.swap(key, from, body).await)? {
                Swapped::Yes(version) => return Ok(Some(version)),
                Swapped::Mismatch if fault.is_none() => return Ok(None),
                Swapped::Mismatch => {
                    let now = self.get(key, None).await?.filter(|o| o.bytes == body.to_bytes());
                    return Ok(now.map(|o| o.meta.version));
                }
                Swapped::Unknown(f) => fault = Some(self.pause(f).await?),
            }
        }
        Err(unreachable(fault))
    }

    async fn get(&mut self, key: &Key, range: Option<Range<u64>>) -> Result<Option<Object>, Broken> {
        let mut fault = None;
        for _ in 0..TRIES {
            match self.date(self.store.get(key, range.clone()).await)? {
                Ok(object) => return whole(object, range).map(Some),
                Err(ReadError::NotFound) => return Ok(None),
                Err(ReadError::Fault(f)) => fault = Some(self.pause(f).await?),
            }
        }
        Err(unreachable(fault))
    }

    async fn head(&mut self, key: &Key) -> Result<Option<Meta>, Broken> {
        let mut fault = None;
        for _ in 0..TRIES {
            match self.date(self.store.head(key).await)? {
                Ok(meta) => return Ok(Some(meta)),
                Err(ReadError::NotFound) => return Ok(None),
                Err(ReadError::Fault(f)) => fault = Some(self.pause(f).await?),
            }
        }
        Err(unreachable(fault))
    }

    /// Waits before the next try, unless an operator has to act first.
    async fn pause(&self, fault: Fault) -> Result<Fault, Broken> {
        match fault.kind {
            FaultKind::Denied | FaultKind::NoSpace | FaultKind::Other => Err(Broken::Unreachable(fault)),
            FaultKind::Timeout | FaultKind::Throttled | FaultKind::Conflict | FaultKind::Server => {
                self.env.clock.sleep(PAUSE).await;
                Ok(fault)
            }
        }
    }

    /// Dates of successive replies may not go back, unless they are the host's, which may be set. Faults carry none.
    fn date<T: Answered>(&mut self, reply: Reply<T>) -> Result<T, Broken> {
        if reply.value.answered() {
            let date = reply.date_ms.ok_or(Broken::NoDate)?;
            let back = self.last_date_ms.map_or(0, |last| last - date);
            if back > DATE_SLACK_MS && self.store.kind() == StoreKind::S3 {
                return Err(Broken::DateWentBack(back));
            }
            self.last_date_ms = Some(date);
        }
        Ok(reply.value)
    }

    fn kept(&mut self, promise: &'static str) {
        self.report.kept.push(promise);
    }

    fn key(&mut self, name: &str) -> Key {
        let key = keys::probe(self.run, name);
        self.keys.push(key.clone());
        key
    }

    /// Content that no other object of any run has.
    fn body(&self, name: &str, number: usize) -> Body {
        Body::from(Bytes::from(format!("lakebed probe {:016x} {name} {number}", self.run)))
    }
}

/// Refuses an object of which a part is missing.
fn whole(object: Object, range: Option<Range<u64>>) -> Result<Object, Broken> {
    let range = range.unwrap_or(0..u64::MAX);
    let expected = range.end.min(object.meta.total_len).saturating_sub(range.start);
    let got = object.bytes.len() as u64;
    if got < expected { Err(Broken::ShortRead { got, expected }) } else { Ok(object) }
}

/// Did the store answer the question?
trait Answered {
    fn answered(&self) -> bool;
}

impl Answered for Created {
    fn answered(&self) -> bool {
        !matches!(self, Created::Unknown(_))
    }
}

impl Answered for Swapped {
    fn answered(&self) -> bool {
        !matches!(self, Swapped::Unknown(_))
    }
}

impl<T> Answered for Result<T, ReadError> {
    fn answered(&self) -> bool {
        !matches!(self, Err(ReadError::Fault(_)))
    }
}

impl Answered for Result<(), Fault> {
    fn answered(&self) -> bool {
        self.is_ok()
    }
}

fn unreachable(fault: Option<Fault>) -> Broken {
    let none = || Fault { kind: FaultKind::Other, message: "no answer".into() };
    Broken::Unreachable(fault.unwrap_or_else(none))
}
