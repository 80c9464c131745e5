//! Accepts connections and says, in one line, why one was closed that should not have been opened.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lakebed_broker::Broker;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::connection::{Closed, Connection, Limits, stopping};
use crate::handle::{Front, Session};
use crate::log_limit::LogLimit;
use crate::metrics::KafkaMetrics;
use crate::peer::{Foreign, http_answer};
use crate::replies::Replies;

/// After an error that accepting again at once would only repeat, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a peer may stand still in the middle of a request or of a reply.
const STALLED: Duration = Duration::from_secs(60);
/// A request that cannot grow for so long is given up.
const GROWTH: Duration = Duration::from_secs(10);
/// A connection that is closed gets so long to take the last word.
const LAST_WORD: Duration = Duration::from_secs(2);
/// A reply that holds memory has to be taken within this: longer than clients wait for one.
const TAKING: Duration = Duration::from_secs(600);
/// One part in so many of what requests may take, replies may take.
const REPLIES: usize = 4;

#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `socket.request.max.bytes`: the largest request, in bytes.
    pub max_request_bytes: usize,
    /// `connections.max.idle.ms`.
    pub max_idle: Duration,
    /// Where HTTP is served, for those who ask for it at the Kafka port, e.g. `http://localhost:8080`.
    pub http_address: Option<String>,
    pub metrics: KafkaMetrics,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            max_request_bytes: 104_857_600,
            max_idle: Duration::from_secs(600),
            http_address: None,
            metrics: KafkaMetrics::default(),
        }
    }
}

/// Serves the Kafka protocol until `shutdown` turns true; then accepts and reads nothing more, answers what was read,
/// and returns when every connection is closed.
///
/// # Errors
/// Only if the listener itself is broken; what happens on a connection ends that connection alone.
pub async fn serve(
    listener: TcpListener,
    broker: Broker,
    config: KafkaConfig,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let front = Front {
        metrics: config.metrics.clone(),
        replies: Replies::new(broker.memory().total() / REPLIES),
        shutdown: shutdown.clone(),
        broker,
    };
    config.metrics.sample(&front.replies);
    let server = Arc::new(Server { front, config, limit: LogLimit::default() });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => { connections.spawn(Arc::clone(&server).connection(socket, peer)); }
                Err(error) => {
                    server.limit.log(|left_out| tracing::warn!(%error, left_out, "cannot accept a Kafka connection"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = stopping(&mut shutdown) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

struct Server {
    front: Front,
    config: KafkaConfig,
    limit: LogLimit,
}

impl Server {
    async fn connection(self: Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        let Front { broker, metrics, shutdown, .. } = &self.front;
        let _open = metrics.opened();
        // Replies are written whole: nothing is won by waiting for more.
        let _ = socket.set_nodelay(true);
        let (max_frame, idle) = (self.config.max_request_bytes, self.config.max_idle);
        let limits = Limits { max_frame, idle, stalled: STALLED, growth: GROWTH, taking: TAKING };
        let session = Session::new(self.front.clone(), peer);
        let connection = Connection::new(socket, session, broker.memory().clone(), limits, shutdown.clone());
        let (closed, mut socket) = Box::pin(connection.run()).await;
        self.say_why(&closed, peer);
        let last_word = match closed {
            Closed::Foreign(Foreign::Http) => http_answer(self.config.http_address.as_deref()),
            Closed::Stopping => String::new(),
            _ if closed.is_of_a_request() => String::new(),
            _ => return,
        };
        let _ = timeout(LAST_WORD, close_gently(&mut socket, &last_word)).await;
    }

    fn say_why(&self, closed: &Closed, peer: SocketAddr) {
        match closed {
            Closed::ByPeer | Closed::Stopping | Closed::Idle(_) | Closed::Io(_) | Closed::MidRequest => {
                return tracing::debug!(%peer, reason = %closed, "connection closed");
            }
            Closed::Stalled | Closed::NoRoom(_) => {
                return self
                    .limit
                    .log(|left_out| tracing::info!(%peer, left_out, reason = %closed, "connection closed"));
            }
            _ => self.front.metrics.refused(),
        }
        let http = self.config.http_address.as_deref().unwrap_or("the port given by --http-listen");
        self.limit.log(|left_out| match closed {
            Closed::Foreign(Foreign::Http) => {
                tracing::info!(%peer, left_out, "HTTP on the Kafka port: send it to {http}");
            }
            Closed::Foreign(Foreign::Tls) => tracing::info!(
                %peer, left_out,
                "TLS on the Kafka port, which does not speak it: set security.protocol=PLAINTEXT in the client"
            ),
            _ => tracing::info!(%peer, left_out, reason = %closed, "connection closed"),
        });
    }
}

/// Takes what still comes until the peer closes too: what it has not yet read would be lost to a reset.
async fn close_gently(socket: &mut TcpStream, last_word: &str) -> io::Result<()> {
    socket.write_all(last_word.as_bytes()).await?;
    socket.shutdown().await?;
    tokio::io::copy(socket, &mut tokio::io::sink()).await?;
    Ok(())
}
