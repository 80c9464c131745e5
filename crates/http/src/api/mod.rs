//! The HTTP API, `/v1`: topics, records, consumer groups. What it serves, and the OpenAPI description of it, come from the same annotations.

mod decimal;
mod extract;
mod fetch;
mod groups;
mod object;
mod partitioner;
mod produce;
mod record;
mod tail;
mod topics;

use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::ORIGIN;
use axum::http::{HeaderValue, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lakebed_broker::{Broker, MemoryBudget, MemoryPermit};
use tokio::sync::{Semaphore, watch};
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa::{IntoParams, PartialSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Node;
use crate::body::take;
use crate::patience::{Patience, Peer};
use crate::problem::{Kind, Problem, ProblemBody};

/// One part in so many of what requests may take, answers may; half of it what they are decompressed from.
const REPLIES: usize = 8;

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Front {
    pub node: Arc<dyn Node>,
    pub stopping: Stopping,
    origins: Arc<[HeaderValue]>,
    replies: Arc<OnceLock<Replies>>,
    tails: Arc<Semaphore>,
}

/// Memory for answers, apart from that for requests: readers do not hold up producers.
pub(crate) struct Replies {
    pub answers: MemoryBudget,
    /// What is held while a batch is decompressed: who holds it waits for nothing but a processor.
    pub decompressed: MemoryBudget,
}

/// Whether the node stops: what would go on ends then.
#[derive(Clone)]
pub(crate) struct Stopping(pub watch::Receiver<bool>);

impl Stopping {
    /// Returns once it does.
    pub async fn come(&mut self) {
        // An error means that the sender is gone: the process ends.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

impl Front {
    pub fn new(node: Arc<dyn Node>, stopping: watch::Receiver<bool>, origins: Vec<HeaderValue>) -> Front {
        let tails = Arc::new(Semaphore::new(tail::TAILS));
        Front { node, stopping: Stopping(stopping), origins: origins.into(), replies: Arc::default(), tails }
    }

    fn replies(&self, broker: &Broker) -> &Replies {
        self.replies.get_or_init(|| {
            let half = || MemoryBudget::new(broker.memory().total() / REPLIES / 2);
            Replies { answers: half(), decompressed: half() }
        })
    }
}

/// For an answer of so many bytes.
async fn replies_permit(front: &Front, broker: &Broker, bytes: usize) -> Result<MemoryPermit, Problem> {
    take(&front.replies(broker).answers, bytes).await
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes what TopicPath reads")]
struct TopicParam {
    /// A topic's name.
    #[param(pattern = r"^(?!\.{1,2}$)[A-Za-z0-9._-]+$", min_length = 1, max_length = 249)]
    topic: String,
}

/// All of `/v1`, and `/openapi.json`.
pub(crate) fn router(front: Front) -> Router {
    let (router, api) = described().split_for_parts();
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(front.origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(
            ["content-type", "idempotency-key", "lakebed-header", "last-event-id"]
                .map(|n| n.parse().expect("a header's name")),
        )
        .expose_headers(["location", "retry-after"].map(|n| n.parse().expect("a header's name")));
    let router = router
        .route("/openapi.json", get(async move || Json(api)))
        // Before the layers, which have to see what a browser asks in advance.
        .method_not_allowed_fallback(Problem::method)
        .layer(from_fn_with_state(front.clone(), admit))
        .with_state(front.clone());
    if front.origins.is_empty() { router } else { router.layer(cors) }
}

fn described() -> OpenApiRouter<Front> {
    OpenApiRouter::with_openapi(info())
        .routes(routes!(topics::list, topics::create))
        .routes(routes!(topics::describe, topics::alter, topics::delete))
        .routes(routes!(produce::produce, fetch::fetch))
        .routes(routes!(tail::tail))
        .routes(routes!(groups::list))
        .routes(routes!(groups::describe, groups::delete))
        .routes(routes!(groups::offsets, groups::reset))
}

fn info() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Lakebed")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "A Kafka-protocol message broker on a bucket. The same topics, records and consumer groups as over the Kafka protocol. 64-bit \
             integers are decimal strings, since JavaScript's numbers are exact only up to 2^53; in requests integers do as well.",
        ))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()));
    let problem = ComponentsBuilder::new().schema("Problem", ProblemBody::schema());
    OpenApiBuilder::new().info(info.build()).components(Some(problem.build())).build()
}

/// Every request has its time from here on, also where the log answers slowly. And a page that some browser shows must not write into a
/// broker that its user can reach: browsers send simple requests without asking first.
async fn admit(State(front): State<Front>, request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<Peer>>() {
        Patience::new(peer.reprieve.clone());
    }
    match request.headers().get(ORIGIN) {
        Some(origin) if !extract::is_safe(request.method()) && !front.origins.contains(origin) => {
            let shown = String::from_utf8_lossy(origin.as_bytes()).into_owned();
            let detail = format!("{shown} is not among the origins that the node allows: --http-cors-origin");
            Problem::new(Kind::FORBIDDEN_ORIGIN, detail).into_response()
        }
        _ => next.run(request).await,
    }
}

#[cfg(test)]
mod tests;
