//! What handlers take from a request; whatever is wrong with it is a problem.

use std::net::SocketAddr;

use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use lakebed_broker::Broker;
use lakebed_broker::api::TopicInfo;
use lakebed_record::{GroupId, TopicName};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Front;
use super::object::Object;
use crate::body::Arriving;
use crate::patience::{Patience, Peer};
use crate::problem::{Kind, Problem};

/// Largest body of a request other than of records, in bytes.
const MOST_JSON: usize = 1 << 20;

/// The broker, once it is up.
pub struct Up(pub Broker);

impl FromRequestParts<Front> for Up {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, front: &Front) -> Result<Up, Problem> {
        let starting = || Problem::new(Kind::UNAVAILABLE, "the node is starting: it reads the log and registers");
        front.node.broker().map(Up).ok_or_else(starting)
    }
}

/// The query, all of whose parameters have to be known.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Front> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Front) -> Result<Params<T>, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(params)| Params(params)).map_err(|e| Problem::bad_request(e.body_text()))
    }
}

/// A topic's name in the path.
pub struct TopicPath(pub TopicName);

impl FromRequestParts<Front> for TopicPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<TopicPath, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, front).await.map_err(no_path)?;
        TopicName::new(&name).map(TopicPath).map_err(Problem::bad_request)
    }
}

impl TopicPath {
    /// The topic, which some node knows (read barrier if this one does not).
    pub async fn find(&self, broker: &Broker) -> Result<TopicInfo, Problem> {
        broker.topic_by_name(&self.0).await?.ok_or_else(|| Problem::no_topic(self.0.as_str()))
    }

    /// As [`TopicPath::find`], for those who change or describe it: as of now.
    pub async fn find_now(&self, broker: &Broker) -> Result<TopicInfo, Problem> {
        broker.current_topic_by_name(&self.0).await?.ok_or_else(|| Problem::no_topic(self.0.as_str()))
    }
}

/// A consumer group's id in the path.
pub struct GroupPath(pub GroupId);

impl FromRequestParts<Front> for GroupPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<GroupPath, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, front).await.map_err(no_path)?;
        GroupId::new(&id).map(GroupPath).map_err(Problem::bad_request)
    }
}

fn no_path(rejection: PathRejection) -> Problem {
    Problem::bad_request(rejection.body_text())
}

/// The time that a request has, and how the log names its client.
pub struct Came {
    pub patience: Patience,
    pub client: String,
}

impl FromRequestParts<Front> for Came {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Front) -> Result<Came, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer.clone());
        let address = peer.as_ref().map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |peer| peer.address);
        let reprieve = peer.map(|peer| peer.reprieve).unwrap_or_default();
        Ok(Came { patience: Patience::new(reprieve), client: format!("http {address}") })
    }
}

/// A small body in JSON.
pub struct Json<T>(pub T);

impl<T: for<'de> Deserialize<'de>> FromRequest<Front> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, front: &Front) -> Result<Json<T>, Problem> {
        let (mut parts, body) = request.into_parts();
        if media_type(&parts.headers).as_deref() != Some("application/json") {
            return Err(Problem::new(Kind::MEDIA_TYPE, "the body has to be application/json"));
        }
        let Up(broker) = Up::from_request_parts(&mut parts, front).await?;
        let Came { patience, .. } = Came::from_request_parts(&mut parts, front).await?;
        let (bytes, _, _permit) = Arriving::new(body, patience, broker.memory()).whole(MOST_JSON).await?;
        serde_json::from_slice(&bytes).map(|Object(body)| Json(body)).map_err(Problem::bad_request)
    }
}

/// Without its parameters; none if there is none.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().unwrap_or("?");
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Whether a page of another origin may cause nothing by such a request.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
