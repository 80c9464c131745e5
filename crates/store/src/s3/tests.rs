//! Against a server that answers what a test tells it, and, if there is one, against a real one:
//! `LAKEBED_TEST_S3_ENDPOINT=http://[::1]:4566 cargo test -p lakebed-store live -- --ignored` (see `tests/s3/run`).

use std::collections::VecDeque;

use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::conformance;

fn connect(endpoint: &str, bucket: &str, prefix: &str, env: &Env) -> S3Store {
    let secret = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let (id, key) = (secret("AWS_ACCESS_KEY_ID", "test"), secret("AWS_SECRET_ACCESS_KEY", "test"));
    let config = client::tuned(Builder::new())
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new(id, key, None, None, "test"))
        .region(Region::from_static("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true);
    let place = Where { bucket: bucket.into(), endpoint: endpoint.into() };
    S3Store::with_client(Client::from_conf(config.build()), place, prefix, env)
}

/// What the canned server does with one request.
enum Act {
    /// Sends this, then closes.
    Say(String),
    /// Closes without a word.
    Hang,
    /// Leaves the client waiting.
    Stall,
}

/// Head, in lower case, and body.
type Request = (String, Vec<u8>);

struct Canned {
    endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Canned {
    async fn start(acts: Vec<Act>) -> Canned {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        tokio::spawn(async move {
            let mut acts = VecDeque::from(acts);
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read_request(&mut stream).await;
                log.lock().push(request);
                match acts.pop_front().unwrap_or(Act::Hang) {
                    Act::Say(reply) => {
                        stream.write_all(reply.as_bytes()).await.unwrap();
                        stream.shutdown().await.unwrap();
                    }
                    Act::Hang => {}
                    Act::Stall => std::mem::forget(stream),
                }
            }
        });
        Canned { endpoint, requests }
    }

    fn store(&self) -> S3Store {
        connect(&self.endpoint, "bucket", "pre/fix", &Env::system())
    }
}

async fn read_request(stream: &mut TcpStream) -> Request {
    let mut all = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        all.extend_from_slice(&buffer[..n]);
        let Some(end) = all.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(all[..end].to_vec()).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        if all.len() >= end + 4 + length || n == 0 {
            return (head, all.split_off(end + 4));
        }
    }
}

const DATE: &str = "Tue, 24 Nov 2026 15:00:00 GMT";
const DATE_MS: i64 = 1_795_532_400_000;

