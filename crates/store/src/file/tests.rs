use std::io::BufRead;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use lakebed_record::keys::{Key, probe};

use super::*;
use crate::conformance;

async fn open(dir: &Path) -> FileStore {
    FileStore::open(dir, &Env::system()).await.unwrap()
}

fn text(content: &str) -> Body {
    Body::from(Bytes::copy_from_slice(content.as_bytes()))
}

/// Names below `@tmp`, without the lock files.
fn leftovers(dir: &Path) -> usize {
    let instances = std::fs::read_dir(dir.join("@tmp")).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir());
    instances.map(|p| std::fs::read_dir(p).unwrap().count()).sum()
}

#[tokio::test]
async fn keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).await);
    conformance::run(store, &Env::system()).await;
    assert_eq!(leftovers(dir.path()), 0);
}

#[tokio::test]
async fn lists_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore { page: 3, ..open(dir.path()).await };
    conformance::run(Arc::new(store), &Env::system()).await;
}

#[tokio::test]
async fn a_list_holds_objects_only_and_cuts_a_large_directory_into_pages() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    std::fs::create_dir_all(dir.path().join("log/empty")).unwrap();
    std::fs::create_dir_all(dir.path().join("lost+found")).unwrap();
    std::fs::write(dir.path().join("log/with space"), "").unwrap();
    std::fs::write(store.disk.temp.name(), "unfinished").unwrap();
    for i in 0..2_500 {
        std::fs::write(dir.path().join(format!("log/{i:04}")), "").unwrap();
    }
    std::fs::create_dir(dir.path().join("log/1200x")).unwrap();
    std::fs::write(dir.path().join("log/1200x/y"), "").unwrap();
    let (mut all, mut pages) = (Vec::<Key>::new(), 0);
    loop {
        let page = store.list("", all.last()).await.value.unwrap();
        pages += 1;
        all.extend(page.objects.into_iter().map(|o| o.key));
        if !page.more {
            break;
        }
    }
    assert_eq!((pages, all.len()), (3, 2_501));
    assert!(all.is_sorted() && all[1_201].as_str() == "log/1200x/y");
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert!(store.list("", None).await.value.is_err(), "a store that is gone is not empty");
    assert!(store.delete(&Key::new("log/0000")).await.value.is_err(), "nor may it be taken for a delete");
}

#[tokio::test]
async fn what_is_open_is_read_to_its_end() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let key = Key::new("dir/a");
    store.create(&key, &text("whole")).await;
    let mut file = std::fs::File::open(dir.path().join("dir/a")).unwrap();
    store.delete(&key).await.value.unwrap();
    store.create(&key, &text("other")).await;
    let mut read = String::new();
    file.read_to_string(&mut read).unwrap();
    assert_eq!(read, "whole");
    assert_eq!(store.get(&key, None).await.value.unwrap().bytes, "other");
}

#[tokio::test]
async fn a_directory_goes_with_its_last_object_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (open(dir.path()).await, open(dir.path()).await);
    let body = Body::from(Bytes::from_static(b"x"));
    let (index, shard) = (Key::new("snapshots/1-2-3/index"), Key::new("segments/ab/1"));
    for round in 0..3 {
        for key in [&index, &shard] {
            assert!(matches!(ours.create(key, &body).await.value, Created::Yes), "{round}");
            assert!(matches!(theirs.create(key, &body).await.value, Created::Exists));
        }
        for key in [&index, &shard] {
            theirs.delete(key).await.value.unwrap();
            ours.delete(key).await.value.unwrap();
        }
        assert!(!dir.path().join("snapshots/1-2-3").exists());
        assert!(dir.path().join("snapshots").exists() && dir.path().join("segments/ab").exists());
        assert_eq!(ours.list("", None).await.value.unwrap().objects, []);
    }
}

