//! The pages for operators.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::problem::Problem;
use crate::{Node, process};

type Shared = State<Arc<dyn Node>>;

pub fn router(node: Arc<dyn Node>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(Problem::method)
        .with_state(node)
}

async fn front(State(node): Shared) -> String {
    format!(
        "Lakebed {}\n{}\n\n/healthz  the process answers\n/readyz   it may get traffic; if not, why\n/metrics  Prometheus metrics\n/openapi.json  the API under /v1\n",
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
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    use super::*;
    use crate::{HttpConfig, serve};

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
        fn broker(&self) -> Option<lakebed_broker::Broker> {
            None
        }
    }

    /// Sends the bytes to a node that is not ready for `reasons` and returns all that comes back.
    async fn exchange(reasons: &'static [&'static str], request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let server = tokio::spawn(serve(listener, Arc::new(Fixed(reasons)), HttpConfig::default(), stopping));
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
        let nothing = page(&[], "/nothing").await;
        assert!(nothing.starts_with("HTTP/1.1 404") && nothing.contains("application/problem+json"), "{nothing}");
    }

    #[tokio::test]
    async fn the_api_waits_for_the_broker() {
        let answer = page(&[], "/v1/topics").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("urn:lakebed:problem:unavailable"), "{answer}");
        let answer = exchange(&[], b"PUT /v1/topics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: "), "{answer}");
        assert!(answer.contains("urn:lakebed:problem:method-not-allowed"), "{answer}");
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