fn status(line: &str, headers: &str, body: &str) -> Act {
    let length =
        if headers.contains("Content-Length") { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    Act::Say(format!("HTTP/1.1 {line}\r\nDate: {DATE}\r\nConnection: close\r\n{length}{headers}\r\n{body}"))
}

fn error(line: &str, code: &str) -> Act {
    status(line, "", &format!("<Error><Code>{code}</Code><Message>said so.</Message></Error>"))
}

fn object(line: &str, headers: &str, body: &str) -> Act {
    status(line, &format!("ETag: \"e\"\r\nLast-Modified: {DATE}\r\n{headers}"), body)
}

fn rope() -> Body {
    Body::new(vec![Bytes::from_static(b"hello "), Bytes::new(), Bytes::from_static(b"world")])
}

#[tokio::test]
async fn a_store_that_says_when_to_come_back_is_left_alone_until_then() {
    let told = |seconds| {
        status("503 Slow Down", &format!("Retry-After: {seconds}\r\n"), "<Error><Code>SlowDown</Code></Error>")
    };
    let there = || object("200 OK", "", "hello");
    let server = Canned::start(vec![told(1), there(), told(3_600)]).await;
    let (store, key) = (server.store(), Key::new("a"));
    let throttled = |reply: Reply<Result<Object, ReadError>>| match reply.value {
        Err(ReadError::Fault(fault)) if fault.kind == FaultKind::Throttled => fault.message,
        other => panic!("{other:?}"),
    };
    throttled(store.get(&key, None).await);
    let clock = Env::system().clock;
    let begun = clock.monotonic();
    assert!(store.get(&key, None).await.value.is_ok());
    let waited = clock.monotonic() - begun;
    assert!(waited > Duration::from_millis(900), "{waited:?}");
    throttled(store.get(&key, None).await);
    let message = throttled(store.get(&key, None).await);
    assert!(message.starts_with("not sent") && message.contains("60 s"), "{message}");
    assert_eq!(server.requests.lock().len(), 3);
}

#[tokio::test]
async fn a_bucket_that_keeps_versions_is_noted_and_one_that_does_not_tell_is_not() {
    let versioned = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let rules = "<LifecycleConfiguration><Rule><ID>old</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>\
                 <Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>";
    let server = Canned::start(vec![status("200 OK", "", versioned), status("200 OK", "", rules)]).await;
    let notes = server.store().notes().await;
    assert!(notes.len() == 2 && notes[0].contains("versions") && notes[1].contains("rule old"), "{notes:?}");
    let heads: Vec<_> = server.requests.lock().iter().map(|(head, _)| head.clone()).collect();
    assert!(heads[0].starts_with("get /bucket") && heads[0].contains("versioning"), "{heads:?}");
    let denied = || error("403 Forbidden", "AccessDenied");
    let server = Canned::start(vec![denied(), error("501 Not Implemented", "NotImplemented"), denied()]).await;
    assert!(server.store().notes().await.is_empty());
}

#[tokio::test]
async fn a_create_is_one_conditional_put_of_known_length_with_its_checksum() {
    let server = Canned::start(vec![status("200 OK", "ETag: \"e\"\r\n", "")]).await;
    let reply = server.store().create(&Key::new("log/1"), &rope()).await;
    assert!(matches!(reply.value, Created::Yes), "{reply:?}");
    assert_eq!(reply.date_ms, Some(DATE_MS));
    let requests = server.requests.lock();
    let (head, body) = &requests[0];
    assert!(head.starts_with("put /bucket/pre/fix/log/1"), "{head}");
    for header in ["content-length: 11", "if-none-match: *", "x-amz-checksum-crc32c: yzrlqg==", "unsigned-payload"] {
        assert!(head.contains(header), "{header} is missing in {head}");
    }
    for header in ["transfer-encoding", "aws-chunked", "x-amz-trailer"] {
        assert!(!head.contains(header), "{header} in {head}");
    }
    assert_eq!(body, b"hello world");
}

#[tokio::test]
async fn each_status_of_a_create_has_its_outcome_and_nothing_is_retried() {
    use FaultKind::*;
    let cases = [
        (error("409 Conflict", "ConditionalRequestConflict"), Conflict, ""),
        (error("429 Too Many Requests", "TooManyRequests"), Throttled, ""),
        (error("503 Slow Down", "SlowDown"), Throttled, ""),
        (error("500 Internal Server Error", "InternalError"), Server, ""),
        (error("502 Bad Gateway", ""), Server, ""),
        (error("404 Not Found", "NoSuchBucket"), Other, "create the bucket bucket"),
        (error("404 Not Found", "NoSuchKey"), Other, ""),
        (error("403 Forbidden", "AccessDenied"), Denied, "allow s3:GetObject"),
        (error("403 Forbidden", "RequestTimeTooSkewed"), Denied, "clock of this machine"),
        (error("403 Forbidden", "SignatureDoesNotMatch"), Denied, "AWS_SECRET_ACCESS_KEY"),
        (error("401 Unauthorized", ""), Denied, ""),
        (error("400 Bad Request", "BadDigest"), Other, "BadDigest (said so)"),
        (error("400 Bad Request", "ExpiredToken"), Denied, "renew"),
        (error("400 Bad Request", "RequestTimeout"), Timeout, ""),
        (error("501 Not Implemented", "NotImplemented"), Other, "conditional writes"),
        (error("507 Insufficient Storage", "XMinioStorageFull"), NoSpace, "free space"),
        (error("200 OK", "InternalError"), Server, ""),
        (status("200 OK", "", ""), Server, "without ETag"),
        (
            status(
                "301 Moved Permanently",
                "x-amz-bucket-region: eu-west-1\r\n",
                "<Error><Code>PermanentRedirect</Code></Error>",
            ),
            Other,
            "set AWS_REGION to eu-west-1",
        ),
        (Act::Hang, Timeout, "cannot reach"),
    ];
    for (i, (act, kind, hint)) in cases.into_iter().enumerate() {
        let server = Canned::start(vec![act]).await;
        let reply = server.store().create(&Key::new("k"), &rope()).await;
        let Created::Unknown(fault) = reply.value else { panic!("case {i}: {reply:?}") };
        assert_eq!(fault.kind, kind, "case {i}: {fault}");
        assert!(fault.message.contains(hint), "case {i}: {fault}");
        assert_eq!(server.requests.lock().len(), 1, "case {i} was retried");
    }
}

#[tokio::test]
async fn refusals_are_answers() {
    let refused = || error("412 Precondition Failed", "PreconditionFailed");
    let server = Canned::start(vec![refused(), refused(), refused()]).await;
    let (store, key) = (server.store(), Key::new("k"));
    let created = store.create(&key, &rope()).await;
    assert!(matches!(created.value, Created::Exists));
    assert_eq!(created.date_ms, Some(DATE_MS));
    assert!(matches!(store.swap(&key, None, &rope()).await.value, Swapped::Mismatch));
    let version = Version("\"abc\"".into());
    assert!(matches!(store.swap(&key, Some(&version), &rope()).await.value, Swapped::Mismatch));
    let requests = server.requests.lock();
    assert!(requests[1].0.contains("if-none-match: *"));
    assert!(requests[2].0.contains("if-match: \"abc\""), "{}", requests[2].0);
}

#[tokio::test]
async fn only_a_missing_object_is_not_found() {
    let acts = vec![
        error("404 Not Found", "NoSuchKey"),
        error("404 Not Found", "NoSuchBucket"),
        error("403 Forbidden", "AccessDenied"),
        status("404 Not Found", "", ""),
    ];
    let server = Canned::start(acts).await;
    let (store, key) = (server.store(), Key::new("k"));
    let missing = store.get(&key, None).await;
    assert!(matches!(missing.value, Err(ReadError::NotFound)));
    assert_eq!(missing.date_ms, Some(DATE_MS));
    for kind in [FaultKind::Other, FaultKind::Denied] {
        let Err(ReadError::Fault(fault)) = store.get(&key, None).await.value else { panic!("{kind:?}") };
        assert_eq!(fault.kind, kind);
    }
    assert!(matches!(store.head(&key).await.value, Err(ReadError::NotFound)));
}

#[tokio::test]
async fn a_proxy_s_404_says_nothing_of_an_object() {
    let page =
        || status("404 Not Found", "Content-Type: text/html\r\n", "<html><body>404 page not found</body></html>");
    let empty = || status("404 Not Found", "", "");
    let server = Canned::start(vec![page(), empty(), page()]).await;
    let (store, key) = (server.store(), Key::new("log/1"));
    for what in ["a page", "nothing"] {
        let Err(ReadError::Fault(fault)) = store.get(&key, None).await.value else { panic!("{what} is no evidence") };
        assert!(fault.kind == FaultKind::Server && fault.message.contains("AWS_ENDPOINT_URL"), "{fault}");
    }
    assert!(store.delete(&key).await.value.is_err(), "it may still be there");
}

#[tokio::test]
async fn a_delete_is_one_request_and_an_absent_object_is_deleted_already() {
    use FaultKind::*;
    let gone = [
        status("204 No Content", "", ""),
        status("204 No Content", "x-amz-delete-marker: true\r\nx-amz-version-id: v\r\n", ""),
        error("404 Not Found", "NoSuchKey"),
    ];
    for act in gone {
        let server = Canned::start(vec![act]).await;
        let reply = server.store().delete(&Key::new("log/1")).await;
        assert!(reply.value.is_ok() && reply.date_ms == Some(DATE_MS), "{reply:?}");
        let requests = server.requests.lock();
        assert!(requests.len() == 1 && requests[0].0.starts_with("delete /bucket/pre/fix/log/1"), "{requests:?}");
        assert!(!requests[0].0.contains("versionid"), "{}", requests[0].0);
    }
    let unknown = [
        (error("404 Not Found", "NoSuchBucket"), Other),
        (error("403 Forbidden", "AccessDenied"), Denied),
        (error("503 Slow Down", "SlowDown"), Throttled),
        (error("500 Internal Server Error", "InternalError"), Server),
        (Act::Hang, Timeout),
    ];
    for (act, kind) in unknown {
        let server = Canned::start(vec![act]).await;
        let fault = server.store().delete(&Key::new("k")).await.value.unwrap_err();
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(kind != Denied || fault.message.contains("s3:DeleteObject"), "{fault}");
        assert_eq!(server.requests.lock().len(), 1, "{kind:?} was retried");
    }
    let server = Canned::start(vec![]).await;
    assert_eq!(server.store().delete(&keys::current()).await.value.unwrap_err().kind, Other);
    assert!(server.requests.lock().is_empty(), "a delete of CURRENT was sent");
}

fn list_page(keys: &[&str], more: bool) -> Act {
    let entry = |key: &&str| {
        format!(
            "<Contents><Key>{key}</Key><Size>7</Size><LastModified>2026-11-24T15:00:00.000Z</LastModified></Contents>"
        )
    };
    let entries: String = keys.iter().map(entry).collect();
    let body = format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{entries}</ListBucketResult>");
    status("200 OK", "Content-Type: application/xml\r\n", &body)
}

#[tokio::test]
async fn a_list_is_without_the_prefix_of_the_store_and_without_names_of_others() {
    let acts = vec![
        list_page(&["pre/fix/log/", "pre/fix/log/1", "pre/fix/log/2 3", "pre/fix/log/4"], true),
        list_page(&["pre/fix/log/5/", "pre/fix/log/6 7"], true),
        list_page(&["pre/fix/log/8"], false),
    ];
    let server = Canned::start(acts).await;
    let store = server.store();
    let first = store.list("log/", None).await;
    assert_eq!(first.date_ms, Some(DATE_MS));
    let first = first.value.unwrap();
    let listed = |key| Listed { key: Key::new(key), len: 7, last_modified_ms: DATE_MS };
    assert_eq!((first.objects, first.more), (vec![listed("log/1"), listed("log/4")], true));
    let rest = store.list("log/", Some(&Key::new("log/4"))).await.value.unwrap();
    assert_eq!((rest.objects, rest.more), (vec![listed("log/8")], false));
    let requests = server.requests.lock();
    for (request, after) in requests.iter().zip([None, Some("log%2f4"), Some("log%2f6%207")]) {
        let line = request.0.lines().next().unwrap();
        assert!(line.contains("list-type=2") && line.contains("prefix=pre%2ffix%2flog%2f"), "{line}");
        assert!(line.contains("max-keys=1000"), "{line}");
        match after {
            Some(after) => assert!(line.contains(&format!("start-after=pre%2ffix%2f{after}")), "{line}"),
            None => assert!(!line.contains("start-after"), "{line}"),
        }
    }
}

#[tokio::test]
async fn strange_lists_are_faults() {
    for (keys, more) in [(&["pre/fix/b", "pre/fix/a"][..], false), (&["other/a"], false), (&[], true)] {
        let server = Canned::start(vec![list_page(keys, more)]).await;
        let fault = server.store().list("", None).await.value.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Server, "{keys:?}: {fault}");
    }
    let server = Canned::start(vec![error("403 Forbidden", "AccessDenied")]).await;
    assert_eq!(server.store().list("", None).await.value.unwrap_err().kind, FaultKind::Denied);
}

