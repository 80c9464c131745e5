//! A node, and a client that says exactly what a test wants it to.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, Request};
use lakebed_broker::{Broker, BrokerConfig, FlushProfile};
use lakebed_kafka::{KafkaConfig, serve};
use lakebed_record::batch::BatchBuilder;
use lakebed_store::Store;
use lakebed_store::env::Env;
use lakebed_store::memory::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

pub struct Node {
    pub address: SocketAddr,
    pub broker: Broker,
    pub stop: watch::Sender<bool>,
    pub stopped: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub async fn node() -> Node {
    node_with(|_| {}).await
}

pub async fn node_with(change: impl FnOnce(&mut BrokerConfig)) -> Node {
    let env = Env::system();
    node_on(Arc::new(MemoryStore::new(&env)), env, change).await
}

pub async fn node_on(store: Arc<dyn Store>, env: Env, change: impl FnOnce(&mut BrokerConfig)) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = BrokerConfig::new("broker.example", 4711, 64 << 20);
    config.flush = FlushProfile::Latency;
    change(&mut config);
    let broker = Broker::open(store, env, config).await.unwrap();
    let (stop, shutdown) = watch::channel(false);
    let kafka = KafkaConfig { http_address: Some("http://h.example:8080".into()), ..KafkaConfig::default() };
    let stopped = tokio::spawn(serve(listener, broker.clone(), kafka, shutdown));
    Node { address, broker, stop, stopped }
}

impl Node {
    pub async fn client(&self) -> Client {
        Client { socket: TcpStream::connect(self.address).await.unwrap(), next: 1 }
    }
}

pub struct Client {
    pub socket: TcpStream,
    next: i32,
}

impl Client {
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let id = self.send(version, request).await;
        self.answer::<R>(version, id).await
    }

    /// A version that kafka-protocol does not know yet is written, and its answer read, as the newest that it knows.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let mut body = BytesMut::new();
        request.encode(&mut body, version.min(R::VERSIONS.max)).unwrap();
        self.send_body::<R>(version, &body).await
    }

    async fn send_body<R: Request>(&mut self, version: i16, body: &[u8]) -> i32 {
        let id = self.next;
        self.next += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(id)
            .with_client_id(Some("test".into()));
        let mut frame = BytesMut::zeroed(4);
        header.encode(&mut frame, R::header_version(version)).unwrap();
        frame.extend_from_slice(body);
        let size = frame.len() as i32 - 4;
        frame[..4].copy_from_slice(&size.to_be_bytes());
        self.socket.write_all(&frame).await.unwrap();
        id
    }

    pub async fn answer<R: Request>(&mut self, version: i16, id: i32) -> R::Response {
        let body = self.answer_body::<R>(version, id).await;
        read_body::<R>(version, body)
    }

    async fn answer_body<R: Request>(&mut self, version: i16, id: i32) -> Bytes {
        let mut frame = self.frame().await.expect("the connection is open");
        let key = ApiKey::try_from(R::KEY).unwrap();
        let header = ResponseHeader::decode(&mut frame, key.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, id);
        frame
    }

    /// Asks in a version that differs from the newest one that kafka-protocol knows in that the topic goes by its id.
    pub async fn ask_by_id<R: Request>(&mut self, version: i16, request: &R, name: &str, id: Uuid) -> R::Response {
        let named = [&[name.len() as u8 + 1], name.as_bytes()].concat();
        let mut body = BytesMut::new();
        request.encode(&mut body, R::VERSIONS.max).unwrap();
        let sent = self.send_body::<R>(version, &replace(&body, &named, id.as_bytes())).await;
        let answer = self.answer_body::<R>(version, sent).await;
        read_body::<R>(version, replace(&answer, id.as_bytes(), &named).into())
    }

    /// `None`: the node has closed the connection.
    pub async fn frame(&mut self) -> Option<Bytes> {
        let size = self.socket.read_u32().await.ok()?;
        let mut frame = vec![0; size as usize];
        self.socket.read_exact(&mut frame).await.unwrap();
        Some(frame.into())
    }
}

fn read_body<R: Request>(version: i16, mut body: Bytes) -> R::Response {
    let response = R::Response::decode(&mut body, version.min(R::VERSIONS.max)).unwrap();
    assert!(body.is_empty());
    response
}

/// With `old`, which is there once, replaced.
fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let places: Vec<_> = bytes.windows(old.len()).enumerate().filter(|(_, some)| *some == old).collect();
    assert_eq!(places.len(), 1);
    let at = places[0].0;
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

/// A batch of records whose values are the given texts, stamped now.
pub fn batch(values: &[&str]) -> Bytes {
    let now = Env::system().clock.wall_ms();
    batch_at(&values.iter().map(|value| (now, *value)).collect::<Vec<_>>())
}

pub fn batch_at(records: &[(i64, &str)]) -> Bytes {
    let mut builder = BatchBuilder::new();
    records.iter().for_each(|(time, value)| builder.push(*time, None, Some(value.as_bytes()), []));
    builder.build()
}
