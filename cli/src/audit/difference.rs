//! What differs between what is kept and what the events make, in words.

use std::fmt::Display;

use inventory::stock::{Balance, Hold, Units};
use inventory::view::Movement;
use notification::notice::Notice;
use order::order::{Order, Shown};
use order::view::ViewRow;
use payment::payment::{Account, Payment, Posting};

use super::tables::Duty;

/// A value and its name.
type Field = (&'static str, String);

/// Something that is kept in a row.
pub(super) trait Kept: PartialEq {
    /// How many of its first fields tell it from others of its order or product; none when there is one of each.
    const NAMING: usize;

    /// What a person needs to see where two of them differ.
    fn fields(&self) -> Vec<Field>;
}

/// How what is kept differs from what events make of it; nothing if it does not.
pub(super) fn difference<K: Kept>(kept: Option<&K>, made: Option<&K>) -> Option<String> {
    match (kept, made) {
        (None, None) => None,
        (Some(kept), Some(made)) if kept == made => None,
        (Some(kept), None) => Some(format!("{}there is a row, and no event makes it", name(kept))),
        (None, Some(made)) => Some(format!("{}there is no row, and its events make one", name(made))),
        (Some(kept), Some(made)) => Some(format!("{}{}", name(kept), contrast(kept.fields(), made.fields()))),
    }
}

/// What tells one of several from the others, in front of what is said of it.
fn name<K: Kept>(kept: &K) -> String {
    let naming: Vec<String> =
        kept.fields().into_iter().take(K::NAMING).map(|(name, value)| format!("{name} {value}")).collect();
    if naming.is_empty() { String::new() } else { format!("{}: ", naming.join(", ")) }
}

fn contrast(kept: Vec<Field>, made: Vec<Field>) -> String {
    let fields = kept.into_iter().zip(made);
    let differing = fields.filter(|(kept, made)| kept != made);
    let told: Vec<String> =
        differing.map(|((name, kept), (_, made))| format!("{name} is {kept} instead of {made}")).collect();
    if told.is_empty() { "the row is not what its events make".to_owned() } else { told.join(", ") }
}

/// A list in words.
fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(" + ") }
}

fn field(name: &'static str, value: impl Display) -> Field {
    (name, value.to_string())
}

fn optional(name: &'static str, value: Option<impl Display>) -> Field {
    (name, value.map_or_else(|| "absent".to_owned(), |value| value.to_string()))
}

fn units(units: &[Units]) -> String {
    let units: Vec<String> = units.iter().map(|units| format!("{} × {}", units.quantity, units.product)).collect();
    list(&units)
}

fn shown(shown: &Shown) -> Vec<Field> {
    vec![
        field("version", shown.version),
        field("status", shown.status.as_str()),
        field("payment status", shown.payment_status.as_str()),
        field("revision", shown.revision),
        field("total", shown.total),
        field("currency", shown.currency),
        field("customer", &shown.customer_id),
        optional("reason", shown.reason.as_deref()),
        field("lines", shown.lines.as_json()),
        field("shortages", shown.shortages.len()),
        field("placed at", shown.placed_at),
        field("updated at", shown.updated_at),
        field("expires at", shown.expires_at),
    ]
}

impl Kept for Order {
    const NAMING: usize = 0;

    fn fields(&self) -> Vec<Field> {
        let mut fields = shown(&self.shown);
        fields.push(field("declines", self.declines));
        fields.push(optional("token", self.payment.as_ref().map(|method| &method.token)));
        fields
    }
}

impl Kept for ViewRow {
    const NAMING: usize = 0;

    fn fields(&self) -> Vec<Field> {
        let products: Vec<String> = self.products.iter().map(ToString::to_string).collect();
        let mut fields = shown(&self.shown);
        fields.push(field("products", list(&products)));
        fields
    }
}

impl Kept for Duty {
    const NAMING: usize = 0;

