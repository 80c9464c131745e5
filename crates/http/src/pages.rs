//! The pages and their server.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::sniff::{KafkaAt, Sniffing};
use crate::{Node, not_ready, process};

type Shared = State<Arc<dyn Node>>;

/// Serves until `stop` resolves and the answers under way are sent. `kafka_at` is for whoever knocks at the wrong port.
pub async fn serve(
    listener: TcpListener,
    node: Arc<dyn Node>,
    kafka_at: String,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = Sniffing { listener, kafka: KafkaAt(kafka_at.into()) };
    axum::serve(listener, router(node)).with_graceful_shutdown(stop).await
}

fn router(node: Arc<dyn Node>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(node)
}

async fn front(State(node): Shared) -> String {
    format!(
        "Lakebed {}\n{}\n\n/healthz  the process answers\n/readyz   it may get traffic; if not, why\n/metrics  Prometheus metrics\n",
        env!("CARGO_PKG_VERSION"),
        node.about()
    )
}

async fn readyz(State(node): Shared) -> (StatusCode, String) {
    match not_ready(&node.facts()).as_slice() {
        [] => (StatusCode::OK, "ready\n".to_owned()),
        reasons => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
    }
}

async fn metrics(State(node): Shared) -> impl IntoResponse {
    let mut out = String::new();
    node.metrics(&mut out);
    process::metrics(&mut out);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;
    use crate::Facts;

    struct Fixed(Facts);

    impl Node for Fixed {
        fn facts(&self) -> Facts {
            self.0.clone()
        }
        fn metrics(&self, out: &mut String) {
            out.push_str("lakebed_test 1\n");
        }
        fn about(&self) -> String {
            "broker 7".to_owned()
        }
    }

    /// Sends the bytes to a server over `facts` and returns all that comes back.
    async fn exchange(facts: Facts, request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { stopped.await.unwrap_or(()) };
        let server = tokio::spawn(serve(listener, Arc::new(Fixed(facts)), "127.0.0.1:9092".into(), stopped));
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is refused may end with a reset.
        let _ = stream.read_to_end(&mut answer).await;
        drop(stop);
        server.await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn page(facts: Facts, path: &str) -> String {
        exchange(facts, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await
    }

    fn ready() -> Facts {
        Facts { registered: true, memory_budget: 1, ..Facts::default() }
    }

    #[tokio::test]
    async fn pages_answer() {
        assert!(page(ready(), "/").await.contains("broker 7"));
        assert!(page(ready(), "/healthz").await.starts_with("HTTP/1.1 200"));
        let metrics = page(ready(), "/metrics").await;
        assert!(metrics.contains("lakebed_test 1") && metrics.contains("text/plain; version=0.0.4"), "{metrics}");
        assert!(page(ready(), "/nothing").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn readyz_gives_a_line_per_reason() {
        assert!(page(ready(), "/readyz").await.starts_with("HTTP/1.1 200"));
        let facts = Facts { registered: false, stopping: true, ..ready() };
        let answer = page(facts, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("stopping\nnot registered in the log yet\n"), "{answer}");
    }

    #[tokio::test]
    async fn kafka_bytes_end_the_connection() {
        let api_versions = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff";
        assert_eq!(exchange(ready(), api_versions).await, "");
    }
}
