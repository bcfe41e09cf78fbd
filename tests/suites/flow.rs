//! Orders on their way through the four services, over either transport, while replicas come, go, die and freeze, and
//! while the database and the broker are away: what was acknowledged is there, every order is settled, the books balance.

#[path = "flow/away.rs"]
mod away;
#[path = "flow/books.rs"]
mod books;
#[path = "flow/bulk.rs"]
mod bulk;
#[path = "flow/crowd.rs"]
mod crowd;
#[path = "flow/lanes.rs"]
mod lanes;
#[path = "flow/load.rs"]
mod load;
#[path = "flow/lost.rs"]
mod lost;
#[path = "flow/moved.rs"]
mod moved;
#[path = "flow/remembered.rs"]
mod remembered;
#[path = "flow/replicas.rs"]
mod replicas;

use std::time::Duration;

use tests::{over_both_transports, turn};

/// How long the processes of a system may take to notice what happened to others: a session, several times over.
const NOTICE_DEADLINE: Duration = Duration::from_mins(1);

over_both_transports! {
    orders_settle_while_replicas_are_killed_and_frozen: replicas::killed_and_frozen,
    replicas_frozen_without_work_share_the_lanes_again: replicas::frozen_without_work,
    replicas_share_the_lanes_the_last_units_and_a_key: crowd::shared,
    stock_that_another_changed_is_not_sold_from_memory: remembered::changed_by_another,
    twenty_thousand_orders_settle: bulk::twenty_thousand,
    orders_survive_that_the_database_is_away: away::database,
    orders_survive_that_the_databases_disk_is_full: away::full,
    a_disk_that_was_full_for_callers_only_is_found_to_have_room: away::full_for_callers,
}

mod on_kafka_only {
    use super::*;

    #[tokio::test]
    async fn orders_survive_that_the_broker_is_away() -> anyhow::Result<()> {
        let _turn = turn().await?;
        away::broker().await
    }

    #[tokio::test]
    async fn orders_survive_that_the_broker_knows_no_brokers_for_a_while() -> anyhow::Result<()> {
        let _turn = turn().await?;
        away::fenced().await
    }

    #[tokio::test]
    async fn records_that_kafka_lost_are_noticed_and_published_again() -> anyhow::Result<()> {
        let _turn = turn().await?;
        lost::published_again().await
    }

    #[tokio::test]
    async fn a_system_moves_from_the_log_to_kafka_and_back() -> anyhow::Result<()> {
        let _turn = turn().await?;
        moved::there_and_back().await
    }
}
