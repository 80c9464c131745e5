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

use crate::connection::{Closed, Connection, Limits};
use crate::handle::Session;
use crate::log_limit::LogLimit;
use crate::metrics::KafkaMetrics;
use crate::peer::{Foreign, http_answer};

/// After an error that accepting again at once would only repeat, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A connection that is closed gets so long to take the last word.
const LAST_WORD: Duration = Duration::from_secs(5);

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
    let front = Arc::new(Front { broker, config, limit: LogLimit::default(), shutdown: shutdown.clone() });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => { connections.spawn(Arc::clone(&front).connection(socket, peer)); }
                Err(error) => {
                    front.limit.log(|more| tracing::warn!(%error, more, "cannot accept a Kafka connection"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = told(&mut shutdown) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Resolves once the node stops, also if whoever would say so is gone.
async fn told(shutdown: &mut watch::Receiver<bool>) {
    // Within a select the guard would outlive this statement, and the future could not move between threads.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

struct Front {
    broker: Broker,
    config: KafkaConfig,
    limit: LogLimit,
    shutdown: watch::Receiver<bool>,
}

impl Front {
    async fn connection(self: Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        let metrics = &self.config.metrics;
        metrics.opened();
        // Replies are written whole: nothing is won by waiting for more.
        let _ = socket.set_nodelay(true);
        let limits = Limits { max_frame: self.config.max_request_bytes, idle: self.config.max_idle };
        let session = Session::new(self.broker.clone(), peer, metrics.clone());
        let connection = Connection::new(socket, session, self.broker.memory().clone(), limits, self.shutdown.clone());
        let (closed, socket) = Box::pin(connection.run()).await;
        self.say_why(&closed, peer);
        if matches!(closed, Closed::Foreign(Foreign::Http)) {
            let _ = timeout(LAST_WORD, last_word(socket, self.config.http_address.as_deref())).await;
        }
        metrics.closed();
    }

    fn say_why(&self, closed: &Closed, peer: SocketAddr) {
        match closed {
            Closed::ByPeer | Closed::Stopping | Closed::Idle(_) | Closed::Io(_) | Closed::MidRequest => {
                return tracing::debug!(%peer, reason = %closed, "connection closed");
            }
            Closed::Stalled => {
                return self.limit.log(|more| tracing::info!(%peer, more, reason = %closed, "connection closed"));
            }
            _ => self.config.metrics.refused(),
        }
        let http = self.config.http_address.as_deref().unwrap_or("the port given by --http-listen");
        self.limit.log(|more| match closed {
            Closed::Foreign(Foreign::Http) => {
                tracing::info!(%peer, more, "HTTP on the Kafka port: send it to {http}");
            }
            Closed::Foreign(Foreign::Tls) => tracing::info!(
                %peer, more,
                "TLS on the Kafka port, which does not speak it: set security.protocol=PLAINTEXT in the client"
            ),
            _ => tracing::info!(%peer, more, reason = %closed, "connection closed"),
        });
    }
}

/// Says it, then takes what still comes, lest the answer is lost to a reset.
async fn last_word(mut socket: TcpStream, http: Option<&str>) -> io::Result<()> {
    socket.write_all(http_answer(http).as_bytes()).await?;
    socket.shutdown().await?;
    tokio::io::copy(&mut socket, &mut tokio::io::sink()).await?;
    Ok(())
}
