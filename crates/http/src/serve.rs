//! The server: pages and API on one port.

use std::io;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, Uri};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::{self, Front, Stopping};
use crate::patience::Peer;
use crate::problem::{Kind, Problem};
use crate::sniff::{Limits, Sniffing};
use crate::{Node, pages};

#[derive(Clone, Debug, Default)]
pub struct HttpConfig {
    /// Where Kafka is served, for whoever knocks at the wrong port.
    pub kafka_at: String,
    /// Whose pages may use the API from a browser (CORS); others may change nothing.
    pub cors_origins: Vec<Origin>,
}

/// An origin as browsers send it (RFC 6454): `https://app.example.net`, `http://localhost:5173`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Origin, &'static str> {
        const SHAPE: &str = "an origin is needed, without a path: https://app.example.net or http://localhost:5173";
        let uri: Uri = text.parse().map_err(|_| SHAPE)?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or(SHAPE)?;
        // As browsers write it, or it would match none.
        let fine =
            format!("{scheme}://{authority}") == text && text == text.to_ascii_lowercase() && !text.contains('@');
        HeaderValue::from_str(text).ok().filter(|_| fine).map(Origin).ok_or(SHAPE)
    }
}

/// Serves until `stopping` turns true, then ends what waits or follows, and returns when the answers under way are sent.
pub async fn serve(
    listener: TcpListener,
    node: Arc<dyn Node>,
    config: HttpConfig,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let origins = config.cors_origins.into_iter().map(|Origin(origin)| origin).collect();
    let front = Front::new(Arc::clone(&node), stopping.clone(), origins);
    let listener = Sniffing::new(listener, config.kafka_at, Limits::default());
    let service = router(node, front).into_make_service_with_connect_info::<Peer>();
    let stopped = async move { Stopping(stopping).come().await };
    axum::serve(listener, service).with_graceful_shutdown(stopped).await
}

fn router(node: Arc<dyn Node>, front: Front) -> Router {
    pages::router(node)
        .merge(api::router(front))
        .fallback(async || Problem::new(Kind::NOT_FOUND, "see /openapi.json for what there is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        for fine in ["https://app.example.net", "http://localhost:5173", "http://[::1]:80"] {
            assert!(fine.parse::<Origin>().is_ok(), "{fine}");
        }
        for wrong in
            ["*", "app.example.net", "https://a/", "https://a/b", "https://A.example", "https://u@a", "null", ""]
        {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
