//! The floor: what a run left behind, its rows and its messages, written once more with nothing around them.
//!
//! Every row goes through a bare `INSERT … SELECT … FROM unnest` into the same tables with the same indexes and is updated
//! as often as it was; every message goes through a bare producer and as many bare consumers as its topic has. Batches are
//! as full as they may be, nothing is decided and nobody waits. An order system on this database and this broker cannot
//! cost much less.

mod messages;
mod rows;

use anyhow::Context;
use tests::kafka::Kafka;
use tests::postgres::{Server, TestDatabase};
use tests::system::System;

use crate::meter::{Meter, Part};
use messages::Messages;
use rows::Rows;

/// Orders whose rows and messages are written once more: enough for a steady figure, few enough to be held in memory.
const ORDERS: f64 = 20_000.0;

/// How often they are written: one time differs from another by a tenth.
const ROUNDS: usize = 3;

/// What a run left behind.
pub struct Leftovers {
    rows: Rows,
    messages: Messages,
    orders: f64,
}

/// What the floor costs, in seconds of CPU an order.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    pub postgres: f64,
    pub kafka: f64,
    /// Of the program that writes, produces and consumes.
    pub client: f64,
}

impl Leftovers {
    /// Takes a share of what the system has of `orders` orders.
    pub async fn of(system: &System, kafka: &Kafka, orders: f64) -> anyhow::Result<Self> {
        let share = (ORDERS / orders).min(1.0);
        let rows = Rows::read(&system.database().connect().await?, share).await?;
        let messages = Messages::read(kafka, system.name(), share)?;
        Ok(Self { rows, messages, orders: orders * share })
    }

    /// Writes all of it once more, into `copy` of the system's database and beside its topics, [`ROUNDS`] times: what the
    /// median of them cost.
    pub async fn write(&self, postgres: &Server, copy: &TestDatabase, kafka: &Kafka) -> anyhow::Result<Floor> {
        let meter = Meter { system: None, postgres, database: copy, kafka: Some(kafka) };
        let mut rounds = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            rounds.push(self.write_once(round, &meter, copy, kafka).await?);
        }
        rounds.sort_by(|one: &Floor, other| one.total().total_cmp(&other.total()));
        Ok(rounds[ROUNDS / 2])
    }

    async fn write_once(
        &self,
        round: usize,
        meter: &Meter<'_>,
        copy: &TestDatabase,
        kafka: &Kafka,
    ) -> anyhow::Result<Floor> {
        let client = copy.connect().await?;
        self.rows.make_room(&client).await?;
        self.messages.make_room(kafka, round).await?;
        let before = meter.read().await?;
        self.rows.write(&client).await.context("rows cannot be written once more")?;
        self.messages.write(kafka, round).context("messages cannot be sent once more")?;
        let cost = meter.read().await?.since(&before);
        let per_order = |part| cost.cpu_seconds.get(&part).copied().unwrap_or_default() / self.orders;
        Ok(Floor {
            postgres: per_order(Part::PostgreSql) + per_order(Part::Vacuum),
            kafka: per_order(Part::Kafka),
            client: per_order(Part::Generator),
        })
    }
}

impl Floor {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.postgres + self.kafka + self.client
    }
}
