//! Who owns which lane under the `log` transport: the replicas of a service write a heartbeat into its schema and share
//! the lanes evenly. Epochs fence; this only decides who should try.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use contract::{Lane, Lanes};
use process::{Component, Process};
use tokio::{
    sync::{oneshot, watch},
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_postgres::Client;

use super::{Control, Intake, Positions, log::Cursors};
use crate::{OwnedLanes, database::Database};

/// How often a replica says that it is there, and looks who else is.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// After this time without a heartbeat a replica's lanes are taken over. A replica whose connection ended is not waited for.
const SESSION_SECONDS: f64 = 5.0;
/// How long one heartbeat, or one look at the members, may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Says that we are there; whoever was not seen for long is forgotten.
const BEAT: &str = "
WITH gone AS (DELETE FROM member WHERE seen_at < now() - interval '10 minutes')
INSERT INTO member (id, seen_at, backend_pid, backend_start)
SELECT $1, clock_timestamp(), a.pid, a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, backend_pid = excluded.backend_pid,
    backend_start = excluded.backend_start";
/// Who is there: a fresh heartbeat, and the connection that wrote it still open.
const LIVE: &str = "
SELECT m.id FROM member m JOIN pg_stat_activity a ON a.pid = m.backend_pid AND a.backend_start = m.backend_start
WHERE m.seen_at > clock_timestamp() - make_interval(secs => $1) ORDER BY m.id";

/// Watches over the lanes of one journal.
pub(crate) struct Membership {
    pub member: Arc<str>,
    pub schema: &'static str,
    pub lanes: Lanes,
    pub database: Database,
    pub intake: Intake,
    pub owned: watch::Receiver<OwnedLanes>,
    pub cursors: watch::Sender<Arc<Cursors>>,
    /// Whether this replica has its share of the lanes.
    pub health: Component,
}

impl Membership {
    /// Starts watching.
    pub fn start(self, process: &Process) {
        let stop = process.stop().clone();
        process.spawn("membership", async move {
            let mut client = None;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.run(&mut client) => {}
            }
            if let Some(client) = client {
                let _ = client.execute("DELETE FROM member WHERE id = $1", &[&&*self.member]).await;
            }
        });
    }

    async fn run(&self, client: &mut Option<Client>) {
        let mut generation = 0;
        loop {
            match self.database.connect_to(self.schema).await {
                Ok(connection) => {
                    let connection = client.insert(connection);
                    let error = self.watch(connection, &mut generation).await;
                    tracing::debug!(schema = self.schema, %error, "heartbeat failed");
                }
                Err(error) => tracing::debug!(schema = self.schema, %error, "no connection for the heartbeat"),
            }
            *client = None;
            sleep(HEARTBEAT).await;
        }
    }

    /// Says that we are there and shares the lanes, until that fails.
    async fn watch(&self, client: &Client, generation: &mut u64) -> Trouble {
        // Before the first look: whoever does not see itself takes nothing, and would count as ready.
        if let Err(trouble) = self.say_so(client).await {
            return trouble;
        }
        // A writer that is slow to claim or to release does not keep us from saying that we are there.
        tokio::select! {
            trouble = self.beat(client) => trouble,
            trouble = self.share(client, generation) => trouble,
        }
    }

    /// Goes on saying that we are there, until that fails.
    async fn beat(&self, client: &Client) -> Trouble {
        let mut beat = paced();
        beat.reset();
        loop {
            beat.tick().await;
            if let Err(trouble) = self.say_so(client).await {
                return trouble;
            }
        }
    }

    async fn say_so(&self, client: &Client) -> Result<(), Trouble> {
        answered(client.execute(BEAT, &[&&*self.member])).await.map(drop)
    }

    /// Looks who is there and shares the lanes with them, until that fails.
    async fn share(&self, client: &Client, generation: &mut u64) -> Trouble {
        let mut pace = paced();
        loop {
            pace.tick().await;
            match answered(self.look(client)).await {
                Ok(seen) => self.rebalance(&seen, generation).await,
                Err(trouble) => return trouble,
            }
        }
    }

    async fn look(&self, client: &Client) -> Result<Seen, tokio_postgres::Error> {
        let live = client.query(LIVE, &[&SESSION_SECONDS]).await?;
        let owners = client.query("SELECT lane, owner FROM lane_head", &[]).await?;
        let lane = |row: &tokio_postgres::Row| Lane(row.get::<_, i16>(0).unsigned_abs());
        Ok(Seen {
            live: live.iter().map(|row| row.get(0)).collect(),
            owners: owners.iter().map(|row| (lane(row), row.get(1))).collect(),
        })
    }

    async fn rebalance(&self, seen: &Seen, generation: &mut u64) {
        let held = self.owned.borrow().clone();
        self.keep_reading(|lane| held.contains(&lane));
        let plan = plan(self.lanes, &self.member, &held, seen);
        if !plan.release.is_empty() {
            let (reply, released) = oneshot::channel();
            self.keep_reading(|lane| !plan.release.contains(&lane));
            let control = Control::Revoke { lanes: plan.release, reply };
            if self.intake.controls.send(control).await.is_ok() {
                let _ = released.await;
            }
        }
        if plan.claim.is_empty() {
            self.health.up();
        } else {
            self.claim(plan.claim, seen, generation).await;
        }
    }

    async fn claim(&self, lanes: Vec<Lane>, seen: &Seen, generation: &mut u64) {
        *generation += 1;
        let others = seen.live.iter().filter(|id| **id != *self.member).cloned().collect();
        let (reply, claimed) = oneshot::channel();
        let control = Control::Assign { lanes, generation: *generation, unless_owned_by: Some(others), reply };
        if self.intake.controls.send(control).await.is_ok()
            && let Ok(positions) = claimed.await
        {
            self.cursors.send_replace(Arc::new(Cursors { generation: *generation, positions }));
            self.health.up();
        }
    }

    fn keep_reading(&self, kept: impl Fn(Lane) -> bool) {
        self.cursors.send_modify(|cursors| {
            let positions: Positions = cursors.positions.iter().filter(|(_, lane, _)| kept(*lane)).copied().collect();
            *cursors = Arc::new(Cursors { generation: cursors.generation, positions });
        });
    }
}

