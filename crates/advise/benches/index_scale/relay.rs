//! A relay between a client and a server that counts what passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Default)]
struct Counts {
    /// Messages that execute: Query and Execute (manual, "Message Formats").
    statements: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// Listens on a port of its own.
pub struct Relay {
    port: u16,
    counts: Arc<Counts>,
}

impl Relay {
    /// Relays to that port of 127.0.0.1.
    pub async fn start(server: u16) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(forwards(from_client, to_server, Arc::clone(&shared)));
                tokio::spawn(backwards(from_server, to_client, Arc::clone(&shared)));
            }
        });
        Relay { port, counts }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Prints what some work sent and received.
    pub fn measured<R>(&self, what: &str, work: impl FnOnce() -> R) -> R {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { statements, sent, received } = &*self.counts;
        let before = (now(statements), now(sent), now(received), Instant::now());
        let result = work();
        println!(
            "reading {what}: {} statements, {:.1} kB sent, {:.1} kB received, {:.2} s",
            now(statements) - before.0,
            (now(sent) - before.1) as f64 / 1024.0,
            (now(received) - before.2) as f64 / 1024.0,
            before.3.elapsed().as_secs_f64(),
        );
        result
    }
}

/// Message by message; the first has no type.
async fn forwards(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counts: Arc<Counts>) {
    let mut typed = false;
    loop {
        let mut message = vec![0; if typed { 5 } else { 4 }];
        if from.read_exact(&mut message).await.is_err() {
            return;
        }
        let length = message.last_chunk::<4>().map_or(4, |bytes| u32::from_be_bytes(*bytes));
        if typed && matches!(message.first(), Some(b'Q' | b'E')) {
            counts.statements.fetch_add(1, Ordering::Relaxed);
        }
        let header = message.len();
        message.resize(header + length.saturating_sub(4) as usize, 0);
        if from.read_exact(&mut message[header..]).await.is_err() {
            return;
        }
        counts.sent.fetch_add(message.len() as u64, Ordering::Relaxed);
        typed = true;
        if to.write_all(&message).await.is_err() {
            return;
        }
    }
}

async fn backwards(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counts: Arc<Counts>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        counts.received.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
