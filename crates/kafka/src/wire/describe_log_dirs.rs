//! DescribeLogDirs, 1–5: how large partitions are, and where.

use super::ErrorCode;
use super::partitions::{AnsweredTopic, EncodePartition, TopicPartitions, encode_topics};
use super::reader::{Array, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct DescribeLogDirsRequest<'a> {
    /// `None`: all.
    pub topics: Option<Array<'a, TopicPartitions<'a>>>,
}

impl<'a> DescribeLogDirsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let topics = r.nullable_array()?;
        r.tags()?;
        Ok(Self { topics })
    }
}

#[derive(Clone, Debug)]
pub struct DescribeLogDirsResponse<'a> {
    /// Versions before 3 cannot say it.
    pub error: ErrorCode,
    pub dirs: Vec<LogDir<'a>>,
}

#[derive(Clone, Debug)]
pub struct LogDir<'a> {
    pub error: ErrorCode,
    pub path: &'a str,
    pub topics: Vec<LogDirTopic<'a>>,
    /// −1: not known, like the next.
    pub total_bytes: i64,
    pub usable_bytes: i64,
}

pub type LogDirTopic<'a> = AnsweredTopic<'a, LogDirPartition>;

#[derive(Clone, Copy, Debug)]
pub struct LogDirPartition {
    pub index: i32,
    /// In bytes.
    pub size: i64,
}

impl DescribeLogDirsResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        w.i32(0);
        if w.since(3) {
            w.error(self.error);
        }
        w.array(&self.dirs, |w, dir| dir.encode(w));
        w.tags();
    }
}

impl LogDir<'_> {
    fn encode(&self, w: &mut Writer) {
        w.error(self.error);
        w.string(self.path);
        encode_topics(w, &self.topics);
        if w.since(4) {
            w.i64(self.total_bytes);
            w.i64(self.usable_bytes);
        }
        if w.since(5) {
            w.bool(false); // nothing keeps new partitions away
        }
        w.tags();
    }
}

impl EncodePartition for LogDirPartition {
    fn encode(&self, w: &mut Writer) {
        w.i32(self.index);
        w.i64(self.size);
        w.i64(0); // nothing lags behind: there are no followers,
        w.bool(false); // and nothing moves from one directory to another
        w.tags();
    }
}