    fn fields(&self) -> Vec<Field> {
        vec![field("lane", self.lane), field("open", self.open)]
    }
}

impl Kept for Balance {
    const NAMING: usize = 0;

    fn fields(&self) -> Vec<Field> {
        vec![
            field("available", self.available),
            field("reserved", self.reserved),
            field("sold", self.sold),
            field("version", self.version),
            field("version of the stream", self.stream_version),
        ]
    }
}

impl Kept for Hold {
    const NAMING: usize = 0;

    fn fields(&self) -> Vec<Field> {
        vec![
            field("status", self.status.as_str()),
            field("revision", self.revision),
            field("units", units(&self.units)),
            field("version", self.version),
        ]
    }
}

impl Kept for Movement {
    const NAMING: usize = 2;

    fn fields(&self) -> Vec<Field> {
        vec![
            field("product", &self.product),
            field("version", self.change.version),
            field("kind", self.kind.as_str()),
            field("available", self.change.available),
            field("reserved", self.change.reserved),
            field("sold", self.change.sold),
            optional("reason", self.reason.as_ref()),
            optional("reference", self.reference.as_ref()),
            field("time", self.at),
        ]
    }
}

impl Kept for Account {
    const NAMING: usize = 0;

    fn fields(&self) -> Vec<Field> {
        let terms = self.terms.as_ref();
        vec![
            field("version", self.version),
            field("closed", self.closed),
            optional("revision", terms.map(|terms| terms.revision)),
            optional("amount", terms.map(|terms| terms.amount)),
            optional("currency", terms.map(|terms| terms.currency)),
            optional("welcome", terms.map(|terms| terms.welcome)),
            optional("latest attempt", self.payment.as_ref().map(|payment| payment.id)),
            optional("its status", self.payment.as_ref().map(|payment| payment.status.as_str())),
        ]
    }
}

impl Kept for Payment {
    const NAMING: usize = 1;

    fn fields(&self) -> Vec<Field> {
        vec![
            field("attempt", self.id),
            field("number", self.attempt),
            field("status", self.status.as_str()),
            field("amount", self.amount),
            field("currency", self.currency),
            field("revision", self.revision),
            field("token", &self.token),
            optional("decline code", self.decline_code.as_ref()),
        ]
    }
}

impl Kept for Posting {
    const NAMING: usize = 3;

    fn fields(&self) -> Vec<Field> {
        vec![
            field("attempt", self.payment),
            field("kind", self.kind.as_str()),
            field("account", self.account.as_str()),
            field("currency", self.currency),
            field("amount", self.amount),
        ]
    }
}

impl Kept for Notice {
    const NAMING: usize = 1;

    fn fields(&self) -> Vec<Field> {
        vec![
            field("notice", self.id),
            field("order", self.order_id),
            field("lane", self.lane),
            field("customer", &self.customer_id),
            field("kind", self.kind.as_str()),
            field("channel", self.channel.as_str()),
            field("status", self.status.as_str()),
            field("attempts", self.attempts),
            field("time", self.created_at),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(available: i64, sold: i64) -> Balance {
        Balance { available, reserved: 0, sold, version: 7, stream_version: 2 }
    }

    #[test]
    fn what_is_the_same_does_not_differ() {
        assert_eq!(difference::<Balance>(None, None), None);
        assert_eq!(difference(Some(&balance(1, 2)), Some(&balance(1, 2))), None);
    }

    #[test]
    fn what_differs_is_named() {
        let words = difference(Some(&balance(5, 0)), Some(&balance(4, 1)));
        assert_eq!(words.as_deref(), Some("available is 5 instead of 4, sold is 0 instead of 1"));
    }

    #[test]
    fn a_row_too_many_and_a_row_too_few_are_told_apart() {
        let row = balance(1, 0);
        assert!(difference(Some(&row), None).is_some_and(|words| words.contains("no event makes it")));
        assert!(difference(None, Some(&row)).is_some_and(|words| words.contains("there is no row")));
    }
}