#[tokio::test]
async fn ranges_are_asked_for_and_checked() {
    let acts = vec![
        object("206 Partial Content", "Content-Range: bytes 2-5/10\r\n", "2345"),
        object("206 Partial Content", "Content-Range: bytes 8-9/10\r\n", "89"),
        object("200 OK", "", "0123456789"),
        object("206 Partial Content", "Content-Range: bytes 3-6/10\r\n", "3456"),
        object("206 Partial Content", "Content-Range: bytes 2-4/10\r\n", "234"),
    ];
    let server = Canned::start(acts).await;
    let (store, key) = (server.store(), Key::new("k"));
    for (range, expected) in [(2..6, "2345"), (8..100, "89"), (2..6, "2345")] {
        let object = store.get(&key, Some(range)).await.value.unwrap();
        assert_eq!((object.bytes.as_ref(), object.meta.total_len), (expected.as_bytes(), 10));
        assert_eq!(object.meta.last_modified_ms, DATE_MS);
    }
    for _ in 0..2 {
        let Err(ReadError::Fault(fault)) = store.get(&key, Some(2..6)).await.value else {
            panic!("took another range")
        };
        assert_eq!(fault.kind, FaultKind::Server);
    }
    let requests = server.requests.lock();
    assert!(requests[0].0.contains("range: bytes=2-5"), "{}", requests[0].0);
    assert!(requests[1].0.contains("range: bytes=8-99"));
}