#[tokio::test]
async fn a_delete_waits_for_a_swap_of_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let key = Key::new("hint");
    store.create(&key, &text("1")).await;
    let lock = std::fs::File::options().create(true).append(true).open(dir.path().join("@tmp/swapping.lock")).unwrap();
    lock.lock().unwrap();
    let unlock = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(dir.path().join("hint").exists());
        lock.unlock().unwrap();
    };
    let (deleted, ()) = tokio::join!(store.delete(&key), unlock);
    deleted.value.unwrap();
    assert!(!dir.path().join("hint").exists());
}

#[tokio::test]
async fn objects_outlive_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::new("log/00/00000000000000000001");
    let before = open(dir.path()).await;
    before.create(&key, &text("slot")).await;
    let version = before.head(&key).await.value.unwrap().version;
    drop(before);
    let object = open(dir.path()).await.get(&key, None).await.value.unwrap();
    assert_eq!((object.bytes.as_ref(), object.meta.version), (b"slot".as_ref(), version));
}

#[tokio::test]
async fn last_modified_is_when_the_name_appeared_not_when_the_bytes_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let key = Key::new("a");
    store.create(&key, &text("a")).await;
    let file = std::fs::File::options().write(true).open(dir.path().join("a")).unwrap();
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_times(std::fs::FileTimes::new().set_modified(long_ago)).unwrap();
    let meta = store.head(&key).await.value.unwrap();
    assert!((meta.last_modified_ms - Env::system().clock.wall_ms()).abs() < 60_000);
}

#[tokio::test]
async fn a_name_in_doubt_keeps_its_second_link_until_the_directory_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let key = Key::new("dir/a");
    store.create(&key, &text("a")).await;
    let path = dir.path().join("dir/a");
    assert_eq!(std::fs::metadata(&path).unwrap().nlink(), 1);
    // As a process leaves it that is killed between the link and the sync.
    let abandoned = dir.path().join("@tmp/0000000000000001");
    std::fs::create_dir(&abandoned).unwrap();
    std::fs::hard_link(&path, abandoned.join("0")).unwrap();
    assert_eq!(store.get(&key, None).await.value.unwrap().bytes, "a");
    assert!(matches!(store.create(&key, &text("b")).await.value, Created::Exists));
    // The next one to open the directory settles it.
    let next = open(dir.path()).await;
    assert_eq!(std::fs::metadata(&path).unwrap().nlink(), 1);
    assert!(!abandoned.exists());
    assert_eq!(next.get(&key, None).await.value.unwrap().bytes, "a");
}

#[tokio::test]
async fn temporary_files_of_the_living_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let living = open(dir.path()).await;
    let temp = living.disk.temp.name();
    std::fs::write(&temp, "unfinished").unwrap();
    let other = open(dir.path()).await;
    assert!(temp.exists());
    drop(living);
    assert!(temp.exists(), "only the next open may remove it");
    drop(other);
    open(dir.path()).await;
    assert!(!temp.exists());
}

#[tokio::test]
async fn a_swap_waits_for_another_process_and_gives_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let key = Key::new("CURRENT");
    store.create(&key, &text("1")).await;
    let version = store.head(&key).await.value.unwrap().version;
    let lock = std::fs::File::options().create(true).append(true).open(dir.path().join("@tmp/swapping.lock")).unwrap();
    lock.lock().unwrap();
    let body = text("2");
    let swap = store.swap(&key, Some(&version), &body);
    let unlock = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        lock.unlock().unwrap();
    };
    let (swapped, ()) = tokio::join!(swap, unlock);
    assert!(matches!(swapped.value, Swapped::Yes(_)));
}

/// A process that is stopped for a while at each look at its monotonic clock.
struct Stopped {
    at: std::sync::Mutex<Duration>,
    each_time: Duration,
}

impl Clock for Stopped {
    fn monotonic(&self) -> Duration {
        let mut at = self.at.lock().unwrap();
        *at += self.each_time;
        *at
    }

    fn wall_ms(&self) -> i64 {
        0
    }

