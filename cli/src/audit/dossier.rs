//! All that the services keep about one order, gathered from every table.
//!
//! Every table is read once, in the order of the order's id, and all of them side by side: what is in memory at a time is
//! one order and a page of each table, however many orders there are.

use std::borrow::Cow;

use contract::notice::NoticeEvent;
use contract::order::OrderEvent;
use contract::payment::PaymentEvent;
use contract::stock::StockEvent;
use contract::{Record, Topic};
use inventory::stock::Hold;
use inventory::view::Movement;
use notification::notice::Notice;
use order::order::Order;
use order::view::ViewRow;
use payment::gateway::simulated::{self, Charge};
use payment::payment::{Account, Payment, Posting};
use uuid::Uuid;

use super::moment::Moment;
use super::shelf::Shelf;
use super::snapshot::Snapshot;
use super::tables::{self, Duty, Key};
use super::verdict::Verdicts;

/// An event as a journal keeps it, and what it says.
pub struct Told<E> {
    /// As it is kept.
    pub record: Record,
    /// What it says.
    pub event: E,
}

/// All that the services keep about one order.
#[derive(Default)]
pub struct Dossier {
    /// The order.
    pub id: Uuid,
    /// The order's events.
    pub order: Vec<Told<OrderEvent>>,
    /// The order that they make.
    pub made: Option<Order>,
    /// Its row.
    pub order_row: Vec<Order>,
    /// What its row says of the work to be done.
    pub duty: Vec<Duty>,
    /// Its row in the view.
    pub view_row: Vec<ViewRow>,
    /// The keys under which it was placed.
    pub order_keys: Vec<Key>,
    /// What inventory decided about it.
    pub stock: Vec<Told<StockEvent>>,
    /// What it holds.
    pub hold: Vec<Hold>,
    /// The movements of stock that the view shows for it.
    pub movements: Vec<Movement>,
    /// What happened to its payment.
    pub payment: Vec<Told<PaymentEvent>>,
    /// Its account's row.
    pub account: Vec<Account>,
    /// Its attempts' rows.
    pub attempts: Vec<Payment>,
    /// The ledger's lines of its attempts.
    pub postings: Vec<Posting>,
    /// What the provider says of its attempts.
    pub charges: Vec<Charge>,
    /// The keys under which it was paid.
    pub payment_keys: Vec<Key>,
    /// The events of its notices.
    pub told: Vec<Told<NoticeEvent>>,
    /// Its notices' rows.
    pub notices: Vec<Notice>,
}

/// Every table that is about orders.
pub(super) struct Shelves {
    order: Shelf<Told<OrderEvent>>,
    order_row: Shelf<Order>,
    duty: Shelf<Duty>,
    view_row: Shelf<ViewRow>,
    order_keys: Shelf<Key>,
    stock: Shelf<Told<StockEvent>>,
    hold: Shelf<Hold>,
    movements: Shelf<Movement>,
    payment: Shelf<Told<PaymentEvent>>,
    account: Shelf<Account>,
    attempts: Shelf<Payment>,
    postings: Shelf<Posting>,
    charges: Shelf<Charge>,
    payment_keys: Shelf<Key>,
    told: Shelf<Told<NoticeEvent>>,
    notices: Shelf<Notice>,
}

impl Dossier {
    /// The order as far as the journal or view in the schema `consumer` has heard of it.
    pub(super) fn heard(&self, consumer: &'static str, moment: &Moment) -> Option<Cow<'_, Order>> {
        let applied = moment.applied(consumer, Topic::Orders, &self.order);
        if applied.len() == self.order.len() {
            self.made.as_ref().map(Cow::Borrowed)
        } else {
            made(self.id, applied).map(Cow::Owned)
        }
    }
}

/// The order that its events make.
fn made(id: Uuid, told: &[Told<OrderEvent>]) -> Option<Order> {
    order::order::fold(id, told.iter().map(|told| (told.record.at, &told.event)))
}

impl Shelves {
    /// Begins to read.
    pub async fn open(snapshot: &Snapshot<'_>, verdicts: &mut Verdicts) -> anyhow::Result<Self> {
        macro_rules! shelf {
            ($schema:expr, $sql:expr, $read:expr) => {
                Shelf::open(snapshot, $schema, $sql, $read, verdicts).await?
            };
        }
        let streams = tables::streams();
        Ok(Self {
            order: shelf!(order::SCHEMA, &streams, tables::order_event),
            order_row: shelf!(order::SCHEMA, &tables::orders(), tables::order),
            duty: shelf!(order::SCHEMA, tables::DUTIES, tables::duty),
            view_row: shelf!(order::VIEW_SCHEMA, &tables::listed_orders(), tables::listed_order),
            order_keys: shelf!(order::SCHEMA, tables::KEYS, tables::key),
            stock: shelf!(inventory::SCHEMA, &tables::streams_of_orders(), tables::stock_event),
            hold: shelf!(inventory::SCHEMA, &tables::holds(), tables::hold),
            movements: shelf!(inventory::VIEW_SCHEMA, &tables::movements_of_orders(), tables::movement),
            payment: shelf!(payment::SCHEMA, &streams, tables::payment_event),
            account: shelf!(payment::SCHEMA, payment::store::ACCOUNTS, tables::account),
            attempts: shelf!(payment::SCHEMA, payment::store::PAYMENTS, tables::attempt),
            postings: shelf!(payment::SCHEMA, &tables::postings(), tables::posting),
            charges: shelf!(simulated::SCHEMA, &tables::charges(), tables::charge),
            payment_keys: shelf!(payment::SCHEMA, tables::KEYS, tables::key),
            told: shelf!(notification::SCHEMA, &tables::streams_by_subject(), tables::notice_event),
            notices: shelf!(notification::SCHEMA, &tables::notices(), tables::notice),
        })
    }

    /// The next order's dossier; nothing when every table is read.
    pub async fn next(&mut self, snapshot: &Snapshot<'_>, verdicts: &mut Verdicts) -> anyhow::Result<Option<Dossier>> {
        let Some(id) = self.next_id() else { return Ok(None) };
        macro_rules! take {
            ($($shelf:ident),*) => {
                Dossier { id, made: None, $($shelf: self.$shelf.take(id, snapshot, verdicts).await?),* }
            };
        }
        let mut dossier = take!(
            order,
            order_row,
            duty,
            view_row,
            order_keys,
            stock,
            hold,
            movements,
            payment,
            account,
            attempts,
            postings,
            charges,
            payment_keys,
            told,
            notices
        );
        dossier.made = made(id, &dossier.order);
        Ok(Some(dossier))
    }

    /// The lowest id that any table has next.
    fn next_id(&self) -> Option<Uuid> {
        let ids = [
            self.order.id(),
            self.order_row.id(),
            self.duty.id(),
            self.view_row.id(),
            self.order_keys.id(),
            self.stock.id(),
            self.hold.id(),
            self.movements.id(),
            self.payment.id(),
            self.account.id(),
            self.attempts.id(),
            self.postings.id(),
            self.charges.id(),
            self.payment_keys.id(),
            self.told.id(),
            self.notices.id(),
        ];
        ids.into_iter().flatten().min()
    }
}
