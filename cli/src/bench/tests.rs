//! The generator's accounting, on an order system whose mistakes are known.

use clap::Parser;

use super::fake::{Flaw, start};
use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    settings: BenchSettings,
}

fn settings(arguments: &str) -> BenchSettings {
    let arguments = ["bench"].into_iter().chain(arguments.split_whitespace());
    Command::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).settings
}

async fn bench(flaw: Flaw, arguments: &str) -> Report {
    let target = start(flaw).await;
    let settings = settings(&format!("--target {target} --products 3 --connections 4 {arguments}"));
    run(settings).await.expect("there is something to measure")
}

fn end(report: &Report, status: &str, reason: Option<&str>) -> (usize, usize) {
    let end = report.ends.iter().find(|end| end.status == status && end.reason == reason);
    end.map(|end| (end.expected, end.found)).unwrap_or_default()
}

#[tokio::test]
async fn a_system_that_does_everything_right_passes() {
    let mix = "out-of-stock=10,declined=10,cancelled=10,amended=10,duplicated=10";
    let report = bench(Flaw::None, &format!("--orders 500 --warmup 50 --mix {mix}")).await;
    assert!(report.passed(), "{report}");
    assert_eq!((report.accepted.orders, report.settled.orders, report.load.warmup_orders), (500, 500, 50));
    let rejected = [Some("out_of_stock"), Some("payment_declined")].map(|reason| end(&report, "rejected", reason));
    let ends = [end(&report, "confirmed", None), end(&report, "cancelled", None), rejected[0], rejected[1]];
    assert!(ends.iter().all(|(expected, found)| expected == found && *found > 0), "{ends:?}");
    assert_eq!(ends.iter().map(|end| end.1).sum::<usize>(), 550);
    let Specials { duplicated, duplicates_that_differ, cancelled, amended, amended_too_late } = report.specials;
    assert!(duplicated > 0 && amended > 0 && amended_too_late > 0, "{:?}", report.specials);
    assert_eq!((duplicates_that_differ, cancelled), (0, ends[1].1 as u64));
}

#[tokio::test]
async fn every_order_is_timed_once() {
    let report = bench(Flaw::None, "--orders 300 --mix declined=50 --warmup 100").await;
    let samples = |times: Option<Percentiles>| times.map(|times| times.samples);
    // 1 in 2 of a small run is waited for, the rest only accepted.
    assert_eq!(samples(report.latency.accept), Some(150));
    assert_eq!(samples(report.latency.settle), Some(150));
    assert_eq!(samples(report.latency.last_change), Some(300));
    let last_change = report.latency.last_change.expect("was measured");
    assert!((4.0..6.0).contains(&last_change.p50_millis), "{last_change:?}");
}

#[tokio::test]
async fn an_open_loop_takes_as_long_as_its_rate_says() {
    let report = bench(Flaw::None, "--orders 100 --rate 200").await;
    assert!(report.passed(), "{report}");
    assert!(report.accepted.seconds >= 0.49, "{:?}", report.accepted);
    assert_eq!(report.load.rate, Some(200.0));
    assert_eq!(report.latency.behind.map(|times| times.samples), Some(100));
}

#[tokio::test]
async fn a_lost_order_is_noticed() {
    let report = bench(Flaw::Loses, "--orders 20 --mix plain --settle-timeout 1s").await;
    assert_eq!(report.failures, Failures { lost: 1, ..Failures::default() });
    assert_eq!((report.accepted.orders, report.settled.orders), (20, 19));
}

#[tokio::test]
async fn an_unsettled_order_is_noticed() {
    let report = bench(Flaw::NeverSettles, "--orders 20 --mix plain --settle-timeout 1s").await;
    assert_eq!(report.failures, Failures { unsettled: 1, ..Failures::default() });
    assert_eq!(end(&report, "confirmed", None), (20, 19));
}