    fn sleep<'a>(&'a self, _: Duration) -> BoxFuture<'a, ()> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn what_was_done_long_after_its_date_is_not_known_to_be_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).await;
    let stopped = |each_time| Arc::new(Stopped { at: std::sync::Mutex::default(), each_time });
    let (key, other) = (Key::new("log/1"), Key::new("log/2"));
    store.clock = stopped(TIMEOUT);
    assert!(matches!(store.create(&key, &text("a")).await.value, Created::Yes), "in time, if only just");
    store.clock = stopped(TIMEOUT + Duration::from_millis(1));
    for (key, there) in [(&key, "exists"), (&other, "is made")] {
        let created = store.create(key, &text("b")).await.value;
        assert!(matches!(&created, Created::Unknown(f) if f.kind == FaultKind::Timeout), "{there}: {created:?}");
        assert!(dir.path().join(key.as_str()).exists());
    }
    for absent in ["log/1", "log/3"].map(Key::new) {
        let read = store.get(&absent, None).await.value.map(|_| ());
        assert!(matches!(read, Err(ReadError::Fault(_))), "a 404 would be evidence: {read:?}");
        assert!(matches!(store.head(&absent).await.value, Err(ReadError::Fault(_))));
    }
    assert!(store.list("", None).await.value.is_err());
}

#[tokio::test]
async fn directories_that_cannot_be_used_are_refused_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let message = FileStore::open(&file, &Env::system()).await.err().unwrap().to_string();
    assert!(message.contains("make it a directory that this user may write"), "{message}");
    let locked = dir.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
    // The super-user may write everywhere.
    if std::fs::write(locked.join("x"), "").is_err() {
        let message = FileStore::open(&locked, &Env::system()).await.err().unwrap().to_string();
        assert!(message.contains("may write"), "{message}");
    }
}

#[test]
fn errors_of_the_disk_say_what_to_do() {
    let kind = |raw| fault(&std::io::Error::from_raw_os_error(raw)).kind;
    const ENOENT: i32 = 2;
    const EACCES: i32 = 13;
    const ENOSPC: i32 = 28;
    assert_eq!(kind(ENOSPC), FaultKind::NoSpace);
    assert_eq!(kind(EACCES), FaultKind::Denied);
    assert_eq!(kind(ENOENT), FaultKind::Server);
}

/// Where the temporary directory is matters: TMPDIR.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints numbers"]
async fn speed() {
    let dir = tempfile::tempdir().unwrap();
    crate::speed::print(&open(dir.path()).await, &Env::system()).await;
}

/// Set for the processes that the next test starts: the directory to work in.
const CHILD: &str = "LAKEBED_TEST_FILE_STORE_CHILD";
const PROCESSES: usize = 3;
const SLOTS: usize = 40;
const STEPS: usize = 15;

