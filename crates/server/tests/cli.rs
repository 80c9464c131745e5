//! The binary as scripts and people meet it: lines, exit codes, and sentences that say what to do.

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use support::{Node, exchange, fails, lakebed};

const API_VERSIONS: &[u8] = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff";

#[test]
fn says_what_listens_and_leaves_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("file://{}/data", dir.path().display());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|l| l.strip_prefix("SigIgn:")).expect("a mask");
    // Under nohup a node is to outlive its terminal, and so is this test.
    let hangup = u64::from_str_radix(ignored.trim(), 16).expect("hex") & 1 == 0;
    for signal in ["TERM", "INT", "HUP"].into_iter().filter(|s| hangup || *s != "HUP") {
        let node = Node::start(&["serve", "--store", &store]);
        assert!(node.kafka.starts_with("127.0.0.1:") && !node.kafka.ends_with(":0"), "{}", node.kafka);
        assert_eq!(node.said.last().map(String::as_str), Some("ready"));
        let told = format!("clients are told to use localhost:{}; data is kept in {store}", &node.kafka[10..]);
        assert!(node.said.contains(&told), "{:#?}", node.said);
        assert!(node.said.iter().any(|l| l.contains("kcat -b localhost:")), "{:#?}", node.said);
        #[expect(clippy::disallowed_methods, reason = "how long a process takes is told by the real clock")]
        let told_at = Instant::now();
        let (code, said) = node.signal(signal);
        assert_eq!(code, Some(0), "{said:#?}");
        assert!(told_at.elapsed() < Duration::from_secs(10), "{:?}", told_at.elapsed());
    }
}