#[tokio::test]
async fn an_order_that_the_list_does_not_show_is_noticed() {
    let report = bench(Flaw::Hides, "--orders 20 --mix plain --settle-timeout 1s").await;
    assert_eq!(report.failures, Failures { unlisted: 1, ..Failures::default() });
    assert_eq!(report.settled.orders, 20);
}

#[tokio::test]
async fn an_order_that_ends_otherwise_is_noticed() {
    let report = bench(Flaw::Confirms, "--orders 20 --mix declined=100").await;
    assert_eq!(report.failures, Failures { ended_otherwise: 1, ..Failures::default() });
    assert_eq!(end(&report, "rejected", Some("payment_declined")), (20, 19));
    assert_eq!(end(&report, "confirmed", None), (0, 1));
}

#[tokio::test]
async fn an_order_that_was_doubled_is_noticed() {
    let report = bench(Flaw::IgnoresKeys, "--orders 20 --mix duplicated=100").await;
    // The answers differ, and the second order of each pair is one that the run does not count as its own.
    assert_eq!(report.failures.duplicates_that_differ, 20);
    assert_eq!(report.failures.lost, 0);
    assert!(report.failures.unclaimed > 0, "{report}");
}

#[tokio::test]
async fn a_busy_system_is_asked_again_and_loses_nothing() {
    let report = bench(Flaw::IsBusy, "--orders 60 --mix plain").await;
    assert!(report.passed(), "{report}");
    assert_eq!(report.accepted.orders, 60);
    assert_eq!(report.retried, [AnswerCount { answer: "503".to_owned(), count: 60 }]);
}

#[tokio::test]
async fn orders_that_cannot_be_placed_are_counted_by_their_answer() {
    let report = bench(Flaw::Breaks, "--orders 20 --mix plain").await;
    assert_eq!(report.failures, Failures { unplaced: 20, unexpected_answers: 20, ..Failures::default() });
    let unexpected = UnexpectedCount { call: "place", answer: "500".to_owned(), count: 20 };
    assert_eq!(report.unexpected, [unexpected]);
}

#[tokio::test]
async fn a_system_that_is_not_there_is_an_error() {
    let nowhere = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        listener.local_addr().expect("is bound")
    };
    let error = run(settings(&format!("--target http://{nowhere} --products 1"))).await.expect_err("no one is there");
    assert_eq!(error.to_string(), format!("cannot put stock on hand at http://{nowhere}"));
}

#[tokio::test]
async fn the_report_in_json_has_stable_names() {
    let report = bench(Flaw::None, "--orders 20").await;
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("is JSON");
    for pointer in [
        "/load/mix/outOfStock",
        "/accepted/perSecond",
        "/settled/orders",
        "/latency/accept/p999Millis",
        "/latency/settle/maxMillis",
        "/latency/lastChange/p50Millis",
        "/ends/0/expected",
        "/specials/amendedTooLate",
        "/failures/lost",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer} in {json:#}");
    }
    assert_eq!(json["load"]["rate"], serde_json::Value::Null);
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let refused = [
        "--orders 0",
        "--rate 0",
        "--rate nan",
        "--connections 241",
        "--products 0",
        "--mix declined=101",
        "--warmup soon",
        "--settle-timeout 25h",
        "--settle-timeout 9999m",
        "--target https://shop",
    ];
    for arguments in refused {
        let parsed = Command::try_parse_from(["bench"].into_iter().chain(arguments.split_whitespace()));
        assert!(parsed.is_err(), "{arguments}");
    }
}

#[test]
fn settings_have_defaults_and_units() {
    let defaults = settings("");
    assert_eq!((defaults.orders, defaults.connections, defaults.rate), (20_000, 128, None));
    assert_eq!((defaults.mix, defaults.warmup), (Mix::REAL, Warmup::Orders(0)));
    assert_eq!(settings("--warmup 10s").warmup, Warmup::Time(Duration::from_secs(10)));
    assert_eq!(settings("--settle-timeout 1500ms").settle_timeout, Duration::from_millis(1500));
    assert_eq!(settings("--settle-timeout 2m").settle_timeout, Duration::from_mins(2));
}