#[tokio::test]
async fn a_range_past_the_end_tells_the_length() {
    let acts = vec![
        error("416 Range Not Satisfiable", "InvalidRange"),
        object("200 OK", "Content-Length: 10\r\n", ""),
        object("200 OK", "Content-Length: 10\r\n", ""),
    ];
    let server = Canned::start(acts).await;
    let (store, key) = (server.store(), Key::new("k"));
    for range in [10..20, 5..5] {
        let object = store.get(&key, Some(range)).await.value.unwrap();
        assert_eq!((object.bytes.len(), object.meta.total_len), (0, 10));
    }
}

#[tokio::test]
async fn a_reply_cut_short_is_a_fault() {
    let acts = vec![object("200 OK", "Content-Length: 10\r\n", "0123"), object("200 OK", "Content-Length: 10\r\n", "")];
    let server = Canned::start(acts).await;
    for _ in 0..2 {
        let reply = server.store().get(&Key::new("k"), None).await;
        let Err(ReadError::Fault(fault)) = reply.value else { panic!("{reply:?}") };
        assert_eq!(fault.kind, FaultKind::Server);
    }
}

/// A clock on which every wait is over at once.
struct Hasty;

impl Clock for Hasty {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> i64 {
        0
    }

    fn sleep<'a>(&'a self, _: Duration) -> BoxFuture<'a, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(100)))
    }
}

