//! Wake-up hints between processes, over PostgreSQL's NOTIFY. A hint may be lost: whoever waits for one also looks by
//! himself now and then.

use std::{sync::Arc, time::Duration};

use contract::Topic;
use process::Process;
use tokio::{sync::Notify, time::sleep};
use tokio_postgres::AsyncMessage;

use crate::database::Database;

/// Pause before a lost hint connection is made anew.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

fn channel(topic: Topic) -> String {
    format!("ordersystem_{topic}")
}

/// Tells other processes that something was appended. Any number of calls while one hint is on its way become one.
#[derive(Clone)]
pub(crate) struct Notifier(Arc<Notify>);

impl Notifier {
    /// Starts a notifier for `topic`.
    pub fn start(database: &Database, topic: Topic, process: &Process) -> Self {
        let wanted = Arc::new(Notify::new());
        let (database, stop, waiting) = (database.clone(), process.stop().clone(), Arc::clone(&wanted));
        process.spawn("hints out", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = notify(&database, topic, &waiting) => {}
            }
        });
        Self(wanted)
    }

    /// Something was appended.
    pub fn appended(&self) {
        self.0.notify_one();
    }
}

/// Hints are transactions of their own, off the batch's commit: NOTIFY in a transaction takes a lock that all commits of
/// the server share. They need not be durable either.
async fn notify(database: &Database, topic: Topic, wanted: &Notify) {
    let sql = format!("SET synchronous_commit = off; NOTIFY {}", channel(topic));
    loop {
        wanted.notified().await;
        if let Ok(client) = database.connect_to("public").await {
            while client.batch_execute(&sql).await.is_ok() {
                wanted.notified().await;
            }
        }
        sleep(RECONNECT_PAUSE).await;
        wanted.notify_one();
    }
}

/// Calls `heard` for each hint about one of `topics`, and after each reconnect.
pub(crate) fn listen(
    database: &Database,
    topics: &[Topic],
    process: &Process,
    heard: impl Fn(Topic) + Send + Sync + 'static,
) {
    let (database, topics, stop) = (database.clone(), topics.to_vec(), process.stop().clone());
    process.spawn("hints in", async move {
        let listening = async {
            loop {
                if let Err(error) = listen_once(&database, &topics, &heard).await {
                    tracing::debug!(%error, "hint connection ended");
                }
                sleep(RECONNECT_PAUSE).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = listening => {}
        }
    });
}

async fn listen_once(
    database: &Database,
    topics: &[Topic],
    heard: &(impl Fn(Topic) + Sync),
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = database.connect_driven().await?;
    let listening = async {
        for topic in topics {
            client.batch_execute(&format!("LISTEN {}", channel(*topic))).await?;
            heard(*topic);
        }
        std::future::pending().await
    };
    let messages = async {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(hint))) => {
                    topics.iter().filter(|topic| channel(**topic) == hint.channel()).for_each(|topic| heard(*topic));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    };
    tokio::select! {
        ended = listening => ended,
        ended = messages => ended,
    }
}
