//! Who does the harm that is planned, and counts it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use contract::Topic;
use futures_util::future::{join_all, try_join_all};
use journal::faults::{CRASH_AT, FAREWELL};
use tokio::time::{sleep, sleep_until, timeout};

use super::crash::Place;
use super::plan::{Fault, Hand, Kind, Plan};
use super::random::Random;
use super::site::{LANES, Site};
use super::topics;
use crate::eventually;
use crate::system::{Replica, Service};

/// How long a process may take until it comes to the place that it has to end at; then it is killed. It gets lanes when the
/// session of the one before it is over, after 6 s, and not every place is passed that soon.
const CRASH_DEADLINE: Duration = Duration::from_secs(25);

/// How long a database or broker may take to notice that its disk is full, and to end or go on.
const FULL_DEADLINE: Duration = Duration::from_secs(5);

/// How often locks are held in a row.
const HOLDS: u32 = 4;

/// How long it may take to get the locks of all lanes: a stopped process holds them for three seconds.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);

/// Room that is left on a disk that is filled, in bytes: less than anybody writes at once.
const LAST_ROOM: u64 = 64 * 1024;

/// Does harm to a site, and counts what it did.
#[derive(Debug)]
pub struct Nemesis<'s> {
    site: &'s Site,
    seed: u64,
    only: &'static [Kind],
    begun: Instant,
    done: RefCell<BTreeMap<Kind, u32>>,
    broken: RefCell<Vec<String>>,
}

impl<'s> Nemesis<'s> {
    /// Does what a seed says, but `only` this, unless it is nothing.
    pub fn new(site: &'s Site, seed: u64, only: &'static [Kind]) -> Self {
        Self { site, seed, only, begun: Instant::now(), done: RefCell::default(), broken: RefCell::default() }
    }

    /// Every hand does what its plan says, until `end`; and then, until `latest`, only what has not come about by then.
    pub async fn run(&self, end: Instant, latest: Instant) -> anyhow::Result<()> {
        try_join_all(Hand::ALL.map(|hand| self.hand(hand, end, latest))).await.map(drop)
    }

    /// How often each fault was brought about.
    pub fn done(&self) -> BTreeMap<Kind, u32> {
        self.done.borrow().clone()
    }

    /// Processes that ended by themselves, which none may.
    pub fn ended_by_themselves(&self) -> Vec<String> {
        self.broken.borrow().clone()
    }