#[tokio::test]
async fn a_silent_server_is_a_time_out() {
    let server = Canned::start(vec![Act::Stall]).await;
    let env = Env { clock: Arc::new(Hasty), ..Env::system() };
    let store = connect(&server.endpoint, "bucket", "", &env);
    let reply = store.create(&Key::new("k"), &rope()).await;
    let Created::Unknown(fault) = reply.value else { panic!("{reply:?}") };
    assert_eq!((fault.kind, reply.date_ms), (FaultKind::Timeout, None));
    assert!(fault.message.contains("within 10000 ms"), "{fault}");
}

#[tokio::test]
async fn nobody_listening_is_a_time_out_with_advice() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let env = Env::system();
    let store = connect(&format!("http://{free}"), "bucket", "", &env);
    let Err(fault) = store.check(&env).await else { panic!("reached nobody") };
    assert_eq!(fault.kind, FaultKind::Timeout);
    assert!(fault.message.contains("check the network and AWS_ENDPOINT_URL"), "{fault}");
}

#[tokio::test]
async fn opening_finds_out_whether_checksums_are_verified() {
    let slow = || error("503 Slow Down", "SlowDown");
    let bad = || error("400 Bad Request", "BadDigest");
    let missing = || error("404 Not Found", "NoSuchKey");
    let taken = status("200 OK", "ETag: \"e\"\r\n", "");
    let env = Env::system();
    let yes = Canned::start(vec![slow(), missing(), slow(), bad()]).await;
    assert_eq!(yes.store().check(&env).await.ok(), Some(true));
    let no = Canned::start(vec![object("200 OK", "", "format"), taken]).await;
    assert_eq!(no.store().check(&env).await.ok(), Some(false));
    let none = Canned::start(vec![error("404 Not Found", "NoSuchBucket")]).await;
    let fault = none.store().check(&env).await.unwrap_err();
    assert!(fault.message.contains("create the bucket"), "{fault}");
    let down = Canned::start(vec![slow(), slow(), slow()]).await;
    assert_eq!(down.store().check(&env).await.unwrap_err().kind, FaultKind::Throttled);
}

/// Set for the process that the next tests start: its environment is the case.
const CHILD: &str = "LAKEBED_TEST_S3_OPEN";

