//! From start to stop.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::error::Error as _;
use std::future::pending;
use std::process::Command;
use std::time::Duration;

use process::{Failure, Process};

/// Long enough for anything that does end.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_task_that_fails_stops_the_process_with_its_reason() {
    let process = Process::new("test");
    process.spawn("relay", async { Err::<(), _>("out of order") });
    process.stop().cancelled().await;
    let failure = process.finish(PATIENCE).await.unwrap_err();
    assert_eq!(failure.to_string(), "task `relay` failed");
    assert_eq!(failure.source().unwrap().to_string(), "out of order");
}

#[tokio::test]
async fn a_task_that_panics_stops_the_process_with_what_it_said() {
    let process = Process::new("test");
    process.spawn("relay", async { lose(3) });
    process.stop().cancelled().await;
    let failure = process.finish(PATIENCE).await.unwrap_err();
    assert_eq!(failure.to_string(), "task `relay` panicked: lost 3");
}

#[tokio::test]
async fn a_task_that_is_done_stops_nothing() {
    let process = Process::new("test");
    process.spawn("migrate", async {});
    process.spawn("warm up", async { Ok::<(), Failure>(()) });
    tokio::task::yield_now().await;
    assert!(!process.stop().is_cancelled());
    process.finish(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_failure_reported_from_anywhere_is_what_finish_returns_and_only_the_first() {
    let process = Process::new("test");
    process.fail("no disk");
    process.fail("nothing works");
    assert!(process.stop().is_cancelled());
    assert_eq!(process.finish(PATIENCE).await.unwrap_err().to_string(), "no disk");
}

#[tokio::test]
async fn finish_waits_for_tasks_to_see_the_stop() {
    let process = Process::new("test");
    let (ended, end) = tokio::sync::oneshot::channel();
    let stop = process.stop().clone();
    process.spawn("consumer", async move {
        stop.cancelled().await;
        tokio::task::yield_now().await;
        let _ = ended.send(());
    });
    process.finish(PATIENCE).await.unwrap();
    assert_eq!(end.await, Ok(()));
}

#[tokio::test]
async fn finish_names_the_tasks_that_do_not_stop() {
    let process = Process::new("test");
    process.spawn("stuck", pending::<()>());
    process.spawn("done", async {});
    let failure = process.finish(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(&failure, Failure::Unfinished { tasks, .. } if tasks == &["stuck"]), "{failure}");
}

#[tokio::test]
async fn a_signal_stops_the_process() {
    let process = Process::new("test");
    process.on_signals().unwrap();
    let pid = std::process::id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    tokio::time::timeout(PATIENCE, process.stop().cancelled()).await.unwrap();
    process.finish(PATIENCE).await.unwrap();
}

fn lose(count: u32) {
    panic!("lost {count}");
}
