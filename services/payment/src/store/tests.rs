//! Batches, as the journal runs them but for the database.

use chrono::TimeDelta;
use contract::payment::PaymentEvent;
use contract::{Currency, Record};
use process::Process;
use tokio::sync::mpsc;

use super::entry::Changed;
use super::*;
use crate::calls::{PATIENCE, Ticket};
use crate::payment::{Account, CallError, LedgerAccount, Outcome, Status, Step};

const ORDER: Uuid = Uuid::from_u128(7);
const LANE: Lane = Lane(3);
const TOTAL: i64 = 500;

/// The service with what its journal would keep of one order.
struct Bench {
    accounts: Accounts,
    tickets: mpsc::Receiver<Ticket>,
    account: Option<(Account, Option<entry::Work>)>,
    events: Vec<PaymentEvent>,
    now: DateTime<Utc>,
}

/// What a batch did.
struct Done {
    answers: Vec<Answer>,
    statements: usize,
    postings: Vec<Posting>,
    rows: Vec<(Status, bool)>,
}

impl Bench {
    fn new() -> Self {
        let (calls, tickets) = Calls::new();
        let accounts = Accounts::new(calls, &Process::new("test").metrics().for_service("payment"));
        Self { accounts, tickets, account: None, events: Vec::new(), now: DateTime::UNIX_EPOCH }
    }

    fn request(command: Command) -> Request {
        Request::of(LANE, ORDER, command)
    }

    fn batch(&mut self, commands: impl IntoIterator<Item = Command>) -> Done {
        self.requests(commands.into_iter().map(Self::request))
    }

    /// Settles requests in one batch, and keeps what the rows would.
    fn requests(&mut self, requests: impl IntoIterator<Item = Request>) -> Done {
        let mut rows = Rows::default();
        let (account, work_before) = self.account.take().unzip();
        let work_before = work_before.flatten();
        if let Some(account) = account {
            rows.entries.insert(ORDER, Entry::stored(account, work_before.clone()));
        }
        let mut appended = Vec::new();
        let requests: Vec<Request> = requests.into_iter().collect();
        let mut decide = |request: &Request| {
            self.accounts.decide(&mut rows, request, &mut Decision::new(self.now, LANE, &mut appended))
        };
        let answers = requests.iter().map(&mut decide).collect();
        self.events.extend(appended.iter().filter_map(event));
        let entry = &rows.entries[&ORDER];
        let changed: Vec<Changed<'_>> = entry.changed_payments().collect();
        let done = Done {
            answers,
            statements: self.accounts.write(&rows).len(),
            postings: rows.postings.iter().map(|(posting, _)| *posting).collect(),
            rows: changed.iter().map(|changed| (changed.payment.status, changed.is_new)).collect(),
        };
        let work = changed.last().map(|changed| changed.work.clone()).or(work_before);
        self.account = (entry.account.version > 0).then(|| (entry.account.clone(), work));
        self.accounts.committed(rows, &mut Recent::default());
        done
    }

    fn asked(&mut self) -> Option<Step> {
        self.tickets.try_recv().ok().map(|ticket| ticket.call().step)
    }

    fn account(&self) -> &Account {
        &self.account.as_ref().expect("there is one").0
    }

    fn work(&self) -> &entry::Work {
        self.account.as_ref().and_then(|(_, work)| work.as_ref()).expect("there is one")
    }

    fn answer(&self, step: Step, result: Result<Outcome, CallError>) -> Command {
        let payment = self.account().payment.as_ref().expect("there is one").id;
        Command::Answer { payment, step, result }
    }
}

fn event(record: &Record) -> Option<PaymentEvent> {
    PaymentEvent::decode(&record.kind, &record.data).expect("can be read")
}

fn euro() -> Currency {
    Currency::try_from("EUR").expect("is a currency")
}

fn collect(revision: i32, token: Option<&str>) -> Command {
    Command::Collect { revision, amount: TOTAL, currency: euro(), token: token.map(str::to_owned) }
}

fn pay(key: Option<&str>, hash: u8) -> Request {
    let command = Command::Pay { token: "tok_ok".to_owned(), amount: None };
    let key = key.map(|text| Key { scope: ORDER.to_string().into(), text: text.into(), request_hash: [hash; 32] });
    Request { lane: LANE, order: ORDER, command, key }
}

