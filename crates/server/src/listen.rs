//! Sockets: bound before anything else, so that a taken port is found before the store is touched. A refusal is one
//! sentence that says what to do.

use std::io;
use std::net::SocketAddr;

use anyhow::{Result, anyhow, bail};
use tokio::net::{TcpListener, TcpSocket};

use crate::config::{HostPort, Listen, Reach, Wish, is_loopback};

const BACKLOG: u32 = 1024;

/// What a set of listeners is for; also the word in the line `listening kafka 127.0.0.1:9092`.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    Kafka,
    Http,
}

impl Purpose {
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Kafka => "kafka",
            Purpose::Http => "http",
        }
    }
}

pub struct Bound {
    pub listener: TcpListener,
    pub address: SocketAddr,
    /// The host as it was typed, with the real port.
    pub typed: HostPort,
}

/// Binds every address of every listener; at least one.
pub async fn bind(purpose: Purpose, listens: &[Listen], reach: Reach) -> Result<Vec<Bound>> {
    let mut bound = Vec::new();
    for listen in listens {
        for address in resolve(purpose, &listen.at).await? {
            if reach == Reach::Loopback && !is_loopback(address.ip()) {
                bail!(
                    "{} would be reachable from other machines and nobody has to log in; listen on 127.0.0.1, or say \
                     --remote-without-login if the network keeps strangers out",
                    listen.at
                );
            }
            match bind_one(address) {
                Ok(listener) => {
                    let address = listener.local_addr()?;
                    let typed = HostPort { host: listen.at.host.clone(), port: address.port() };
                    bound.push(Bound { listener, address, typed });
                }
                Err(e) if listen.wish == Wish::Default && e.kind() != io::ErrorKind::AddrInUse && address.is_ipv6() => {
                    tracing::debug!(%address, error = %e, "no ipv6 here");
                }
                Err(e) => return Err(sentence(purpose, address, &e)),
            }
        }
    }
    Ok(bound)
}

async fn resolve(purpose: Purpose, at: &HostPort) -> Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
    let found: Vec<_> = found
        .map_err(|e| anyhow!("{} is no address of this machine ({e}); choose another --{}-listen", at, purpose.word()))?
        .collect();
    // With port 0 every address of a name would get a port of its own, and only one of them is advertised.
    Ok(if at.port == 0 { found.into_iter().take(1).collect() } else { found })
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A node that is restarted must get its port back although old connections linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn sentence(purpose: Purpose, address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let flag = format!("--{}-listen", purpose.word());
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "{address} is in use by another process; stop that one, or choose another port with {flag} (port 0 picks a free one)"
        ),
        io::ErrorKind::PermissionDenied => {
            anyhow!("this user may not listen on {address}; choose a port above 1023 with {flag}")
        }
        io::ErrorKind::AddrNotAvailable => {
            anyhow!("{address} is no address of this machine; choose another with {flag}")
        }
        _ => anyhow!("cannot listen on {address} ({error}); choose another address with {flag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(at: &str) -> Vec<Listen> {
        vec![Listen { at: at.parse().unwrap(), wish: Wish::Typed }]
    }

    async fn refused(at: &str) -> String {
        match bind(Purpose::Kafka, &listen(at), Reach::Loopback).await {
            Ok(_) => panic!("{at} was bound"),
            Err(e) => e.to_string(),
        }
    }

    #[tokio::test]
    async fn port_0_gives_the_real_port() {
        let bound = bind(Purpose::Kafka, &listen("localhost:0"), Reach::Loopback).await.unwrap();
        assert_eq!(bound.len(), 1);
        assert_ne!(bound[0].address.port(), 0);
        assert_eq!(bound[0].typed.to_string(), format!("localhost:{}", bound[0].address.port()));
    }

    #[tokio::test]
    async fn a_taken_port_is_said_with_the_way_out() {
        let held = bind(Purpose::Kafka, &listen("127.0.0.1:0"), Reach::Loopback).await.unwrap();
        let said = refused(&held[0].address.to_string()).await;
        assert!(said.contains("is in use") && said.contains("--kafka-listen"), "{said}");
    }

    #[tokio::test]
    async fn off_the_loopback_needs_the_flag() {
        for at in ["0.0.0.0:0", "[::]:0"] {
            let said = refused(at).await;
            assert!(said.contains("--remote-without-login"), "{said}");
        }
        assert!(bind(Purpose::Http, &listen("0.0.0.0:0"), Reach::Remote).await.is_ok());
    }
}
