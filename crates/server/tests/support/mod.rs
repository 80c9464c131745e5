//! One process of the binary under test: started, listened to, and ended by its own id.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything here should take, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn lakebed(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakebed"));
    command.args(args).stdin(Stdio::null()).env_remove("RUST_LOG").env("RUST_BACKTRACE", "1");
    for name in ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    command
}

pub struct Node {
    child: Child,
    lines: Receiver<String>,
    pub kafka: String,
    pub http: String,
    /// What it said until it was ready.
    pub said: Vec<String>,
}

impl Node {
    /// On free ports; waits until it is ready.
    pub fn start(args: &[&str]) -> Node {
        Node::heard_while(args, |_| true)
    }

    /// As `start`, but nobody reads what it says once it is ready.
    pub fn start_unheard(args: &[&str]) -> Node {
        let node = Node::heard_while(args, |line| line != "ready");
        assert!(node.lines.recv().is_err(), "the pipe is closed");
        node
    }

    fn heard_while(args: &[&str], on: fn(&str) -> bool) -> Node {
        let listen = ["--kafka-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
        let mut child = lakebed(&[args, &listen].concat()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let last = !on(&line);
                if send.send(line).is_err() || last {
                    break;
                }
            }
        });
        let mut node = Node { child, lines, kafka: String::new(), http: String::new(), said: Vec::new() };
        node.wait_for("ready");
        node
    }

    /// Reads on until this line.
    pub fn wait_for(&mut self, wanted: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{e}; it said {:#?}", self.said));
            if let Some(at) = line.strip_prefix("listening kafka ") {
                self.kafka = at.to_owned();
            }
            if let Some(at) = line.strip_prefix("listening http ") {
                self.http = at.to_owned();
            }
            let found = line.contains(wanted);
            self.said.push(line);
            if found {
                return;
            }
        }
    }

    /// Sends SIGTERM, SIGINT or SIGHUP; the exit code, and what it said since.
    pub fn signal(mut self, name: &str) -> (Option<i32>, Vec<String>) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let code = self.child.wait().unwrap().code();
        (code, self.lines.iter().collect())
    }

    pub fn http_get(&self, path: &str) -> String {
        exchange(&self.http, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Ended already, if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends these bytes and returns all that comes back until the other side closes.
pub fn exchange(at: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A connection that is refused may end with a reset.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Runs to its end, which must be a failure; the last line of what it said.
pub fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked") && !said.contains("stack backtrace"), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}
