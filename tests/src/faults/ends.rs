//! Every place in the code where a process may end, one after the other: it ends there, is started again, and in the end
//! everything is settled.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Context;
use contract::{Topic, topic};
use futures_util::future::try_join_all;
use journal::faults::{CRASH_AT, CrashPoint, FAREWELL};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tokio::time::{sleep, timeout};

use super::REST;
use super::crash::{Place, places};
use super::load::Load;
use crate::eventually;
use crate::kafka::Kafka;
use crate::program::ORDERSYSTEM_FAULTS;
use crate::system::{Replica, Service, Setup, System, Transport};

/// Lanes of the system: few, so that much happens in each.
const LANES: u16 = 2;

/// How long an order waits for stock and payment: long enough to be paid while services come and go, and short enough
/// that some expire.
const PAYMENT_TIMEOUT: &str = "10s";

/// Clients that come each second: what comes seldom comes every second or so.
const PER_SECOND: u32 = 12;

/// How long a process may take to come to a place that clients bring it to.
const PLACE_DEADLINE: Duration = Duration::from_mins(2);

/// The pause before what leads to a place is done once more.
const PAUSE: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Debug)]
pub struct Ends {
    /// Places that a process ended at.
    pub reached: Vec<String>,
    /// Places that none came to.
    pub missed: Vec<String>,
    /// What must not be.
    pub contradictions: Vec<String>,
}

/// Ends processes at every place: over the log those that are passed there, over Kafka those that are passed only there.
pub async fn every_place(transport: Transport, seed: u64) -> anyhow::Result<Ends> {
    let setup = Setup::from(transport).program(ORDERSYSTEM_FAULTS).lanes(LANES).payment_timeout(PAYMENT_TIMEOUT);
    let system = System::services(setup, 1).await?;
    let load = Load::new(system.shop(), seed).of_everything();
    load.stock().await?;
    let ends = RefCell::new(Ends { reached: Vec::new(), missed: Vec::new(), contradictions: Vec::new() });
    let is_ours = |place: &Place| place.point.needs_kafka() == (transport == Transport::Kafka);
    let all = Service::ALL.map(|service| {
        let places = places(service).into_iter().filter(is_ours).collect();
        end_everywhere(&system, service, places, &ends)
    });
    load.run(PER_SECOND, try_join_all(all)).await?;
    let history = load.into_history();
    let (_, contradictions) = super::judged(&system, &history, REST).await?;
    Ok(Ends { contradictions, ..ends.into_inner() })
}

/// Ends the process of one service at all these places, each time after a new start.
async fn end_everywhere(
    system: &System,
    service: Service,
    places: Vec<Place>,
    ends: &RefCell<Ends>,
) -> anyhow::Result<()> {
    let replica = system.replica(service, 0);
    replica.kill_9().await?;
    for place in places {
        let begun = Instant::now();
        let reached = ends_at(system, replica, place).await?;
        eprintln!("{:>6.1} s  {place}{}", begun.elapsed().as_secs_f64(), if reached { "" } else { ": not reached" });
        let mut ends = ends.borrow_mut();
        if reached { ends.reached.push(place.to_string()) } else { ends.missed.push(place.to_string()) }
    }
    replica.launch_again(None).await?;
    replica.wait_until_ready().await
}

/// Starts a process that is told to end at a place, and leads it there; whether it came there.
async fn ends_at(system: &System, replica: &Replica, place: Place) -> anyhow::Result<bool> {
    let told = place.to_string();
    // It may come to the place before it says where it answers.
    let _ = replica.launch_again(Some((CRASH_AT, &told))).await;
    let ended = async {
        while replica.has_ended().await?.is_none() {
            lead_to(system, replica, place).await?;
            let soon = eventually(PAUSE, "it ends", async || replica.has_ended().await?.context("it goes on"));
            let _ = soon.await;
        }
        anyhow::Ok(())
    };
    match timeout(PLACE_DEADLINE, ended).await {
        Ok(ended) => ended?,
        Err(_) => replica.kill_9().await?,
    }
    Ok(replica.log_since_start().await.contains(&format!("{FAREWELL}{told}")))
}

/// Does what leads to a place that clients do not lead to.
async fn lead_to(system: &System, replica: &Replica, place: Place) -> anyhow::Result<()> {
    match place.point {
        // It ends before it has said goodbye.
        CrashPoint::LanesReleased if replica.wait_until_ready().await.is_ok() => {
            sleep(PAUSE).await;
            let _ = replica.terminate().await;
            Ok(())
        }
        CrashPoint::WentBack => {
            let topic = Topic::ALL.into_iter().find(|topic| topic.as_str() == place.schema).context("it publishes")?;
            let request = format!(r#"{{"source":"{topic}","from":1}}"#);
            produce(&topic::resend(system.name()), &request).await
        }
        CrashPoint::LettersPublished => {
            let source = match place.schema {
                "orders" => Topic::Payments,
                "inventory_view" => Topic::Inventory,
                _ => Topic::Orders,
            };
            produce(&source.name(system.name()), "no event").await
        }
        _ => Ok(()),
    }
}

/// Produces a record in every lane of a topic.
async fn produce(topic: &str, payload: &str) -> anyhow::Result<()> {
    let kafka = Kafka::shared().await?;
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create()?;
    for lane in 0..i32::from(LANES) {
        let record = BaseRecord::<str, str>::to(topic).partition(lane).key("test").payload(payload);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    tokio::task::spawn_blocking(move || producer.flush(PLACE_DEADLINE)).await??;
    Ok(())
}
