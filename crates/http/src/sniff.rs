//! The connections of the HTTP port: how many there may be, how long one may take over a request, and which do not belong
//! here. A Kafka request begins with its length in four bytes, the first of which is 0; an HTTP/1 or HTTP/2 request
//! begins with a letter, TLS with 22.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use crate::log_limit::LogLimit;
use crate::patience::Reprieve;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections: usize,
    /// From the start of a connection to its first answer, or to a request whose handler takes more time ([`Reprieve`]).
    pub first: Duration,
    /// From one answer to the next.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        // Idle for longer than the minute between two scrapes.
        Limits { connections: 256, first: Duration::from_secs(10), idle: Duration::from_secs(75) }
    }
}

/// Accepts connections whose first byte is looked at when it is read.
pub struct Sniffing {
    listener: TcpListener,
    limits: Limits,
    places: Arc<Semaphore>,
    log: Arc<Log>,
}

/// What is said of connections, and where Kafka clients should have gone.
struct Log {
    kafka_at: String,
    kafka: LogLimit,
    tls: LogLimit,
    full: LogLimit,
}

impl Sniffing {
    pub fn new(listener: TcpListener, kafka_at: String, limits: Limits) -> Sniffing {
        let log = Log { kafka_at, kafka: LogLimit::default(), tls: LogLimit::default(), full: LogLimit::default() };
        Sniffing { listener, limits, places: Arc::new(Semaphore::new(limits.connections)), log: Arc::new(log) }
    }

    /// Whoever comes to a full house waits in the backlog until somebody leaves or is ended.
    async fn place(&self) -> OwnedSemaphorePermit {
        if self.places.available_permits() == 0 {
            let connections = self.limits.connections;
            self.log.full.log(|left_out| tracing::warn!(left_out, connections, "the http port is full: others wait"));
        }
        // Never closed.
        Arc::clone(&self.places).acquire_owned().await.expect("an open semaphore")
    }
}

impl axum::serve::Listener for Sniffing {
    type Io = Sniffed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Sniffed, SocketAddr) {
        let place = self.place().await;
        // axum's own accept of a TcpListener logs faults and waits a second where descriptors ran out.
        let (stream, peer) = axum::serve::Listener::accept(&mut self.listener).await;
        // Small answers go at once; if the socket refuses, they are merely later.
        let _ = stream.set_nodelay(true);
        let sniffed = Sniffed {
            stream,
            peer,
            log: Arc::clone(&self.log),
            seen: Seen::Nothing,
            idle: self.limits.idle,
            deadline: Box::pin(sleep(self.limits.first)),
            reprieve: Reprieve::default(),
            _place: place,
        };
        (sniffed, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub struct Sniffed {
    stream: TcpStream,
    peer: SocketAddr,
    log: Arc<Log>,
    seen: Seen,
    idle: Duration,
    /// Put off by what is sent, never by what is received: a request that comes byte by byte is no excuse.
    deadline: Pin<Box<Sleep>>,
    /// What the requests under way may take beyond that.
    reprieve: Reprieve,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Something,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    Http,
    Kafka,
    Tls,
}

fn talk(first: u8) -> Talk {
    match first {
        0 => Talk::Kafka,
        0x16 => Talk::Tls,
        _ => Talk::Http,
    }
}

impl Sniffed {
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.deadline.as_mut().poll(cx).is_ready() {
            match self.reprieve.until() {
                Some(until) if until > Instant::now() => self.deadline.as_mut().reset(until),
                _ => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }

    pub fn reprieve(&self) -> Reprieve {
        self.reprieve.clone()
    }

    fn foreign(&self, talk: Talk) -> io::Error {
        let (peer, at) = (self.peer, &self.log.kafka_at);
        match talk {
            Talk::Http => {}
            Talk::Kafka => self.log.kafka.log(|left_out| {
                tracing::warn!(%peer, left_out, "a kafka client knocked at the http port; kafka is on {at}");
            }),
            Talk::Tls => self.log.tls.log(|left_out| {
                tracing::warn!(
                    %peer, left_out,
                    "tls was tried at the http port, which speaks plain http; use http://, and for kafka {at} without tls"
                );
            }),
        }
        io::Error::new(io::ErrorKind::InvalidData, "not http")
    }
}

impl AsyncRead for Sniffed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if self.seen == Seen::Something {
            return Poll::Ready(Ok(()));
        }
        let Some(first) = buf.filled().get(before).copied() else { return Poll::Ready(Ok(())) };
        self.seen = Seen::Something;
        match talk(first) {
            Talk::Http => Poll::Ready(Ok(())),
            other => {
                buf.set_filled(before);
                Poll::Ready(Err(self.foreign(other)))
            }
        }
    }
}

impl AsyncWrite for Sniffed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        let next = Instant::now() + self.idle;
        self.deadline.as_mut().reset(next);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(100);
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A connection to a server without pages that has these limits, and the server's address.
    async fn connected(limits: Limits) -> (TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let sniffing = Sniffing::new(listener, "localhost:9092".into(), limits);
        tokio::spawn(async move { axum::serve(sniffing, Router::new()).await });
        (TcpStream::connect(at).await.unwrap(), at)
    }

    /// All that comes until the server ends the connection.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        // What is ended with bytes unread is ended with a reset.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection was not ended");
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn the_first_byte_tells() {
        assert_eq!(talk(b'G'), Talk::Http);
        assert_eq!(talk(b'P'), Talk::Http);
        assert_eq!(talk(0), Talk::Kafka);
        assert_eq!(talk(0x16), Talk::Tls);
    }

    #[tokio::test]
    async fn half_a_request_and_none_are_ended() {
        for sent in [&b""[..], b"GET / HTTP/1.1\r\nhost: x\r\n"] {
            let (mut stream, _) = connected(Limits { connections: 9, first: SHORT, idle: LONG }).await;
            stream.write_all(sent).await.unwrap();
            assert_eq!(rest(&mut stream).await, "");
        }
    }

    #[tokio::test]
    async fn an_answered_connection_is_ended_when_it_idles() {
        let (mut stream, _) = connected(Limits { connections: 9, first: LONG, idle: SHORT }).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(rest(&mut stream).await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn a_full_house_lets_the_next_in_when_one_leaves() {
        let (first, at) = connected(Limits { connections: 1, first: LONG, idle: LONG }).await;
        let mut second = TcpStream::connect(at).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(timeout(SHORT, second.readable()).await.is_err());
        drop(first);
        assert!(rest(&mut second).await.starts_with("HTTP/1.1 404"));
    }
}