/// What opening `s3://bucket/p` says with nothing in the environment but `vars`.
async fn open_with(vars: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "s3::tests::settings_come_from_the_environment", "--nocapture"])
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env(CHILD, "1")
        .envs(vars.iter().copied())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = text.lines().find_map(|l| l.split_once("opening: ")).map(|(_, said)| said.to_owned());
    said.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn settings_come_from_the_environment() {
    if std::env::var_os(CHILD).is_some() {
        let opened = S3Store::open("bucket", "p", &Env::system()).await;
        return println!("opening: {}", opened.err().map_or("fine".into(), |e| e.to_string()));
    }
    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let acts = || vec![error("404 Not Found", "NoSuchKey"), error("400 Bad Request", "BadDigest")];
    for variable in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
        let server = Canned::start(acts()).await;
        assert_eq!(open_with(&[KEYS[0], KEYS[1], (variable, &server.endpoint)]).await, "fine");
        let head = server.requests.lock()[0].0.clone();
        assert!(head.starts_with("get /bucket/p/format"), "not path style: {head}");
        assert!(head.contains("credential=id/") && head.contains("/us-east-1/s3/"), "{head}");
    }
    let server = Canned::start(acts()).await;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let endpoint = &server.endpoint;
    let config =
        format!("[profile p]\nregion = eu-north-1\nservices = s\n[services s]\ns3 =\n  endpoint_url = {endpoint}\n");
    let config = file("config", config);
    let credentials = file("credentials", "[p]\naws_access_key_id = x\naws_secret_access_key = y\n".into());
    let profile = [("AWS_PROFILE", "p"), ("AWS_CONFIG_FILE", &config), ("AWS_SHARED_CREDENTIALS_FILE", &credentials)];
    assert_eq!(open_with(&profile).await, "fine");
    let head = server.requests.lock()[0].0.clone();
    assert!(head.starts_with("get /bucket/p/format"), "not path style: {head}");
    assert!(head.contains("credential=x/") && head.contains("/eu-north-1/s3/"), "{head}");
}

#[tokio::test]
async fn missing_settings_are_named() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = format!("http://{free}");
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    for (vars, hint) in [
        (vec![], "set AWS_REGION"),
        (vec![("AWS_REGION", "eu-west-1")], "set AWS_ACCESS_KEY_ID"),
        (vec![("AWS_ENDPOINT_URL", nobody.as_str())], "set AWS_ACCESS_KEY_ID"),
        (vec![keys[0], keys[1], ("AWS_ENDPOINT_URL", &nobody)], "check the network and AWS_ENDPOINT_URL"),
        (vec![keys[0], keys[1], ("AWS_ENDPOINT_URL", "127.0.0.1:9")], "correct AWS_ENDPOINT_URL"),
    ] {
        let said = open_with(&vars).await;
        assert!(said.contains(hint), "{vars:?}: {said}");
    }
}

fn live() -> (String, String) {
    let endpoint = std::env::var("LAKEBED_TEST_S3_ENDPOINT").expect("set LAKEBED_TEST_S3_ENDPOINT");
    (endpoint, std::env::var("LAKEBED_TEST_S3_BUCKET").unwrap_or_else(|_| "lakebed".into()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs LAKEBED_TEST_S3_ENDPOINT"]
async fn live_server_keeps_the_contract() {
    let (endpoint, bucket) = live();
    let env = Env::system();
    let mut store = connect(&endpoint, &bucket, "test/prefix", &env);
    store.refuses_short_bodies = store.check(&env).await.unwrap();
    println!("{endpoint} verifies checksums: {}", store.refuses_short_bodies);
    let mut paged = connect(&endpoint, &bucket, "test/paged", &env);
    paged.refuses_short_bodies = store.refuses_short_bodies;
    paged.page = 3;
    conformance::run(Arc::new(paged), &env).await;
    let store = Arc::new(store);
    for _ in 0..3 {
        conformance::run(store.clone(), &env).await;
    }
    let report = crate::probe::probe(&*store, &env).await.unwrap();
    println!("{report:#?}");
}

#[tokio::test]
#[ignore = "needs LAKEBED_TEST_S3_ENDPOINT"]
async fn live_server_without_the_bucket() {
    let (endpoint, _) = live();
    let env = Env::system();
    let fault = connect(&endpoint, "no-such-bucket-here", "", &env).check(&env).await.unwrap_err();
    assert!(fault.message.contains("create the bucket no-such-bucket-here"), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs LAKEBED_TEST_S3_ENDPOINT"]
async fn live_server_speed() {
    let (endpoint, bucket) = live();
    let env = Env::system();
    crate::speed::print(&connect(&endpoint, &bucket, "", &env), &env).await;
}