/// Each process races for every slot and raises one counter by compare-and-swap.
#[tokio::test]
async fn processes_share_a_directory() {
    if let Ok(dir) = std::env::var(CHILD) {
        return race(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let start = || {
        Command::new(&this)
            .args(["--exact", "file::tests::processes_share_a_directory", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
    let mut won = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        won +=
            text.lines().filter_map(|l| l.split_once("won ")).map(|(_, n)| n.parse::<usize>().unwrap()).sum::<usize>();
    }
    assert_eq!(won, SLOTS, "each slot has one winner");
    let store = open(dir.path()).await;
    let counter = store.get(&Key::new("counter"), None).await.value.unwrap();
    assert_eq!(counter.bytes, (PROCESSES * STEPS).to_string());
    assert_eq!(leftovers(dir.path()), 0);
}

/// Set for the process that the next test kills.
const VICTIM: &str = "LAKEBED_TEST_FILE_STORE_VICTIM";

#[tokio::test]
async fn what_a_killed_process_was_told_is_there_and_nothing_is_there_in_part() {
    if let Ok(dir) = std::env::var(VICTIM) {
        return write_until_killed(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "file::tests::what_a_killed_process_was_told_is_there_and_nothing_is_there_in_part"])
            .args(["--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = std::io::BufReader::new(victim.stdout.take().unwrap()).lines();
        let made = |line: String| line.split_once("made ").map(|(_, key)| Key::new(key));
        let mut keys: Vec<_> = told.by_ref().filter_map(|l| made(l.unwrap())).take(5).collect();
        assert!(!keys.is_empty(), "it ended by itself");
        tokio::time::sleep(Duration::from_micros(round * 1_300)).await;
        victim.kill().unwrap();
        keys.extend(told.filter_map(|l| made(l.unwrap())));
        victim.wait().unwrap();
        let store = open(dir.path()).await;
        assert_eq!(leftovers(dir.path()), 0);
        for key in keys {
            let object = store.get(&key, None).await.value.unwrap_or_else(|e| panic!("{key}: {e}"));
            assert_eq!(object.bytes, large(&key).to_bytes(), "{key}");
        }
    }
    for entry in std::fs::read_dir(dir.path().join("made")).unwrap() {
        let key = Key::new(format!("made/{}", entry.unwrap().file_name().to_str().unwrap()));
        let object = open(dir.path()).await.get(&key, None).await.value.unwrap();
        assert!(object.bytes == large(&key).to_bytes(), "{key} is there in part");
    }
}

fn large(key: &Key) -> Body {
    Body::new(vec![Bytes::copy_from_slice(key.as_str().as_bytes()); 5_000])
}

async fn write_until_killed(dir: &Path) {
    use std::io::Write;
    let store = open(dir).await;
    let me = std::process::id();
    for i in 0.. {
        let key = Key::new(format!("made/{me}-{i}"));
        assert!(matches!(store.create(&key, &large(&key)).await.value, Created::Yes));
        let mut out = std::io::stdout();
        writeln!(out, "made {key}").and_then(|()| out.flush()).unwrap();
    }
}

#[tokio::test]
#[ignore = "needs LAKEBED_TEST_SMALL_DISK, a directory on a file system of some MiB"]
async fn a_full_disk_is_said_and_spoils_nothing() {
    let dir = std::env::var("LAKEBED_TEST_SMALL_DISK").unwrap();
    let store = open(Path::new(&dir)).await;
    let body = Body::new(vec![Bytes::from(vec![7; 100_000]); 2]);
    let mut kept = Vec::new();
    let (full, fault) = loop {
        let key = probe(Env::system().entropy.u64(), "fill");
        match store.create(&key, &body).await.value {
            Created::Yes => kept.push(key),
            Created::Exists => panic!("{key} exists"),
            Created::Unknown(fault) => break (key, fault),
        }
    };
    assert_eq!(fault.kind, FaultKind::NoSpace, "{fault}");
    assert!(fault.message.contains("free some space"), "{fault}");
    assert_eq!(leftovers(Path::new(&dir)), 0);
    assert!(matches!(store.get(&full, None).await.value, Err(ReadError::NotFound)));
    for key in kept {
        assert_eq!(store.get(&key, None).await.value.unwrap().bytes, body.to_bytes());
    }
}

async fn race(dir: &Path) {
    let store = open(dir).await;
    let counter = Key::new("counter");
    store.create(&counter, &text("0")).await;
    let me = text(&std::process::id().to_string());
    let mut won = 0;
    for slot in 0..SLOTS {
        let key = probe(0, &format!("slot-{slot}"));
        match store.create(&key, &me).await.value {
            Created::Yes => won += 1,
            Created::Exists => assert_ne!(store.get(&key, None).await.value.unwrap().bytes, me.to_bytes()),
            Created::Unknown(fault) => panic!("{fault}"),
        }
        for _ in 0..usize::from(slot < STEPS) {
            increment(&store, &counter).await;
        }
    }
    println!("won {won}");
}

async fn increment(store: &FileStore, counter: &Key) {
    loop {
        let now = store.get(counter, None).await.value.unwrap();
        let n: usize = std::str::from_utf8(&now.bytes).unwrap().parse().unwrap();
        match store.swap(counter, Some(&now.meta.version), &text(&(n + 1).to_string())).await.value {
            Swapped::Yes(_) => return,
            Swapped::Mismatch => {}
            Swapped::Unknown(fault) => panic!("{fault}"),
        }
    }
}