/// Why the connection is given up.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    #[error("no answer in {} s", QUERY_TIMEOUT.as_secs())]
    Timeout,
}

async fn answered<T>(query: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Trouble> {
    Ok(timeout(QUERY_TIMEOUT, query).await.map_err(|_| Trouble::Timeout)??)
}

fn paced() -> Interval {
    let mut pace = interval(HEARTBEAT);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// What a look at the members shows.
struct Seen {
    /// Who is there, in order.
    live: Vec<String>,
    /// Who owns each lane.
    owners: BTreeMap<Lane, Option<String>>,
}

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    claim: Vec<Lane>,
    release: Vec<Lane>,
}

/// An even share, with as few moves as possible: we give away what we have too much of, and take what nobody has. `held`
/// is what the writer holds; a lane that is ours in the table only was claimed and never heard of, so it is free. What
/// the writer holds and another one owns was taken while we were not seen: a writer without work does not notice itself.
fn plan(lanes: Lanes, me: &str, held: &[Lane], seen: &Seen) -> Plan {
    let Some(rank) = seen.live.iter().position(|id| id == me) else {
        return Plan { claim: Vec::new(), release: Vec::new() };
    };
    let (count, members) = (usize::from(lanes.count()), seen.live.len());
    let share = count / members + usize::from(rank < count % members);
    let is_free = |lane: &Lane| match seen.owners.get(lane).and_then(Option::as_deref) {
        None => true,
        Some(owner) if owner == me => !held.contains(lane),
        Some(owner) => !seen.live.iter().any(|id| id == owner),
    };
    let is_mine = |lane: &Lane| seen.owners.get(lane).and_then(Option::as_deref) == Some(me);
    let (mine, taken): (Vec<Lane>, Vec<Lane>) = held.iter().partition(|lane| is_mine(lane));
    Plan {
        claim: lanes.all().filter(is_free).take(share.saturating_sub(mine.len())).collect(),
        release: mine.into_iter().skip(share).chain(taken).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(live: &[&str], owners: &[Option<&str>]) -> Seen {
        Seen {
            live: live.iter().map(|id| (*id).to_owned()).collect(),
            owners: (0..).map(Lane).zip(owners.iter().map(|owner| owner.map(str::to_owned))).collect(),
        }
    }

    fn lanes(count: u16) -> Lanes {
        Lanes::new(count).expect("in range")
    }

    const ALL: [Lane; 3] = [Lane(0), Lane(1), Lane(2)];

    #[test]
    fn one_replica_takes_every_lane() {
        let plan = plan(lanes(3), "a", &[], &seen(&["a"], &[None, None, None]));
        assert_eq!(plan, Plan { claim: ALL.to_vec(), release: vec![] });
    }

    #[test]
    fn a_second_replica_is_given_its_share_and_no_more() {
        let look = seen(&["a", "b"], &[Some("a"), Some("a"), Some("a")]);
        assert_eq!(plan(lanes(3), "a", &ALL, &look), Plan { claim: vec![], release: vec![Lane(2)] });
        assert_eq!(plan(lanes(3), "b", &[], &look), Plan { claim: vec![], release: vec![] });
        let look = seen(&["a", "b"], &[Some("a"), Some("a"), None]);
        assert_eq!(plan(lanes(3), "b", &[], &look), Plan { claim: vec![Lane(2)], release: vec![] });
    }

    #[test]
    fn the_lanes_of_the_dead_are_taken() {
        let plan = plan(lanes(2), "b", &[Lane(1)], &seen(&["b"], &[Some("a"), Some("b")]));
        assert_eq!(plan, Plan { claim: vec![Lane(0)], release: vec![] });
    }

    #[test]
    fn a_lane_whose_claim_was_never_heard_of_is_claimed_again() {
        let plan = plan(lanes(2), "a", &[Lane(1)], &seen(&["a"], &[Some("a"), Some("a")]));
        assert_eq!(plan, Plan { claim: vec![Lane(0)], release: vec![] });
    }

    #[test]
    fn lanes_that_were_taken_while_we_were_not_seen_are_let_go() {
        let look = seen(&["a", "b"], &[Some("b"), Some("b"), Some("a")]);
        assert_eq!(plan(lanes(3), "a", &ALL, &look), Plan { claim: vec![], release: vec![Lane(0), Lane(1)] });
    }

    #[test]
    fn shares_cover_every_lane_for_any_number_of_replicas() {
        for members in 1..=9_usize {
            let live: Vec<String> = (0..members).map(|n| format!("m{n}")).collect();
            let owners = lanes(6).all().map(|lane| (lane, None)).collect();
            let look = Seen { live: live.clone(), owners };
            let total: usize = live.iter().map(|me| plan(lanes(6), me, &[], &look).claim.len()).sum();
            assert_eq!(total, 6, "{members} replicas");
        }
    }
}
