//! scratch
use std::{collections::HashMap, sync::{Arc, Mutex}, time::{Duration, Instant}};
use clap::Parser;
use contract::{order::*, payment::PaymentEvent, *};
use journal::*;
use process::Process;
use tokio_postgres::Row;
use uuid::Uuid;

#[derive(Parser)]
struct Args { #[command(flatten)] s: ::payment::Settings, #[arg(long, default_value_t=1000)] orders: usize, #[arg(long, default_value="tok_ok")] token: String, #[arg(long)] cancel: bool, #[arg(long, default_value_t=64)] at_once: usize, #[arg(long)] http: bool }

struct Orders { versions: Mutex<HashMap<Uuid, i32>>, paid: Arc<Mutex<HashMap<String, usize>>>, cancel: bool }
enum Cmd { Emit(Uuid, OrderEvent), Count(String) }
impl Model for Orders {
    type Command = Cmd; type Answer = (); type Rows = ();
    const STATEMENTS: &'static [&'static str] = &[];
    fn read(&self, _: Topic, r: &Record) -> Result<Option<Cmd>, Unreadable> {
        let cust: CustomerId = "ann".parse().unwrap();
        Ok(match PaymentEvent::decode(&r.kind, &r.data)? {
            Some(PaymentEvent::Authorized(a)) => Some(Cmd::Emit(r.stream, OrderEvent::Confirmed(Confirmed { revision: a.revision, payment_id: a.payment_id, customer_id: cust }))),
            Some(PaymentEvent::CaptureRequested(_)) if self.cancel => Some(Cmd::Emit(r.stream, OrderEvent::Cancelled(Cancelled { reason: "x".into(), customer_id: cust }))),
            Some(e) => Some(Cmd::Count(e.kind().to_owned())),
            None => None,
        })
    }
    fn load(&self, _: &[&Cmd]) -> Vec<Query> { vec![] }
    fn rows(&self, _: Vec<Vec<Row>>) -> Result<(), UnreadableRow> { Ok(()) }
    fn decide(&self, _: &mut (), c: &Cmd, d: &mut Decision<'_>) {
        match c {
            Cmd::Emit(o, e) => { let mut v = self.versions.lock().unwrap(); let n = v.entry(*o).or_default(); *n += 1; d.append(*o, *n, e); }
            Cmd::Count(k) => { *self.paid.lock().unwrap().entry(k.clone()).or_default() += 1; }
        }
    }
    fn write(&self, _: &()) -> Vec<Query> { vec![] }
    fn committed(&self, _: ()) {}
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber_init();
    let args = Args::parse();
    let process = Process::new("scratch");
    let transport = Transport::new(&KafkaSettings::default(), args.s.journal.lanes, true);
    let paid = Arc::new(Mutex::new(HashMap::new()));
    let orders = Journal::open(Opening { schema: "orders", publishes: Some(Topic::Orders), consumes: &[Topic::Payments], migrations: &[] }, Arc::new(Orders { versions: Mutex::default(), paid: paid.clone(), cancel: args.cancel }), &args.s.journal, &transport, &process).await?;
    let service = ::payment::start(&args.s, &transport, &process).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    if args.http {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:18089").await?;
        let app = process::app(vec![service], &process);
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let id = Uuid::now_v7();
        let euro = Currency::try_from("EUR")?;
        let lane = orders.lanes().of_order(id);
        orders.submit(lane, Cmd::Emit(id, OrderEvent::Placed(Placed { customer_id: "ann".parse()?, currency: euro, lines: vec![], total: 500, payment: None, expires_at: chrono::Utc::now() })), None).await?;
        orders.submit(lane, Cmd::Emit(id, OrderEvent::Reserved(Reserved { revision: 1, total: 500, currency: euro, payment: None })), None).await?;
        println!("ORDER {id}");
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    let began = Instant::now();
    let gate = Arc::new(tokio::sync::Semaphore::new(args.at_once));
    for _ in 0..args.orders {
        let permit = gate.clone().acquire_owned().await?;
        let (orders, token) = (orders.clone(), args.token.clone());
        tokio::spawn(async move {
            let id = Uuid::now_v7();
            let euro = Currency::try_from("EUR").unwrap();
            let e = OrderEvent::Reserved(Reserved { revision: 1, total: 500, currency: euro, payment: Some(PaymentMethod { token }) });
            orders.submit(orders.lanes().of_order(id), Cmd::Emit(id, e), None).await.unwrap();
            drop(permit);
        });
    }
    let end = if args.cancel { "payment.refunded.v1" } else { "payment.captured.v1" };
    let give_up = Instant::now();
    loop {
        let n = paid.lock().unwrap().get(end).copied().unwrap_or(0);
        if n >= args.orders || give_up.elapsed() > Duration::from_secs(60) { break }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{:?} in {:?}: {:.0}/s; {:?}", args.orders, began.elapsed(), args.orders as f64 / began.elapsed().as_secs_f64(), paid.lock().unwrap());
    process.finish(Duration::from_secs(20)).await?;
    Ok(())
}
fn tracing_subscriber_init() { process::telemetry::start(process::telemetry::LogFormat::Text).unwrap(); }
