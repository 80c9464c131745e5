use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;

/// What a test decides about each request, by the number in its first four bytes.
#[derive(Clone, Default)]
struct Script {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    started: Vec<u32>,
    open: HashMap<u32, oneshot::Sender<Outcome>>,
    refused: Option<u32>,
    /// Requests that wait first, and what ends their wait.
    later: HashMap<u32, oneshot::Receiver<()>>,
    /// Those of them that do so in their turn.
    in_turn: Vec<u32>,
    produces: Vec<u32>,
    waiting: Vec<bool>,
}

impl Script {
    fn started(&self) -> Vec<u32> {
        self.inner.lock().unwrap().started.clone()
    }

    async fn until_started(&self, n: usize) {
        while self.started().len() < n {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn finish(&self, number: u32, outcome: Outcome) {
        let open = self.inner.lock().unwrap().open.remove(&number).expect("it was started");
        let _ = open.send(outcome);
    }

    fn reply(&self, number: u32) {
        self.finish(number, reply(&number.to_be_bytes()));
    }
}

fn reply(bytes: &[u8]) -> Outcome {
    let piece = Bytes::copy_from_slice(bytes);
    Outcome::Reply(Reply { len: piece.len(), pieces: vec![piece], errors: Vec::new() }, None)
}

impl Handler for Script {
    fn start(&mut self, request: Admitted) -> Started {
        let number = u32::from_be_bytes(request.frame[..4].try_into().unwrap());
        let mut inner = self.inner.lock().unwrap();
        if let Some(wait) = inner.later.remove(&number) {
            let later = Box::pin(async move {
                let _ = wait.await;
                request
            });
            return if inner.in_turn.contains(&number) { Started::InTurn(later) } else { Started::Later(later) };
        }
        if inner.refused == Some(number) {
            return Started::Refused(Closed::Malformed("so says the script".into()));
        }
        inner.started.push(number);
        let (send, receive) = oneshot::channel();
        inner.open.insert(number, send);
        let kind = if inner.produces.contains(&number) { Kind::Produce } else { Kind::Query };
        let outcome = async move {
            let outcome = receive.await.unwrap_or(Outcome::NoReply);
            drop(request);
            outcome
        };
        Started::Running { kind, outcome: outcome.boxed() }
    }

    fn set_waiting(&mut self, waiting: bool) {
        self.inner.lock().unwrap().waiting.push(waiting);
    }
}

struct Served {
    client: TcpStream,
    script: Script,
    ended: tokio::task::JoinHandle<Closed>,
    stop: watch::Sender<bool>,
}

const LIMITS: Limits = Limits {
    max_frame: 8 << 20,
    idle: Duration::from_secs(600),
    stalled: Duration::from_secs(60),
    growth: Duration::from_secs(10),
    taking: Duration::from_secs(600),
};

async fn serve(script: Script, memory: MemoryBudget) -> Served {
    serve_within(LIMITS, script, memory).await
}

async fn serve_within(limits: Limits, script: Script, memory: MemoryBudget) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let (stop, shutdown) = watch::channel(false);
    let connection = Connection::new(socket, script.clone(), memory, limits, shutdown);
    let ended = tokio::spawn(async move { connection.run().await.0 });
    Served { client, script, ended, stop }
}

async fn served() -> Served {
    serve(Script::default(), MemoryBudget::new(1 << 20)).await
}

fn request(number: u32, size: usize) -> Vec<u8> {
    let mut bytes = (size as i32).to_be_bytes().to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.resize(4 + size, 0);
    bytes
}

impl Served {
    async fn send(&mut self, requests: impl IntoIterator<Item = (u32, usize)>) {
        let bytes: Vec<u8> = requests.into_iter().flat_map(|(number, size)| request(number, size)).collect();
        self.client.write_all(&bytes).await.unwrap();
    }

