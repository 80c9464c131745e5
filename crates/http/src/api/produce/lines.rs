//! NDJSON: one record a line, stored in lots while more arrive. Whatever ends it early, the answer says what is stored.

use bytes::Bytes;

use super::gather::Gathering;
use super::store::{self, Writer, random, with_summary};
use super::{Call, MOST_BYTES, Stored};
use crate::api::Stopping;
use crate::api::object::Object;
use crate::api::record::RecordIn;
use crate::body::{Arriving, take};
use crate::problem::{Kind, Problem};

/// Records are handed on when they are so many bytes. By what they are alone, not by when they come: a request that is sent again with its key has
/// to make the same batches.
const LOT: usize = 512 << 10;

/// Cuts lines out of what arrives.
struct Lines<'a> {
    arriving: Arriving<'a>,
    /// Bytes of the buffer without a line end.
    looked_at: usize,
    ended: bool,
    number: u64,
}

impl Lines<'_> {
    /// The next one that is not empty.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let Some(line) = self.any().await? else { return Ok(None) };
            self.number += 1;
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    async fn any(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let buffer = &mut self.arriving.buffer;
            if let Some(at) = buffer[self.looked_at..].iter().position(|b| *b == b'\n') {
                let line = buffer.split_to(self.looked_at + at + 1);
                self.looked_at = 0;
                return Ok(Some(line.freeze()));
            }
            if self.ended {
                let rest = buffer.split();
                self.looked_at = 0;
                return Ok((!rest.is_empty()).then(|| rest.freeze()));
            }
            self.looked_at = buffer.len();
            if self.looked_at > MOST_BYTES {
                let detail = format!("a line has at most {MOST_BYTES} bytes");
                return Err(Problem::new(Kind::TOO_LARGE, detail).with("line", self.number + 1));
            }
            self.ended = !self.arriving.more().await?;
        }
    }
}

/// What a stream is read reading.
struct Reading<'c> {
    call: &'c Call,
    gathering: Gathering,
    writer: Writer,
}

impl Call {
    pub(super) async fn lines(self, arriving: Arriving<'_>, mut stopping: Stopping) -> Result<Stored, Problem> {
        let mut reading = Reading { call: &self, gathering: self.gathering(), writer: self.writer() };
        let mut lines = Lines { arriving, looked_at: 0, ended: false, number: 0 };
        let ended = tokio::select! {
            biased;
            () = stopping.come() => {
                Err(Problem::new(Kind::UNAVAILABLE, "this node is stopping; send the rest to another one"))
            }
            ended = reading.read(&mut lines) => ended,
        };
        lines.arriving.patience.work(store::LONGEST);
        // Of a request with a key only whole lots are stored, but for its own end: half a lot would not match the same one sent again.
        let rest = match (&ended, &self.key) {
            (Err(_), Some(_)) => Ok(()),
            (Err(problem), None) if problem.kind == Kind::TIMEOUT => Ok(()),
            _ => reading.send().await,
        };
        let mut writer = reading.writer;
        writer.wait_for_all().await;
        let summary = writer.summary();
        // What went wrong with storing came first.
        match writer.problem.map_or(Ok(()), Err).and(ended).and(rest) {
            Ok(()) => Ok(summary),
            Err(problem) => Err(with_summary(problem, &summary)),
        }
    }
}

impl Reading<'_> {
    async fn read(&mut self, lines: &mut Lines<'_>) -> Result<(), Problem> {
        while let Some(line) = lines.next().await? {
            self.push(&line).map_err(|problem| problem.with("line", lines.number))?;
            if self.gathering.bytes() >= LOT {
                lines.arriving.patience.work(store::LONGEST);
                self.send().await?;
            }
            if self.writer.problem.is_some() {
                // The rest would not be stored in its order.
                return Ok(());
            }
        }
        Ok(())
    }

    fn push(&mut self, line: &[u8]) -> Result<(), Problem> {
        let Object::<RecordIn<'_>>(record) = serde_json::from_slice(line).map_err(Problem::bad_request)?;
        let record = self.call.complete(record.open().map_err(Problem::invalid)?);
        self.gathering.push(&record, self.call.broker.wall_ms()).map(drop)
    }

    async fn send(&mut self) -> Result<(), Problem> {
        let memory = take(self.call.broker.memory(), self.gathering.bytes()).await?;
        let batches = self.gathering.take(random(&self.call.broker));
        self.writer.send(batches, memory).await;
        Ok(())
    }
}
