//! The pages and their server.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::sniff::{Limits, Sniffing};
use crate::{Node, process};

type Shared = State<Arc<dyn Node>>;

/// Serves until `stop` resolves and the answers under way are sent. `kafka_at` is for whoever knocks at the wrong port.
pub async fn serve(
    listener: TcpListener,
    node: Arc<dyn Node>,
    kafka_at: String,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = Sniffing::new(listener, kafka_at, Limits::default());
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
    match node.not_ready().as_slice() {
        [] => (StatusCode::OK, "ready\n".to_owned()),
        reasons => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
    }
}

async fn metrics(State(node): Shared) -> impl IntoResponse {
    let mut page = node.metrics();
    process::metrics(&mut page);
    page.push_str("# EOF\n");
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    /// Not ready for these reasons.
    struct Fixed(&'static [&'static str]);

    impl Node for Fixed {
        fn not_ready(&self) -> Vec<String> {
            self.0.iter().map(|r| r.to_string()).collect()
        }
        fn metrics(&self) -> String {
            "lakebed_test 1\n".to_owned()
        }
        fn about(&self) -> String {
            "broker 7".to_owned()
        }
    }

    /// Sends the bytes to a node that is not ready for `reasons` and returns all that comes back.
    async fn exchange(reasons: &'static [&'static str], request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { stopped.await.unwrap_or(()) };
        let server = tokio::spawn(serve(listener, Arc::new(Fixed(reasons)), "127.0.0.1:9092".into(), stopped));
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is refused may end with a reset.
        let _ = stream.read_to_end(&mut answer).await;
        drop(stop);
        server.await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn page(reasons: &'static [&'static str], path: &str) -> String {
        exchange(reasons, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await
    }

    #[tokio::test]
    async fn pages_answer() {
        assert!(page(&[], "/").await.contains("broker 7"));
        assert!(page(&[], "/healthz").await.starts_with("HTTP/1.1 200"));
        let metrics = page(&[], "/metrics").await;
        assert!(metrics.contains("lakebed_test 1\n") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(page(&[], "/nothing").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn readyz_gives_a_line_per_reason() {
        assert!(page(&[], "/readyz").await.starts_with("HTTP/1.1 200"));
        let answer = page(&["stopping", "no answer"], "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("stopping\nno answer\n"), "{answer}");
    }

    #[tokio::test]
    async fn kafka_bytes_end_the_connection() {
        let api_versions = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff";
        assert_eq!(exchange(&[], api_versions).await, "");
    }
}
