//! The API over a socket, on a bucket in memory. What other programs make of it is tried in `tests/clients`.

use std::sync::Arc;

use lakebed_broker::{Broker, BrokerConfig, FlushProfile};
use lakebed_store::env::Env;
use lakebed_store::memory::MemoryStore;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::{HttpConfig, Node, serve};

struct Up(Broker);

impl Node for Up {
    fn not_ready(&self) -> Vec<String> {
        Vec::new()
    }
    fn metrics(&self) -> String {
        String::new()
    }
    fn about(&self) -> String {
        String::new()
    }
    fn broker(&self) -> Option<Broker> {
        Some(self.0.clone())
    }
}

struct Server {
    at: std::net::SocketAddr,
    broker: Broker,
    _stop: watch::Sender<bool>,
}

async fn server() -> Server {
    let env = Env::system();
    let config = BrokerConfig { flush: FlushProfile::Latency, ..BrokerConfig::new("localhost", 9092, 64 << 20) };
    let store = Arc::new(MemoryStore::new(&env));
    let broker = Broker::open(store, env, config).await.expect("the broker opens");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let (stop, stopping) = watch::channel(false);
    let config =
        HttpConfig { cors_origins: vec!["http://friend:1".parse().expect("an origin")], ..HttpConfig::default() };
    tokio::spawn(serve(listener, Arc::new(Up(broker.clone())), config, stopping));
    Server { at, broker, _stop: stop }
}

impl Server {
    /// Status and body; `head` is the request line without version, and more headers.
    async fn ask(&self, head: &str, body: &str) -> (u16, Value) {
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut request =
            format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.contains("content-type") && !body.is_empty() {
            request.push_str("content-type: application/json\r\n");
        }
        headers.lines().for_each(|header| request.push_str(&format!("{header}\r\n")));
        let mut stream = TcpStream::connect(self.at).await.expect("it listens");
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head[9..12].parse().expect("a status");
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn records_are_stored_and_read() {
    let server = server().await;
    assert_eq!(server.ask("POST /v1/topics", r#"{"name":"t","partitions":2}"#).await.0, 201);
    let records = json!({"records": [{"value": "a", "partition": 1}, {"value_base64": "AA==", "partition": 1}, {"partition": 0}]});
    let (status, stored) = server.ask("POST /v1/topics/t/records", &records.to_string()).await;
    assert_eq!((status, &stored["records"][1]), (200, &json!({"partition": 1, "offset": "1"})));
    let (status, page) = server.ask("GET /v1/topics/t/records?partition=1&max_records=1&from=1", "").await;
    assert_eq!((status, &page["next"]), (200, &json!("1:2")));
    assert_eq!(page["records"][0]["value_base64"], "AA==");
    let (status, problem) = server.ask("GET /v1/topics/t/records?partition=1&from=3", "").await;
    assert_eq!((status, &problem["high_watermark"]), (416, &json!("2")));
    server.broker.shutdown().await;
}

#[tokio::test]
async fn a_request_with_a_key_is_stored_once() {
    let server = server().await;
    server.ask("POST /v1/topics", r#"{"name":"t","partitions":3}"#).await;
    let (head, body) = ("POST /v1/topics/t/records\nidempotency-key: k", r#"{"records":[{"value":"a"},{"key":"b"}]}"#);
    let first = server.ask(head, body).await;
    assert_eq!(first.0, 200);
    assert_eq!(server.ask(head, body).await, first);
    let (status, problem) = server.ask(head, r#"{"records":[{"value":"c"},{"key":"b"}]}"#).await;
    assert_eq!((status, &problem["type"]), (422, &json!("urn:lakebed:problem:idempotency-key-reused")));
    let (_, page) = server.ask("GET /v1/topics/t/records", "").await;
    assert_eq!(page["records"].as_array().map(Vec::len), Some(2));
    server.broker.shutdown().await;
}

#[tokio::test]
async fn lines_are_stored_up_to_a_bad_one() {
    let server = server().await;
    server.ask("POST /v1/topics", r#"{"name":"t"}"#).await;
    let head = "POST /v1/topics/t/records\ncontent-type: application/x-ndjson";
    let (status, stored) = server.ask(head, "{\"value\":\"a\"}\n\n{}").await;
    assert_eq!((status, &stored["stored"]), (200, &json!(2)));
    let (status, problem) = server.ask(head, "{}\n{}\n{\"partition\":7}\n{}").await;
    assert_eq!((status, &problem["line"], &problem["stored"]), (404, &json!(3), &json!(2)));
    server.broker.shutdown().await;
}

#[tokio::test]
async fn pages_of_strangers_change_nothing() {
    let server = server().await;
    let body = r#"{"name":"t"}"#;
    assert_eq!(server.ask("POST /v1/topics\norigin: http://stranger:1", body).await.0, 403);
    assert_eq!(server.ask("POST /v1/topics\norigin: http://friend:1", body).await.0, 201);
    server.broker.shutdown().await;
}

#[tokio::test]
async fn what_is_described_can_be_found() {
    let server = server().await;
    let (status, document) = server.ask("GET /openapi.json", "").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let text = document.to_string();
    let named = text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next());
    for name in named {
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not described");
    }
    server.broker.shutdown().await;
}
