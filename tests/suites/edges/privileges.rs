//! Services as database roles that can do what they need and no more.

use std::time::Duration;

use anyhow::ensure;
use tests::books::balanced;
use tests::postgres::{TestDatabase, connect};
use tests::program::Program;
use tests::shop::order;
use tests::system::{Service, Setup, System, Transport};
use tests::{eventually, turn};
use tokio_postgres::error::SqlState;

/// What the roles' names begin with: no other test makes any on the server that tests share.
const PREFIX: &str = "edge";
/// Their password.
const PASSWORD: &str = "of-a-test";
/// How long the system may take until nothing is on its way, in seconds.
const REST_SECONDS: u64 = 30;
/// How long a program may take to print, and a customer may wait to be told.
const DEADLINE: Duration = Duration::from_secs(30);
/// The table in each service's hands that others have no business with.
const TABLES: [(Service, &str); 5] = [
    (Service::Order, "orders.orders"),
    (Service::Order, "orders_view.orders"),
    (Service::Inventory, "inventory.stock"),
    (Service::Payment, "payments.event"),
    (Service::Notification, "notifications.notice"),
];

fn user(service: Service) -> String {
    format!("{PREFIX}_{}:{PASSWORD}", service.name())
}

/// A database with a role for each service.
async fn divided() -> anyhow::Result<TestDatabase> {
    let mut roles = Program::start("roles", |command| command.args(["--prefix", PREFIX]))?;
    ensure!(roles.ended(DEADLINE).await?.success(), "{}", roles.log());
    let database = TestDatabase::create().await?;
    let client = database.connect().await?;
    client.batch_execute(&roles.log()).await?;
    for service in Service::ALL {
        client.batch_execute(&format!("ALTER ROLE {PREFIX}_{} PASSWORD '{PASSWORD}'", service.name())).await?;
    }
    Ok(database)
}

#[tokio::test]
async fn services_settle_orders_and_cannot_look_at_each_others_tables() -> anyhow::Result<()> {
    let _turn = turn().await?;
    let system = System::services(Setup::from(Transport::Kafka).database(divided().await?).users(user), 1).await?;
    let shop = system.shop();
    shop.put_stock("kettle", 5).await?;
    let id = shop.placed(&order(&[("kettle", 2)], Some("tok_ok"))).await?;
    shop.until_payment(&id, "captured").await?;
    shop.until_counts("kettle", [3, 0, 2]).await?;
    let cancelled = shop.placed(&order(&[("kettle", 1)], Some("tok_ok"))).await?;
    shop.until_payment(&cancelled, "captured").await?;
    shop.cancel(&cancelled).await?.expect(200)?;
    shop.until_payment(&cancelled, "refunded").await?;
    eventually(DEADLINE, "the customer is told", async || {
        let notices = shop.notices(&id).await?;
        ensure!(notices.len() == 1, "{notices:?}");
        Ok(())
    })
    .await?;
    balanced(system.database(), REST_SECONDS).await?;

    let address = system.database().url().split_once('@').map_or("", |(_, address)| address).to_owned();
    for service in Service::ALL {
        let client = connect(&format!("postgres://{}@{address}", user(service))).await?;
        for (owner, table) in TABLES {
            let read = client.batch_execute(&format!("SELECT FROM {table} LIMIT 1")).await;
            let refused = read.as_ref().err().and_then(|error| error.code()) == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
            let (is_owner, who) = (owner == service, service.name());
            ensure!(refused != is_owner && (is_owner == read.is_ok()), "{who} reading {table}: {read:?}");
        }
        let powers = [
            "CREATE SCHEMA mine",
            "CREATE TABLE public.mine ()",
            "CREATE ROLE mine",
            "CREATE DATABASE mine",
            "COPY (SELECT 1) TO PROGRAM 'cat'",
            "SELECT pg_read_file('PG_VERSION')",
        ];
        for power in powers {
            let refused = client.batch_execute(power).await.err();
            let code = refused.as_ref().and_then(|error| error.code());
            ensure!(code == Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{}: {power}: {refused:?}", service.name());
        }
    }
    Ok(())
}