#[test]
fn an_order_with_a_method_is_paid_in_four_small_batches() {
    // given
    let mut bench = Bench::new();
    // when its stock is held
    let done = bench.batch([collect(1, Some("tok_ok"))]);
    // then an account and an attempt are new, and the provider is asked
    assert_eq!((done.statements, done.rows), (2, vec![(Status::Authorizing, true)]));
    assert_eq!(bench.asked(), Some(Step::Authorize));
    // when the provider holds the money
    let done = bench.batch([bench.answer(Step::Authorize, Ok(Outcome::Authorized))]);
    // then only the attempt changes
    assert_eq!((done.statements, done.rows), (1, vec![(Status::Authorized, false)]));
    assert_eq!(bench.asked(), None);
    // when the order stands
    let payment = bench.account().payment.as_ref().expect("there is one").id;
    let done = bench.batch([Command::Capture { payment }]);
    assert_eq!((done.statements, done.rows), (1, vec![(Status::Capturing, false)]));
    assert_eq!(bench.asked(), Some(Step::Capture));
    // when the money is ours
    let done = bench.batch([bench.answer(Step::Capture, Ok(Outcome::Captured))]);
    // then the ledger has two lines that balance
    assert_eq!((done.statements, done.rows), (2, vec![(Status::Captured, false)]));
    let lines: Vec<_> = done.postings.iter().map(|posting| (posting.account, posting.amount)).collect();
    assert_eq!(lines, [(LedgerAccount::Provider, TOTAL), (LedgerAccount::Sales, -TOTAL)]);
}

#[test]
fn what_a_batch_left_is_what_the_next_would_read() {
    let (mut bench, mut memory) = (Bench::new(), Recent::default());
    bench.batch([collect(1, Some("tok_ok"))]);
    let begin = Request::of(LANE, ORDER, collect(1, Some("tok_ok")));
    let (mut rows, mut appended) = (Rows::default(), Vec::new());
    bench.accounts.decide(&mut rows, &begin, &mut Decision::new(bench.now, LANE, &mut appended));
    bench.accounts.committed(rows, &mut memory);
    assert!(bench.accounts.load(&[&begin], &memory).is_empty());
    let rows = bench.accounts.rows(&[&begin], Loaded::default(), &mut memory).expect("nothing is read");
    let entry = &rows.entries[&ORDER];
    assert!(!entry.is_new && entry.changed_payments().next().is_none());
    assert_eq!((entry.account.version, entry.work().map(|work| work.tries)), (bench.account().version, Some(0)));
}

#[test]
fn an_account_that_a_batch_did_not_make_is_not_remembered() {
    let (bench, mut memory) = (Bench::new(), Recent::default());
    let capture = Request::of(LANE, ORDER, Command::Capture { payment: ORDER });
    let (mut rows, mut appended) = (Rows::default(), Vec::new());
    bench.accounts.decide(&mut rows, &capture, &mut Decision::new(bench.now, LANE, &mut appended));
    assert!(appended.is_empty() && bench.accounts.write(&rows).is_empty());
    bench.accounts.committed(rows, &mut memory);
    assert_eq!(bench.accounts.load(&[&capture], &memory).len(), 1);
}

#[test]
fn the_row_is_the_fold_of_the_events() {
    let mut bench = Bench::new();
    bench.batch([collect(1, Some("tok_ok")), Command::Amend { revision: 2, amount: TOTAL }]);
    bench.batch([bench.answer(Step::Authorize, Ok(Outcome::Authorized)), Command::Close]);
    assert_eq!(&Account::fold(ORDER, &bench.events), bench.account());
}

#[test]
fn an_attempt_that_ends_makes_room_for_the_next_in_the_same_batch() {
    // given an attempt for a revision that was amended since, and the new revision's stock held
    let mut bench = Bench::new();
    bench.batch([collect(1, Some("tok_ok"))]);
    bench.batch([Command::Amend { revision: 2, amount: TOTAL }, collect(2, Some("tok_ok"))]);
    // when
    let declined = Outcome::Declined { code: "no".to_owned(), for_good: false };
    let done = bench.batch([bench.answer(Step::Authorize, Ok(declined))]);
    // then
    assert_eq!(done.rows, [(Status::Declined, false), (Status::Authorizing, true)]);
}

