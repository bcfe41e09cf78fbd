//! Taking lanes over and letting them go.

use contract::{Lane, Topic};
use tokio_postgres::Row;

use super::{Doors, Writer};
use crate::{
    Model,
    faults::{self, CrashPoint},
    inbox::Position,
    schema,
    transport::Control,
};

impl<M: Model> Writer<M> {
    pub(super) async fn control(&mut self, control: Control, doors: &mut Doors<M>) {
        // What was taken in before belongs to the ownership before.
        self.settle_pending(doors).await;
        match control {
            // Whoever gave up waiting may not own these lanes any more: claiming them now would fence off who does.
            Control::Assign { reply, .. } if reply.is_closed() => {}
            Control::Assign { lanes, generation, unless_owned_by, reply } => {
                match self.claim(&lanes, unless_owned_by).await {
                    Ok(positions) => match reply.send(positions) {
                        Ok(()) => self.generation = generation,
                        // Whoever gave up meanwhile will not read them.
                        Err(_) => self.release(lanes).await,
                    },
                    Err(error) => {
                        tracing::warn!(schema = self.schema, %error, "lanes could not be claimed");
                        self.session = None;
                        self.connect(doors).await;
                    }
                }
            }
            Control::Revoke { lanes, reply } => {
                self.flush(doors).await;
                self.release(lanes).await;
                let _ = reply.send(());
            }
        }
    }

    async fn claim(
        &mut self,
        lanes: &[Lane],
        unless_owned_by: Option<Vec<String>>,
    ) -> Result<Vec<(Topic, Lane, Position)>, tokio_postgres::Error> {
        let Some(session) = &mut self.session else {
            return Ok(Vec::new());
        };
        let numbers: Vec<i16> = lanes.iter().map(|lane| lane.as_i16()).collect();
        let transaction = session.client.transaction().await?;
        transaction.query(schema::LOCK_LANES, &[&numbers]).await?;
        let claimed = transaction.query(schema::CLAIM, &[&numbers, &&*self.member, &unless_owned_by]).await?;
        let read = "SELECT source, lane, last_seq, next_offset FROM inbox_lane WHERE lane = ANY($1)";
        let inboxes = transaction.query(read, &[&numbers]).await?;
        transaction.commit().await?;
        faults::reached(CrashPoint::LanesClaimed, self.schema, || [""]);

        for row in &claimed {
            let lane = Lane(row.get::<_, i16>(0).unsigned_abs());
            let at = self.sources.iter().map(|topic| (*topic, stored(&inboxes, *topic, lane)));
            self.holding.take(lane, row.get(1), at);
            self.outlet.own(lane, row.get(3), row.get(2));
        }
        self.tell_owned();
        Ok(self.holding.positions().collect())
    }

    pub(super) async fn release(&mut self, lanes: Vec<Lane>) {
        let held: Vec<(Lane, i64)> =
            lanes.into_iter().filter_map(|lane| Some((lane, self.holding.epoch(lane)?))).collect();
        if held.is_empty() {
            return;
        }
        self.outlet.drain().await;
        faults::reached(CrashPoint::LanesReleased, self.schema, || [""]);
        let columns =
            |value: fn(&Self, &(Lane, i64)) -> i64| held.iter().map(|lane| value(self, lane)).collect::<Vec<_>>();
        let epochs = columns(|_, (_, epoch)| *epoch);
        let published = columns(|writer, (lane, _)| writer.outlet.published(*lane));
        let numbers: Vec<i16> = held.iter().map(|(lane, _)| lane.as_i16()).collect();
        if let Some(session) = &self.session
            && let Err(error) = session.client.execute(schema::RELEASE, &[&numbers, &epochs, &published]).await
        {
            // The next owner does not depend on it.
            tracing::info!(schema = self.schema, %error, "lanes were left without saying so");
        }
        self.disown(&held.iter().map(|(lane, _)| *lane).collect::<Vec<_>>());
    }

    pub(super) fn disown(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            self.holding.let_go(*lane);
            self.outlet.disown(*lane);
        }
        self.tell_owned();
    }

    fn tell_owned(&self) {
        self.metrics.lanes_owned.set(i64::try_from(self.holding.count()).unwrap_or(i64::MAX));
        self.owned_lanes.send_replace(self.holding.lanes().collect());
    }
}

fn stored(inboxes: &[Row], topic: Topic, lane: Lane) -> Position {
    let row = inboxes.iter().find(|row| row.get::<_, i16>(0) == topic.code() && row.get::<_, i16>(1) == lane.as_i16());
    row.map(|row| Position { seq: row.get(2), offset: row.get(3) }).unwrap_or_default()
}
