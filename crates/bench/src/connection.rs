//! One connection to a broker: frames out, frames in, in order.

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::wire::{self, Answer};

/// No answer to one of our requests is larger, whatever its length says.
const MAX_FRAME: usize = 256 << 20;

/// `TOPIC_ALREADY_EXISTS`.
const EXISTS: i16 = 36;

pub struct Connection {
    pub sender: OwnedWriteHalf,
    pub receiver: Receiver,
    correlation: i32,
}

pub struct Receiver {
    half: OwnedReadHalf,
    buffered: BytesMut,
}

impl Connection {
    pub async fn open(bootstrap: &str) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(bootstrap).await.with_context(|| format!("cannot connect to {bootstrap}"))?;
        stream.set_nodelay(true)?;
        let (half, sender) = stream.into_split();
        Ok(Connection { sender, receiver: Receiver { half, buffered: BytesMut::new() }, correlation: 0 })
    }

    pub fn next_correlation(&mut self) -> i32 {
        self.correlation += 1;
        self.correlation
    }

    /// Sends one request and waits for its answer; not to be mixed with requests under way.
    pub async fn call(&mut self, request: impl FnOnce(i32) -> Bytes) -> anyhow::Result<Answer> {
        let correlation = self.next_correlation();
        self.sender.write_all(&request(correlation)).await?;
        self.receiver.answer(correlation).await
    }

    /// Creates the topic if it is not there, and waits until each of the partitions that will be used has a leader.
    pub async fn ensure_topic(&mut self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let answer = self.call(|c| wire::create_topic(c, topic, partitions)).await?;
        let (error, message) = wire::read_create_topic(answer)?;
        ensure!(error == 0 || error == EXISTS, "topic {topic} cannot be created: error {error} {message}");
        let mut last = Err(0);
        for _ in 0..100 {
            last = wire::read_metadata(self.call(|c| wire::metadata(c, topic)).await?)?;
            if last.is_ok_and(|led| led >= partitions) {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        match last {
            Ok(led) => bail!("topic {topic} has {led} partitions with a leader, {partitions} are wanted"),
            Err(error) => bail!("no metadata of topic {topic}: error {error}"),
        }
    }

    /// The offsets of the partitions, in the same order.
    pub async fn offsets(&mut self, topic: &str, partitions: &[i32], at: i64) -> anyhow::Result<Vec<i64>> {
        let answer = self.call(|c| wire::list_offsets(c, topic, partitions, at)).await?;
        let listed = wire::read_list_offsets(answer)?;
        let find = |p: &i32| match listed.iter().find(|(partition, ..)| partition == p) {
            Some((_, 0, offset)) => Ok(*offset),
            Some((_, error, _)) => bail!("no offset of {topic}-{p}: error {error}"),
            None => bail!("no offset of {topic}-{p} in the broker's answer"),
        };
        partitions.iter().map(find).collect()
    }
}

impl Receiver {
    /// The next answer, which must be this request's: Kafka answers in order.
    pub async fn answer(&mut self, correlation: i32) -> anyhow::Result<Answer> {
        let (got, answer) = Answer::open(self.frame().await?)?;
        ensure!(got == correlation, "the broker answered request {got} where {correlation} was next");
        Ok(answer)
    }

    async fn frame(&mut self) -> anyhow::Result<Bytes> {
        self.fill(4).await?;
        let len = i32::from_be_bytes([self.buffered[0], self.buffered[1], self.buffered[2], self.buffered[3]]);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        ensure!(len <= MAX_FRAME, "the broker announced an answer of {len} bytes");
        self.fill(4 + len).await?;
        let mut frame = self.buffered.split_to(4 + len);
        Ok(frame.split_off(4).freeze())
    }

    async fn fill(&mut self, wanted: usize) -> anyhow::Result<()> {
        self.buffered.reserve(wanted.saturating_sub(self.buffered.len()));
        while self.buffered.len() < wanted {
            let n = self.half.read_buf(&mut self.buffered).await?;
            ensure!(n > 0, "the broker closed the connection");
        }
        Ok(())
    }
}