#[test]
fn a_batch_asks_only_what_was_not_being_asked_before() {
    let mut bench = Bench::new();
    bench.batch([collect(1, Some("tok_ok"))]);
    assert_eq!(bench.asked(), Some(Step::Authorize));
    bench.batch([Command::Close]);
    assert_eq!(bench.asked(), None);
    bench.batch([bench.answer(Step::Authorize, Ok(Outcome::Authorized))]);
    assert_eq!(bench.asked(), Some(Step::Void));
}

#[test]
fn a_request_that_brought_nothing_is_put_off_without_an_event() {
    let mut bench = Bench::new();
    bench.batch([collect(1, Some("tok_ok"))]);
    let (events, mut due_at) = (bench.events.len(), bench.now);
    for tries in 1..=3 {
        let done = bench.batch([bench.answer(Step::Authorize, Err(CallError::Unavailable))]);
        assert_eq!((done.statements, bench.work().tries), (1, tries));
        assert!(bench.work().due_at > due_at);
        due_at = bench.work().due_at;
    }
    assert_eq!(bench.events.len(), events);
}

#[test]
fn a_request_that_is_new_is_left_alone_for_a_while_and_tried_from_the_start() {
    // given an attempt that was put off
    let mut bench = Bench::new();
    bench.batch([collect(1, Some("tok_ok"))]);
    bench.batch([bench.answer(Step::Authorize, Err(CallError::Unavailable))]);
    // when the provider gives no answer, so that it is inquired
    bench.now += TimeDelta::minutes(1);
    bench.batch([bench.answer(Step::Authorize, Err(CallError::Timeout))]);
    // then
    assert_eq!(bench.account().payment.as_ref().map(|payment| payment.status), Some(Status::Unknown));
    assert_eq!((bench.work().tries, bench.work().due_at), (0, bench.now + PATIENCE));
}

#[test]
fn the_time_to_look_again_stays_while_an_attempt_goes_well() {
    let mut bench = Bench::new();
    bench.batch([collect(1, Some("tok_ok"))]);
    let due_at = bench.work().due_at;
    bench.now += TimeDelta::seconds(1);
    bench.batch([bench.answer(Step::Authorize, Ok(Outcome::Authorized))]);
    let payment = bench.account().payment.as_ref().expect("there is one").id;
    bench.batch([Command::Capture { payment }]);
    assert_eq!(bench.work().due_at, due_at);
}

#[test]
fn the_same_key_a_hundred_times_begins_one_payment() {
    // given an order that waits for a payment
    let mut bench = Bench::new();
    bench.batch([collect(1, None)]);
    // when
    let done = bench.requests((0..100).map(|_| pay(Some("k"), 1)));
    // then
    let begun = done.answers.iter().filter(|answer| matches!(answer, Answer::Began(..))).count();
    let replayed = done.answers.iter().filter(|answer| **answer == Answer::Replayed(2)).count();
    assert_eq!((begun, replayed, bench.events.len()), (1, 99, 2));
    assert_eq!(done.statements, 3);
}

#[test]
fn a_key_stands_for_one_request() {
    let mut bench = Bench::new();
    bench.batch([collect(1, None)]);
    let done = bench.requests([pay(Some("k"), 1), pay(Some("k"), 2)]);
    assert_eq!(done.answers[1], Answer::KeyReused);
}

#[test]
fn a_refused_payment_leaves_its_key_unused() {
    let mut bench = Bench::new();
    let done = bench.requests([pay(Some("k"), 1), Request::of(LANE, ORDER, collect(1, None)), pay(Some("k"), 1)]);
    assert_eq!(done.answers[0], Answer::Rejected(Rejection::UnknownOrder));
    assert!(matches!(done.answers[2], Answer::Began(..)));
}

#[test]
fn a_fact_that_comes_again_writes_nothing() {
    let mut bench = Bench::new();
    bench.batch([collect(1, None)]);
    let done = bench.batch([collect(1, None), Command::Capture { payment: Uuid::from_u128(1) }]);
    assert_eq!((done.statements, done.answers), (0, vec![Answer::Noted, Answer::Noted]));
}
