//! A TCP proxy whose connections can be cut, stopped and slowed down.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::random::Random;

/// Bytes that are passed on at once.
const CHUNK: usize = 64 * 1024;

/// How long the far end may take to take a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// What comes is passed on, so late.
    Flow(Duration),
    /// Nothing is passed on, and nothing is closed.
    Stall,
    /// It is cut.
    Cut,
}

/// A proxy on a port of its own, which ends with this value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    links: Arc<Links>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Links {
    open: Mutex<Vec<(u64, watch::Sender<Fate>)>>,
    next: AtomicU64,
    /// What becomes of new connections.
    news: watch::Sender<Fate>,
}

impl Proxy {
    /// A proxy that leads to nowhere yet.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let target = Arc::new(AtomicU16::new(0));
        let news = watch::Sender::new(Fate::Flow(Duration::ZERO));
        let links = Arc::new(Links { open: Mutex::default(), next: AtomicU64::new(0), news });
        let listening = tokio::spawn(listen(listener, Arc::clone(&target), Arc::clone(&links)));
        Ok(Self { port, target, links, listening })
    }

    /// Its port on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads to this port of the machine from now on.
    pub fn lead_to(&self, port: u16) {
        self.target.store(port, Ordering::Relaxed);
    }

    /// Cuts so many of a hundred connections.
    pub fn cut(&self, percent: usize, random: &mut Random) {
        self.links.each(|link| {
            if random.happens(percent) {
                link.send_replace(Fate::Cut);
            }
        });
    }

    /// Lets so many of a hundred connections stand still until [`heal`](Self::heal), and new ones too if it is all.
    pub fn stall(&self, percent: usize, random: &mut Random) {
        if percent >= 100 {
            self.links.news.send_replace(Fate::Stall);
        }
        self.links.each(|link| {
            if random.happens(percent) {
                link.send_replace(Fate::Stall);
            }
        });
    }

    /// Slows every connection down until [`heal`](Self::heal).
    pub fn delay(&self, by: Duration) {
        self.links.news.send_replace(Fate::Flow(by));
        self.links.each(|link| _ = link.send_replace(Fate::Flow(by)));
    }

    /// Lets everything flow again.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Links {
    fn each(&self, mut change: impl FnMut(&watch::Sender<Fate>)) {
        for (_, link) in &*self.open.lock().unwrap_or_else(PoisonError::into_inner) {
            // What is cut stays cut.
            if *link.borrow() != Fate::Cut {
                change(link);
            }
        }
    }

    fn open(&self) -> (u64, watch::Receiver<Fate>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let link = watch::Sender::new(*self.news.borrow());
        let fate = link.subscribe();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push((number, link));
        (number, fate)
    }

    fn close(&self, number: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(open, _)| *open != number);
    }
}

async fn listen(listener: TcpListener, target: Arc<AtomicU16>, links: Arc<Links>) {
    loop {
        let Ok((near, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (target, links) = (target.load(Ordering::Relaxed), Arc::clone(&links));
        tokio::spawn(async move {
            let (number, fate) = links.open();
            lead(near, target, fate).await;
            links.close(number);
        });
    }
}

/// Leads one connection until either end closes it or it is cut.
async fn lead(near: TcpStream, target: u16, fate: watch::Receiver<Fate>) {
    let connect = TcpStream::connect((Ipv4Addr::LOCALHOST, target));
    let Ok(Ok(far)) = tokio::time::timeout(CONNECT_DEADLINE, connect).await else {
        return;
    };
    let _ = near.set_nodelay(true).and(far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let mut until = fate.clone();
    tokio::select! {
        () = pass_on(near_in, far_out, fate.clone()) => {}
        () = pass_on(far_in, near_out, fate) => {}
        _ = until.wait_for(|fate| *fate == Fate::Cut) => {}
    }
}

async fn pass_on(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut fate: watch::Receiver<Fate>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let Ok(read @ 1..) = from.read(&mut chunk).await else {
            return;
        };
        let Ok(flows) = fate.wait_for(|fate| *fate != Fate::Stall).await.map(|fate| *fate) else {
            return;
        };
        if let Fate::Flow(by) = flows
            && !by.is_zero()
        {
            tokio::time::sleep(by).await;
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use anyhow::ensure;
    use tokio::time::timeout;

    use super::*;

    /// How long to see that nothing comes.
    const SILENCE: Duration = Duration::from_millis(200);

    /// A proxy to someone who says everything again, and a connection through it.
    async fn echo() -> anyhow::Result<(Proxy, TcpStream)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let proxy = Proxy::start().await?;
        proxy.lead_to(listener.local_addr()?.port());
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = peer.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await?;
        said_again(&mut client).await?;
        Ok((proxy, client))
    }

    async fn said_again(client: &mut TcpStream) -> anyhow::Result<()> {
        client.write_all(b"hello").await?;
        let mut heard = [0; 5];
        client.read_exact(&mut heard).await?;
        ensure!(&heard == b"hello");
        Ok(())
    }

    #[tokio::test]
    async fn what_is_cut_ends_and_another_connection_goes_through() -> anyhow::Result<()> {
        let (proxy, mut client) = echo().await?;
        proxy.cut(100, &mut Random::of(1, "cut"));
        ensure!(client.read(&mut [0; 1]).await.is_ok_and(|read| read == 0), "it goes on");
        said_again(&mut TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await?).await
    }

    #[tokio::test]
    async fn what_is_stalled_goes_on_when_it_is_healed() -> anyhow::Result<()> {
        let (proxy, mut client) = echo().await?;
        proxy.stall(100, &mut Random::of(1, "stall"));
        ensure!(timeout(SILENCE, said_again(&mut client)).await.is_err(), "it was not stalled");
        proxy.heal();
        let mut heard = [0; 5];
        client.read_exact(&mut heard).await?;
        said_again(&mut client).await
    }

    #[tokio::test]
    async fn what_is_delayed_comes_late() -> anyhow::Result<()> {
        let (proxy, mut client) = echo().await?;
        let by = Duration::from_millis(60);
        proxy.delay(by);
        let begun = Instant::now();
        said_again(&mut client).await?;
        ensure!(begun.elapsed() >= 2 * by, "there and back in {:?}", begun.elapsed());
        Ok(())
    }
}
