//! A wire that breaks on command: a TCP proxy in the test process, before a database or before a host. Bytes go through
//! as they are until a test says otherwise; what is injected is all that is ever waited for.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As when a process is killed or a firewall loses its memory.
    Reset,
    /// As when the other side closes it.
    Finish,
}

/// What the wire does at the moment.
#[derive(Debug, Clone, Copy)]
struct Mode {
    refuses: bool,
    swallows: bool,
    delay: Duration,
    /// Connections of an earlier generation end.
    generation: u64,
    end: End,
}

/// Cuts the connection on which a request with these bytes was seen, when its answer comes.
struct Cut {
    needle: Vec<u8>,
    done: oneshot::Sender<()>,
}

struct Wire {
    upstream: SocketAddr,
    mode: watch::Sender<Mode>,
    cut: Mutex<Option<Cut>>,
}

/// A proxy. Dropping it resets all connections.
pub struct Proxy {
    address: SocketAddr,
    wire: Arc<Wire>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// A proxy for what listens on this port of 127.0.0.1.
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode =
            Mode { refuses: false, swallows: false, delay: Duration::ZERO, generation: 0, end: End::Reset };
        let wire = Arc::new(Wire {
            upstream: (Ipv4Addr::LOCALHOST, port).into(),
            mode: watch::Sender::new(mode),
            cut: Mutex::default(),
        });
        let listener = tokio::spawn(listen(listener, wire.clone()));
        Self { address, wire, listener }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends all connections; new ones get through.
    pub fn drop_all(&self, end: End) {
        self.wire.mode.send_modify(|mode| (mode.generation, mode.end) = (mode.generation + 1, end));
    }

    /// Whether new connections are turned away.
    pub fn refuse(&self, refuses: bool) {
        self.wire.mode.send_modify(|mode| mode.refuses = refuses);
    }

    /// Holds back each chunk of bytes, in both directions, for so long.
    pub fn delay(&self, delay: Duration) {
        self.wire.mode.send_modify(|mode| mode.delay = delay);
    }

    /// Whether bytes vanish into nowhere, as with a cable that is pulled: connections stay, nothing moves. What was on
    /// its way moves on when this ends.
    pub fn black_hole(&self, swallows: bool) {
        self.wire.mode.send_modify(|mode| mode.swallows = swallows);
    }

    /// Cuts the connection of the next request that holds `needle`, after the other side got it and answered: it was
    /// carried out, and whoever asked will never know. What is returned resolves once that has happened.
    pub fn cut_answer_to(&self, needle: &str) -> oneshot::Receiver<()> {
        let (done, happened) = oneshot::channel();
        *self.wire.cut.lock().unwrap() = Some(Cut { needle: needle.as_bytes().to_vec(), done });
        happened
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.drop_all(End::Reset);
    }
}

async fn listen(listener: TcpListener, wire: Arc<Wire>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let wire = wire.clone();
        tokio::spawn(async move {
            if wire.mode.borrow().refuses {
                let _ = client.set_zero_linger();
                return;
            }
            match TcpStream::connect(wire.upstream).await {
                Ok(server) => carry(client, server, &wire).await,
                Err(_) => drop(client.set_zero_linger()),
            }
        });
    }
}

/// Carries bytes between two sides until one of them or a command ends it.
async fn carry(mut client: TcpStream, mut server: TcpStream, wire: &Wire) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut mode = wire.mode.subscribe();
    let generation = mode.borrow_and_update().generation;
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let cut = Mutex::new(None);
        let requests = pump(from_client, to_server, wire, |bytes| {
            // Before it is sent on, so that no answer can be quicker.
            let mut ordered = wire.cut.lock().unwrap();
            if ordered.as_ref().is_some_and(|ordered| contains(bytes, &ordered.needle)) {
                *cut.lock().unwrap() = ordered.take();
            }
            Ok(())
        });
        let answers = pump(from_server, to_client, wire, |_| match cut.lock().unwrap().take() {
            Some(Cut { done, .. }) => {
                let _ = done.send(());
                Err(io::ErrorKind::ConnectionReset.into())
            }
            None => Ok(()),
        });
        tokio::select! {
            carried = async { tokio::try_join!(requests, answers) } => match carried {
                Ok(_) => End::Finish,
                Err(_) => End::Reset,
            },
            ended = mode.wait_for(|mode| mode.generation != generation) => {
                ended.map_or(End::Reset, |mode| mode.end)
            }
        }
    };
    if end == End::Reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// One direction. `sees` is shown each chunk before it goes on, and may end the connection.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    wire: &Wire,
    mut sees: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut mode = wire.mode.subscribe();
    let mut bytes = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut bytes).await?;
        let delay = mode.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let _ = mode.wait_for(|mode| !mode.swallows).await;
        if count == 0 {
            return to.shutdown().await;
        }
        sees(&bytes[..count])?;
        to.write_all(&bytes[..count]).await?;
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || bytes.windows(needle.len()).any(|window| window == needle)
}