    async fn next_reply(&mut self) -> u32 {
        self.client.read_u32().await.unwrap()
    }
}

#[tokio::test]
async fn replies_keep_the_order_of_the_requests() {
    let mut s = served().await;
    s.script.inner.lock().unwrap().produces = (0..10).collect();
    s.send((0..10).map(|n| (n, 20))).await;
    s.script.until_started(10).await;
    assert_eq!(s.script.started(), (0..10).collect::<Vec<_>>(), "all are started before one is answered");
    for n in [3, 9, 1, 0, 2, 4, 8, 7, 6, 5] {
        s.script.reply(n);
    }
    for n in 0..10 {
        assert_eq!(s.next_reply().await, n);
    }
}

#[tokio::test]
async fn without_a_reply_the_next_one_follows() {
    let mut s = served().await;
    s.send([(1, 8), (2, 8), (3, 8)]).await;
    s.script.until_started(3).await;
    s.script.finish(2, Outcome::NoReply);
    s.script.reply(3);
    s.script.reply(1);
    assert_eq!((s.next_reply().await, s.next_reply().await), (1, 3));
    s.send([(4, 8)]).await;
    s.script.until_started(4).await;
    s.script.finish(4, Outcome::Close(Closed::Unanswerable("no".into())));
    assert!(matches!(s.ended.await.unwrap(), Closed::Unanswerable(_)));
    assert_eq!(s.client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn what_has_to_wait_keeps_its_place() {
    let script = Script::default();
    let (go, wait) = oneshot::channel();
    script.inner.lock().unwrap().later.insert(2, wait);
    let mut s = serve(script, MemoryBudget::new(1 << 20)).await;
    s.send([(1, 8), (2, 8), (3, 8)]).await;
    s.script.until_started(1).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(s.script.started(), [1], "nothing overtakes a request that has to wait");
    s.script.reply(1);
    assert_eq!(s.next_reply().await, 1, "but what was before it is answered");
    go.send(()).unwrap();
    s.script.until_started(3).await;
    assert_eq!(s.script.started(), [1, 2, 3]);
}

#[tokio::test]
async fn what_waits_in_its_turn_waits_for_those_before_it_too() {
    let script = Script::default();
    let (go, wait) = oneshot::channel();
    let _ = go.send(());
    script.inner.lock().unwrap().later.insert(2, wait);
    script.inner.lock().unwrap().in_turn.push(2);
    let mut s = serve(script, MemoryBudget::new(1 << 20)).await;
    s.send([(1, 8), (2, 8), (3, 8)]).await;
    s.script.until_started(1).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(s.script.started(), [1]);
    s.script.reply(1);
    s.script.until_started(3).await;
    assert_eq!((s.next_reply().await, s.script.started()), (1, vec![1, 2, 3]));
}

#[tokio::test]
async fn without_memory_the_socket_is_not_read() {
    let budget = MemoryBudget::new(300_000);
    let mut s = serve(Script::default(), budget.clone()).await;
    s.script.inner.lock().unwrap().produces = vec![1, 2, 3];
    s.send([(1, 200_000), (2, 200_000)]).await;
    s.script.until_started(1).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(s.script.started(), [1]);
    assert!(budget.is_exhausted() && budget.used() >= 200_000);
    s.script.reply(1);
    assert_eq!(s.next_reply().await, 1);
    s.script.until_started(2).await;
    s.script.reply(2);
    assert_eq!(s.next_reply().await, 2);
    while budget.used() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn small_requests_are_free_up_to_a_point() {
    let budget = MemoryBudget::new(1 << 20);
    let mut s = serve(Script::default(), budget.clone()).await;
    s.script.inner.lock().unwrap().produces = (0..100).collect();
    s.send((0..6).map(|n| (n, 10_000))).await;
    s.script.until_started(6).await;
    assert_eq!(budget.used(), 0);
    s.send((6..100).map(|n| (n, 10_000))).await;
    s.script.until_started(100).await;
    assert!(budget.used() > 90 * 10_000, "{}", budget.used());
}

#[tokio::test]
async fn queries_are_few_at_a_time() {
    let mut s = served().await;
    s.send((0..10).map(|n| (n, 8))).await;
    s.script.until_started(MAX_QUERIES).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(s.script.started().len(), MAX_QUERIES);
    s.script.reply(0);
    s.script.until_started(MAX_QUERIES + 1).await;
}

#[tokio::test]
async fn a_client_that_takes_no_replies_gets_no_more() {
    let mut s = served().await;
    s.script.inner.lock().unwrap().produces = (0..100).collect();
    s.send([(0, 8)]).await;
    s.script.until_started(1).await;
    s.script.finish(0, reply(&vec![0; 64 << 20]));
    tokio::time::sleep(Duration::from_millis(50)).await;
    s.send([(1, 8)]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(s.script.started(), [0]);
    let mut taken = vec![0; 64 << 20];
    s.client.read_exact(&mut taken).await.unwrap();
    s.script.until_started(2).await;
}

#[tokio::test]
async fn stopping_answers_what_was_read() {
    let mut s = served().await;
    s.send([(1, 8), (2, 8)]).await;
    s.script.until_started(2).await;
    s.stop.send(true).unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(!s.ended.is_finished());
    s.script.reply(2);
    s.script.reply(1);
    assert_eq!((s.next_reply().await, s.next_reply().await), (1, 2));
    assert!(matches!(s.ended.await.unwrap(), Closed::Stopping));
}

#[tokio::test]
async fn stopping_ends_an_idle_connection_at_once() {
    let s = served().await;
    s.stop.send(true).unwrap();
    assert!(matches!(s.ended.await.unwrap(), Closed::Stopping));
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_answered() {
    let mut s = served().await;
    s.send([(1, 8)]).await;
    s.client.shutdown().await.unwrap();
    s.script.until_started(1).await;
    s.script.reply(1);
    assert_eq!(s.next_reply().await, 1);
    assert!(matches!(s.ended.await.unwrap(), Closed::ByPeer));
}

#[tokio::test]
async fn half_a_request_is_dropped_with_its_connection() {
    let mut s = served().await;
    s.client.write_all(&request(1, 100)[..50]).await.unwrap();
    s.client.shutdown().await.unwrap();
    assert!(matches!(s.ended.await.unwrap(), Closed::MidRequest));
    assert!(s.script.started().is_empty());
}

#[tokio::test]
async fn other_protocols_are_told_apart() {
    for (bytes, expected) in
        [(&b"GET / HTTP/1.1\r\n\r\n"[..], Foreign::Http), (&[0x16, 3, 1, 2, 0, 1, 0], Foreign::Tls)]
    {
        let mut s = served().await;
        s.client.write_all(bytes).await.unwrap();
        let closed = s.ended.await.unwrap();
        assert!(matches!(closed, Closed::Foreign(found) if found == expected), "{closed}");
    }
    let mut s = served().await;
    s.client.write_all(&[0x7f, 0, 0, 0, 1]).await.unwrap();
    assert!(matches!(s.ended.await.unwrap(), Closed::Malformed(_)));
}

#[tokio::test]
async fn the_broker_hears_when_a_client_only_waits() {
    let mut s = served().await;
    s.script.inner.lock().unwrap().produces = vec![1, 2];
    s.send([(1, 8)]).await;
    s.script.until_started(1).await;
    let waiting = |s: &Served| s.script.inner.lock().unwrap().waiting.clone();
    while waiting(&s) != [true] {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    s.send([(2, 8)]).await;
    s.script.until_started(2).await;
    while waiting(&s) != [true, false, true] {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_client_that_stalls_or_idles_is_let_go() {
    let short = Duration::from_millis(50);
    let budget = || MemoryBudget::new(1 << 20);
    let mut s = serve_within(Limits { stalled: short, ..LIMITS }, Script::default(), budget()).await;
    s.client.write_all(&request(1, 100)[..50]).await.unwrap();
    assert!(matches!(s.ended.await.unwrap(), Closed::Stalled));
    let s = serve_within(Limits { idle: short, ..LIMITS }, Script::default(), budget()).await;
    assert!(matches!(s.ended.await.unwrap(), Closed::Idle(_)));
    // One that waits for its reply does neither.
    let limits = Limits { idle: short, stalled: short, ..LIMITS };
    let mut s = serve_within(limits, Script::default(), budget()).await;
    s.send([(1, 8)]).await;
    tokio::time::sleep(4 * short).await;
    s.script.reply(1);
    assert_eq!(s.next_reply().await, 1);
}

#[tokio::test]
async fn a_client_that_leaves_its_queries_behind_is_noticed() {
    let limits = Limits { stalled: Duration::from_millis(50), ..LIMITS };
    let mut s = serve_within(limits, Script::default(), MemoryBudget::new(1 << 20)).await;
    s.send((0..10).map(|n| (n, 8))).await;
    s.script.until_started(MAX_QUERIES).await;
    drop(s.client);
    assert!(matches!(s.ended.await.unwrap(), Closed::ByPeer | Closed::Io(_)));
}

#[tokio::test]
async fn before_a_malformed_request_ends_the_connection_the_others_are_answered() {
    let mut s = served().await;
    s.script.inner.lock().unwrap().refused = Some(3);
    s.send([(1, 8), (2, 8), (3, 8), (4, 8)]).await;
    s.script.until_started(2).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(!s.ended.is_finished());
    s.script.reply(2);
    s.script.reply(1);
    assert_eq!((s.next_reply().await, s.next_reply().await), (1, 2));
    assert!(matches!(s.ended.await.unwrap(), Closed::Malformed(_)));
    assert_eq!(s.script.started(), [1, 2], "what follows is not looked at");
}

#[tokio::test]
async fn so_they_are_before_a_size_that_cannot_be() {
    let mut s = served().await;
    s.send([(1, 8)]).await;
    s.client.write_all(&[0xff; 8]).await.unwrap();
    s.script.until_started(1).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    s.script.reply(1);
    assert_eq!(s.next_reply().await, 1);
    assert!(matches!(s.ended.await.unwrap(), Closed::Malformed(_)));
}

#[tokio::test]
async fn a_request_found_malformed_late_takes_no_answer_from_earlier_ones() {
    let mut s = served().await;
    s.send([(1, 8), (2, 8), (3, 8)]).await;
    s.script.until_started(3).await;
    s.script.finish(2, Outcome::Close(Closed::Malformed("late".into())));
    s.script.reply(3);
    // More than the socket takes at once.
    s.script.finish(1, reply(&vec![1; 16 << 20]));
    let mut taken = Vec::new();
    s.client.read_to_end(&mut taken).await.unwrap();
    assert_eq!(taken, vec![1; 16 << 20], "all of the first answer, none of the third");
    assert!(matches!(s.ended.await.unwrap(), Closed::Malformed(_)));
}

#[tokio::test]
async fn a_connection_that_ends_waits_for_its_answers_only_so_long() {
    let limits = Limits { stalled: Duration::from_millis(50), ..LIMITS };
    let mut s = serve_within(limits, Script::default(), MemoryBudget::new(1 << 20)).await;
    s.script.inner.lock().unwrap().produces = vec![1];
    s.script.inner.lock().unwrap().refused = Some(2);
    s.send([(1, 8), (2, 8)]).await;
    assert!(matches!(s.ended.await.unwrap(), Closed::Malformed(_)));
}

/// Sends the beginning of a large request and no more.
async fn begin_large(s: &mut Served, size: usize, sent: usize) {
    s.script.inner.lock().unwrap().produces = vec![1];
    s.client.write_all(&request(1, size)[..4 + sent]).await.unwrap();
}

#[tokio::test]
async fn what_was_announced_and_not_sent_takes_no_memory() {
    let budget = MemoryBudget::new(1 << 20);
    let mut slow = serve(Script::default(), budget.clone()).await;
    begin_large(&mut slow, 900_000, 20_000).await;
    while budget.used() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(budget.used() < 100_000, "{}", budget.used());
    let mut quick = serve(Script::default(), budget.clone()).await;
    quick.send([(1, 700_000)]).await;
    quick.script.until_started(1).await;
}

#[tokio::test]
async fn a_request_that_gets_no_memory_to_grow_gives_back_what_it_has() {
    let budget = MemoryBudget::new(1 << 20);
    let limits = Limits { growth: Duration::from_millis(100), ..LIMITS };
    let mut slow = serve_within(limits, Script::default(), budget.clone()).await;
    begin_large(&mut slow, 900_000, 60_000).await;
    while budget.used() < 40_000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let others = budget.acquire(budget.total() - budget.used()).await;
    let rest = request(1, 900_000)[60_004..].to_vec();
    let mut client = slow.client;
    tokio::spawn(async move { client.write_all(&rest).await });
    assert!(matches!(slow.ended.await.unwrap(), Closed::Starved(_)));
    drop(others);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_request_that_trickles_in_has_a_deadline() {
    let limits = Limits { stalled: Duration::from_millis(100), ..LIMITS };
    let mut s = serve_within(limits, Script::default(), MemoryBudget::new(1 << 20)).await;
    let begun = Instant::now();
    // It never stands still, but does not end either: 20,000 bytes may take 0.4 s.
    begin_large(&mut s, 20_000, 20).await;
    while !s.ended.is_finished() {
        let _ = s.client.write_all(&[0]).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    assert!(matches!(s.ended.await.unwrap(), Closed::Stalled));
    assert!(begun.elapsed() >= Duration::from_millis(400));
}

/// A reply that holds memory of a budget.
async fn charged(bytes: &[u8], budget: &MemoryBudget) -> Outcome {
    let permit = budget.acquire(bytes.len()).await;
    match reply(bytes) {
        Outcome::Reply(reply, _) => Outcome::Reply(reply, Some(permit)),
        other => other,
    }
}

async fn until_free(budget: &MemoryBudget) {
    while budget.used() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn finished_replies_give_back_their_memory_when_the_client_hangs_up() {
    let limits = Limits { stalled: Duration::from_millis(50), ..LIMITS };
    let mut s = serve_within(limits, Script::default(), MemoryBudget::new(1 << 20)).await;
    s.script.inner.lock().unwrap().produces = vec![4];
    s.send([(1, 8), (2, 8), (3, 8), (4, 8)]).await;
    s.script.until_started(4).await;
    let replies = MemoryBudget::new(1000);
    for n in [2, 3] {
        s.script.finish(n, charged(&[0; 400], &replies).await);
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(s.client);
    assert!(matches!(s.ended.await.unwrap(), Closed::ByPeer | Closed::Io(_)));
    assert_eq!(replies.used(), 0, "nobody takes them any more, though the first has not ended");
    let mut inner = s.script.inner.lock().unwrap();
    assert!(inner.open.remove(&1).unwrap().is_closed(), "what only reads ends too");
    assert!(!inner.open.remove(&4).unwrap().is_closed(), "what is to be stored goes on");
}

#[tokio::test]
async fn a_reply_that_holds_memory_has_to_be_taken_in_time() {
    let limits = Limits { stalled: Duration::from_millis(400), taking: Duration::from_millis(500), ..LIMITS };
    let mut s = serve_within(limits, Script::default(), MemoryBudget::new(1 << 20)).await;
    let replies = MemoryBudget::new(64 << 20);
    s.send([(1, 8)]).await;
    s.script.until_started(1).await;
    s.script.finish(1, charged(&vec![0; 64 << 20], &replies).await);
    // It never stands still, but would take long.
    let mut some = vec![0; 200 << 10];
    let begun = Instant::now();
    while !s.ended.is_finished() && begun.elapsed() < Duration::from_secs(20) {
        let _ = s.client.read(&mut some).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(s.ended.is_finished() && matches!(s.ended.await.unwrap(), Closed::Stalled));
    until_free(&replies).await;
}