    async fn hand(&self, hand: Hand, end: Instant, latest: Instant) -> anyhow::Result<()> {
        for (rest, fault) in Plan::of(self.seed, hand, self.only) {
            let at = Instant::now() + rest;
            if at >= latest || (at >= end && !self.misses(Kind::of(hand))) {
                break;
            }
            if at >= end && !self.misses(&[fault.kind()]) {
                continue;
            }
            sleep_until(at.into()).await;
            tracing(self.begun, hand, &fault);
            let done = self.bring_about(hand, &fault).await;
            if done.with_context(|| format!("{hand:?}: {fault}"))? {
                *self.done.borrow_mut().entry(fault.kind()).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Whether something of these is to go wrong and has not come about yet.
    fn misses(&self, kinds: &[Kind]) -> bool {
        let done = self.done.borrow();
        let mut wanted = kinds.iter().filter(|kind| self.only.is_empty() || self.only.contains(kind));
        wanted.any(|kind| !done.contains_key(kind))
    }

    /// Brings a fault about and undoes it, as far as it does not stay; whether it came about.
    async fn bring_about(&self, hand: Hand, fault: &Fault) -> anyhow::Result<bool> {
        match (hand, fault) {
            (Hand::Replicas(service), fault) => self.harm_replicas(service, fault).await,
            (_, Fault::KillBroker { away }) => self.kill_broker(*away, None).await,
            (_, Fault::StopBroker { away }) => self.stop_broker(*away).await,
            (_, Fault::LoseTail { percent, seed }) => self.kill_broker(Duration::ZERO, Some((*percent, *seed))).await,
            (_, Fault::FillBroker { away }) => self.fill_broker(*away).await,
            (_, Fault::KillDatabase { away }) => self.kill_database(*away).await,
            (_, Fault::FillDatabase { away }) => self.fill_database(*away).await,
            (_, Fault::SendTwice { topic, records }) => self.send_twice(*topic, *records).await,
            (_, Fault::Hold { schema, away }) => Ok(self.hold(schema, *away).await.is_ok()),
            (_, fault) => self.harm_links(fault).await,
        }
    }

    // Replicas.

    async fn harm_replicas(&self, service: Service, fault: &Fault) -> anyhow::Result<bool> {
        let replica = |number: usize| self.site.system.replica(service, number);
        self.look_after(service).await?;
        match fault {
            Fault::Kill { replica: number, away } => self.kill(replica(*number), *away).await?,
            Fault::KillAll { away } => {
                let all = self.site.replicas(service).map(|replica| self.kill(replica, *away));
                try_join_all(all).await?;
            }
            Fault::Freeze { replica: number, away } => {
                let replica = replica(*number);
                replica.stop().await?;
                sleep(*away).await;
                replica.cont().await?;
            }
            Fault::Churn { replica: number, away } => {
                let replica = replica(*number);
                // What it rests on may be away, and then it cannot say goodbye properly; that it ends is enough.
                let _ = replica.terminate().await;
                sleep(*away).await;
                self.site.revive(replica).await?;
            }
            Fault::Crash { replica: number, place } => return self.crash(replica(*number), *place).await,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Starts what has ended by itself, and takes note of it.
    async fn look_after(&self, service: Service) -> anyhow::Result<()> {
        for replica in self.site.replicas(service) {
            if let Some(status) = replica.has_ended().await? {
                let log = replica.log_since_start().await;
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                self.broken.borrow_mut().push(format!("{} ended by itself, {status}: {last:#?}", service.name()));
                self.site.revive(replica).await?;
            }
        }
        Ok(())
    }

    async fn kill(&self, replica: &Replica, away: Duration) -> anyhow::Result<()> {
        replica.kill_9().await?;
        sleep(away).await;
        self.site.revive(replica).await
    }

    /// Starts a replica anew that ends at a named place; whether it came there.
    async fn crash(&self, replica: &Replica, place: Place) -> anyhow::Result<bool> {
        replica.kill_9().await?;
        let told = place.to_string();
        // It cannot start while what it rests on is away; or it came to the place before it said where it answers.
        let _ = replica.launch_again(Some((CRASH_AT, &told))).await;
        let ended =
            eventually(CRASH_DEADLINE, "it comes there", async || replica.has_ended().await?.context("it goes on"));
        if ended.await.is_err() {
            replica.kill_9().await?;
        }
        let came_there = replica.log_since_start().await.contains(&format!("{FAREWELL}{told}"));
        self.site.revive(replica).await?;
        Ok(came_there)
    }

    // What they rest on.

    /// Kills the broker; meanwhile it may lose what it had acknowledged.
    async fn kill_broker(&self, away: Duration, lost: Option<(usize, u64)>) -> anyhow::Result<bool> {
        self.site.kafka.kill().await?;
        sleep(away).await;
        let batches = match lost {
            Some((percent, seed)) => {
                let data = self.site.kafka.folder().path().join("data");
                lose_tail(&data, self.site.system.name(), percent, seed)?
            }
            None => 1,
        };
        self.site.revive_broker().await?;
        Ok(batches > 0)
    }

    async fn stop_broker(&self, away: Duration) -> anyhow::Result<bool> {
        self.site.kafka.stop().await?;
        sleep(away).await;
        self.site.revive_broker().await?;
        Ok(true)
    }

    async fn fill_broker(&self, away: Duration) -> anyhow::Result<bool> {
        let folder = self.site.kafka.folder();
        folder.fill(LAST_ROOM)?;
        let ended = eventually(FULL_DEADLINE, "the broker ends", async || {
            (!self.site.kafka.runs()).then_some(()).context("it runs")
        });
        let noticed = ended.await.is_ok();
        sleep(away).await;
        folder.make_room()?;
        self.site.revive_broker().await?;
        Ok(noticed)
    }

    async fn kill_database(&self, away: Duration) -> anyhow::Result<bool> {
        {
            let mut server = self.site.server.lock().await;
            self.site.observer.read_log(&server);
            server.kill().await?;
        }
        sleep(away).await;
        self.site.revive_database().await?;
        Ok(true)
    }

    async fn fill_database(&self, away: Duration) -> anyhow::Result<bool> {
        self.site.server.lock().await.folder().fill(LAST_ROOM)?;
        let noticed = eventually(FULL_DEADLINE, "the database notices", async || {
            self.site.server.lock().await.log().contains("No space left").then_some(()).context("it does not")
        });
        let noticed = noticed.await.is_ok();
        sleep(away).await;
        self.site.server.lock().await.folder().make_room()?;
        // It may be recovering by itself.
        let connected = async || self.site.system.database().connect().await.map(drop);
        let _ = eventually(FULL_DEADLINE, "it recovers", connected).await;
        self.site.revive_database().await?;
        Ok(noticed)
    }

    /// Holds the locks of a journal's lanes a few times in a row. Who waits for them goes on at the same moment; what came
    /// meanwhile waits as one large batch the next time. The database may be away.
    async fn hold(&self, schema: &str, away: Duration) -> anyhow::Result<()> {
        let client = self.site.system.database().connect().await?;
        let lock = format!("BEGIN; SELECT lane FROM {schema}.lane_head ORDER BY lane FOR UPDATE");
        for _ in 0..HOLDS {
            timeout(LOCK_DEADLINE, client.batch_execute(&lock)).await??;
            sleep(away / HOLDS).await;
            client.batch_execute("ROLLBACK").await?;
        }
        Ok(())
    }

    async fn send_twice(&self, topic: usize, records: usize) -> anyhow::Result<bool> {
        let topic = Topic::ALL[topic].name(self.site.system.name());
        let brokers = self.site.kafka.side_door()?;
        let sent = tokio::task::spawn_blocking(move || topics::send_twice(&brokers, &topic, LANES, records)).await?;
        // The broker may be away.
        Ok(sent.is_ok_and(|sent| sent > 0))
    }

    // What is between.

    async fn harm_links(&self, fault: &Fault) -> anyhow::Result<bool> {
        let mut random = Random::of(self.seed, &format!("{fault:?}"));
        match fault {
            Fault::Cut { link, percent } => self.site.link(*link).cut(*percent, &mut random),
            Fault::Stall { link, percent, away } => {
                self.site.link(*link).stall(*percent, &mut random);
                sleep(*away).await;
                self.site.link(*link).heal();
            }
            Fault::Delay { link, by, away } => {
                self.site.link(*link).delay(*by);
                sleep(*away).await;
                self.site.link(*link).heal();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes note of processes that have ended by themselves at last.
    pub async fn look_after_all(&self) -> anyhow::Result<()> {
        join_all(Service::ALL.map(|service| self.look_after(service))).await.into_iter().collect()
    }
}

fn lose_tail(data: &Path, system: &str, percent: usize, seed: u64) -> anyhow::Result<usize> {
    topics::lose_tail(data, system, LANES, percent, &mut Random::of(seed, "lost"))
}

fn tracing(begun: Instant, hand: Hand, fault: &Fault) {
    eprintln!("{:>6.1} s  {hand:?}: {fault}", begun.elapsed().as_secs_f64());
}