#[test]
fn goes_on_when_nobody_reads_what_it_says() {
    let node = Node::start_unheard(&["--store", "memory://"]);
    assert_eq!(exchange(&node.http, API_VERSIONS), "");
    assert!(exchange(&node.kafka, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").starts_with("HTTP/1.1 4"));
    assert!(node.http_get("/readyz").starts_with("HTTP/1.1 200"));
    assert_eq!(node.signal("TERM").0, Some(0));
}

#[test]
fn clients_elsewhere_need_an_address() {
    let open = ["--store", "memory://", "--remote-without-login", "--kafka-listen", "0.0.0.0:0"];
    let node = Node::start(&open);
    assert!(node.said.iter().any(|l| l.contains("WARN") && l.contains("--advertise")), "{:#?}", node.said);
    let node = Node::start(&[&open[..], &["--advertise", "broker.example:9092"]].concat());
    assert!(!node.said.iter().any(|l| l.contains("WARN")), "{:#?}", node.said);
    let said = fails(&mut lakebed(&["--store", "memory://", "--advertise", "0.0.0.0:9092"]));
    assert!(said.contains("--advertise 0.0.0.0:9092"), "{said}");
}

#[test]
fn serves_without_a_subcommand_and_logs_json() {
    let node = Node::start(&["--store", "memory://", "--log-format", "json"]);
    let logged = node.said.iter().find(|l| l.contains("\"serving\"")).unwrap();
    assert!(logged.starts_with('{') && logged.ends_with('}'), "{logged}");
    assert_eq!(node.signal("TERM").0, Some(0));
}

#[test]
fn pages_tell_the_node_s_state() {
    let node = Node::start(&["--store", "memory://"]);
    assert!(node.http_get("/healthz").starts_with("HTTP/1.1 200"));
    let ready = node.http_get("/readyz");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(node.http_get("/").contains("broker 1"));
    let metrics = node.http_get("/metrics");
    for name in [
        "lakebed_store_requests_total{kind=\"put\"",
        "lakebed_slot ",
        "lakebed_kafka_connections ",
        "process_cpu_seconds_total",
    ] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn the_wrong_protocol_is_told_the_right_port() {
    let mut node = Node::start(&["--store", "memory://"]);
    assert_eq!(exchange(&node.http, API_VERSIONS), "");
    let kafka = node.kafka.replace("127.0.0.1", "localhost");
    node.wait_for(&format!("kafka is on {kafka}"));
    let answer = exchange(&node.kafka, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 4") && answer.contains(&node.http), "{answer}");
    let http = node.http.clone();
    node.wait_for(&format!("HTTP on the Kafka port: send it to http://{http}"));
    assert_eq!(exchange(&node.kafka, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0]), "");
    node.wait_for("security.protocol=PLAINTEXT");
}

#[test]
fn a_taken_port_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let said = fails(&mut lakebed(&["--store", "memory://", "--kafka-listen", &at]));
    assert!(said.contains(&at) && said.contains("in use") && said.contains("--kafka-listen"), "{said}");
    let said = fails(&mut lakebed(&["--store", "memory://", "--kafka-listen", "127.0.0.1:0", "--http-listen", &at]));
    assert!(said.contains("--http-listen"), "{said}");
}

#[test]
fn strangers_are_kept_out_unless_they_are_let_in() {
    let serve = ["--store", "memory://", "--http-listen", "127.0.0.1:0", "--kafka-listen", "0.0.0.0:0"];
    let said = fails(&mut lakebed(&serve));
    assert!(said.contains("--remote-without-login"), "{said}");
}

#[test]
fn a_store_that_cannot_be_used_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let ports = ["--kafka-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    let url = format!("file://{}", file.display());
    let said = fails(&mut lakebed(&[&["--store", &url][..], &ports].concat()));
    assert!(said.contains("make it a directory that this user may write"), "{said}");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = |args: &[&str]| {
        let mut command = lakebed(args);
        command.env("AWS_ENDPOINT_URL", format!("http://{nobody}")).env("AWS_REGION", "us-east-1");
        fails(command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test"))
    };
    for said in [
        away(&[&["--store", "s3://bucket/prefix"][..], &ports].concat()),
        away(&["doctor", "--store", "s3://bucket/prefix"]),
    ] {
        assert!(said.contains(&nobody.to_string()), "{said}");
    }
}

#[test]
fn doctor_names_each_promise() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("file://{}", dir.path().display());
    let output = lakebed(&["doctor", "--store", &store]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.lines().filter(|l| l.starts_with("ok ")).count() >= 6, "{said}");
    assert!(said.ends_with("all kept: Lakebed can use this store\n"), "{said}");
}

#[test]
fn inspect_tells_an_index_page_from_a_segment() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifest/testdata/golden/v1");
    let dir = tempfile::tempdir().unwrap();
    let keys = std::fs::read_to_string(golden.join("keys.txt")).unwrap();
    let key = keys.lines().find(|key| key.starts_with("segments/")).expect("a segment's key");
    let object = dir.path().join(key);
    std::fs::create_dir_all(object.parent().unwrap()).unwrap();
    std::fs::copy(golden.join("index-page.bin"), &object).unwrap();
    let store = format!("file://{}", dir.path().display());
    let shown = lakebed(&["inspect", "--store", &store, "segment", key]).output().unwrap();
    let said = String::from_utf8(shown.stdout).unwrap();
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(shown.status.success() && lines.len() == 4 && said.contains("index page of"), "{said}");
    // What the fixture was made of.
    let ranges: Vec<_> = lines[1..].iter().map(|line| (line[0], line[2])).collect();
    assert_eq!(ranges, [("1000", "1002"), ("1002", "1302"), ("1302", "1303")], "{said}");
}

#[test]
fn a_wrong_command_line_is_refused_with_the_usage() {
    for args in [
        &["--store", "ftp://x"][..],
        &["--flush", "never"],
        &["--kafka-listen", "9092"],
        &["--advertise", "lb"],
        &["--memory-budget", "1"],
    ] {
        let output = lakebed(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(args[1]) && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn every_metric_is_documented() {
    let node = Node::start(&["--store", "memory://"]);
    let documented = include_str!("../../../docs/metrics.md");
    let metrics = node.http_get("/metrics");
    let names = metrics.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next());
    let missing: Vec<_> = names.filter(|name| !documented.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks {missing:?}");
    assert!(metrics.lines().filter(|l| l.starts_with("# TYPE ")).count() > 20);
}
