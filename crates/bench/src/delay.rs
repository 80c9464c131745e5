//! `bench delay`: a TCP proxy that holds every answer back for a fixed time, so that a broker on a local disk can be
//! compared with one whose acknowledgements take a bucket's time.
//!
//! Requests pass at once. Each piece of an answer waits on its own, so answers under way together arrive together.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use lakebed_store::env::{Clock, Env};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::args::DelayArgs;

/// Pieces of answers held back at most on one connection.
const PIECES: usize = 65_536;
const PIECE_BYTES: usize = 64 << 10;

/// Runs until it is stopped from outside.
pub async fn delay(args: &DelayArgs, env: &Env) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(&args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    say(format_args!("delaying answers of {} by {} ms on {}", args.to, args.by.as_millis(), listener.local_addr()?));
    loop {
        let (client, _) = listener.accept().await?;
        let (to, by, clock) = (args.to.clone(), args.by, env.clock.clone());
        tokio::spawn(async move {
            if let Err(error) = pass(client, &to, by, clock).await {
                say(format_args!("connection ended: {error:#}"));
            }
        });
    }
}

/// Whoever reads standard error may go away; the proxy goes on.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

async fn pass(client: TcpStream, to: &str, by: Duration, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
    let broker = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (mut requests, answers_out) = client.into_split();
    let (answers_in, mut requests_out) = broker.into_split();
    let (hold, held) = mpsc::channel(PIECES);
    let forward = async move { tokio::io::copy(&mut requests, &mut requests_out).await.map(drop) };
    tokio::select! {
        done = forward => done?,
        done = take_in(answers_in, hold, by, clock.clone()) => done?,
        done = let_out(answers_out, held, clock) => done?,
    }
    Ok(())
}

/// Never returns as long as the connection is whole: what is still held back must go out first.
async fn take_in(
    mut answers: OwnedReadHalf,
    hold: mpsc::Sender<(Duration, Bytes)>,
    by: Duration,
    clock: Arc<dyn Clock>,
) -> std::io::Result<()> {
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        if answers.read_buf(&mut piece).await? == 0 {
            drop(hold);
            return std::future::pending().await;
        }
        if hold.send((clock.monotonic() + by, piece.freeze())).await.is_err() {
            return Ok(());
        }
    }
}

async fn let_out(
    mut answers: OwnedWriteHalf,
    mut held: mpsc::Receiver<(Duration, Bytes)>,
    clock: Arc<dyn Clock>,
) -> std::io::Result<()> {
    while let Some((due, piece)) = held.recv().await {
        clock.sleep(due.saturating_sub(clock.monotonic())).await;
        answers.write_all(&piece).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_are_late_by_the_delay_and_do_not_queue_up() {
        let echo = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = echo.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            let (mut socket, _) = echo.accept().await.expect("the proxy connects");
            let (mut from, mut to) = socket.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
        let front = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = front.local_addr().expect("bound");
        let clock = Env::system().clock;
        let (for_proxy, by) = (clock.clone(), Duration::from_millis(100));
        tokio::spawn(async move {
            let (client, _) = front.accept().await.expect("the client connects");
            let _ = pass(client, &to, by, for_proxy).await;
        });
        let mut client = TcpStream::connect(address).await.expect("connects");
        let start = clock.monotonic();
        let mut answer = [0; 2];
        client.write_all(b"a").await.expect("writes");
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.write_all(b"b").await.expect("writes");
        client.read_exact(&mut answer).await.expect("both come back");
        let took = clock.monotonic() - start;
        assert_eq!(&answer, b"ab");
        assert!(took >= Duration::from_millis(150) && took < Duration::from_millis(195), "{took:?}");
    }
}
