//! Tells a Kafka client that knocked at the HTTP port from a browser: a Kafka request begins with its length in four
//! bytes, the first of which is 0; an HTTP/1 or HTTP/2 request begins with a letter, TLS with 22.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Where Kafka clients should have gone, for the log.
#[derive(Clone)]
pub struct KafkaAt(pub Arc<str>);

/// Accepts connections whose first byte is looked at when it is read.
pub struct Sniffing {
    pub listener: TcpListener,
    pub kafka: KafkaAt,
}

impl axum::serve::Listener for Sniffing {
    type Io = Sniffed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Sniffed, SocketAddr) {
        // axum's own accept of a TcpListener logs faults and waits a second where descriptors ran out.
        let (stream, peer) = axum::serve::Listener::accept(&mut self.listener).await;
        // Small answers go at once; if the socket refuses, they are merely later.
        let _ = stream.set_nodelay(true);
        (Sniffed { stream, peer, kafka: self.kafka.clone(), seen: Seen::Nothing }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub struct Sniffed {
    stream: TcpStream,
    peer: SocketAddr,
    kafka: KafkaAt,
    seen: Seen,
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

impl AsyncRead for Sniffed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if self.seen == Seen::Something {
            return Poll::Ready(Ok(()));
        }
        let Some(first) = buf.filled().get(before).copied() else { return Poll::Ready(Ok(())) };
        self.seen = Seen::Something;
        let at = &self.kafka.0;
        match talk(first) {
            Talk::Http => return Poll::Ready(Ok(())),
            Talk::Kafka => {
                tracing::warn!(peer = %self.peer, "a kafka client knocked at the http port; kafka is on {at}")
            }
            Talk::Tls => {
                tracing::warn!(peer = %self.peer, "tls was tried at the http port, which speaks plain http; use http://")
            }
        }
        buf.set_filled(before);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "not http")))
    }
}

impl AsyncWrite for Sniffed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
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
    use super::*;

    #[test]
    fn the_first_byte_tells() {
        assert_eq!(talk(b'G'), Talk::Http);
        assert_eq!(talk(b'P'), Talk::Http);
        assert_eq!(talk(0), Talk::Kafka);
        assert_eq!(talk(0x16), Talk::Tls);
    }
}
