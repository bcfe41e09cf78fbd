//! The lines of an order.

use std::sync::Arc;

use contract::order::Line;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// An order's lines as they are kept and shown: JSON, encoded once. No decision looks inside them, so a row that is
/// loaded, changed, stored and answered never parses them.
#[derive(Clone, Debug)]
pub struct Lines(Arc<RawValue>);

impl Lines {
    /// These lines, encoded.
    pub fn of(lines: &[Line]) -> Self {
        Self(to_raw_value(lines).expect("lines hold only text and integers").into())
    }

    /// The encoding.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }
}

impl From<Box<RawValue>> for Lines {
    /// Lines that were encoded before.
    fn from(json: Box<RawValue>) -> Self {
        Self(json.into())
    }
}

impl PartialEq for Lines {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Serialize for Lines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Where a total grows beyond what 64 bits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// In the product of this line, counted from 0.
    Line(usize),
    /// In the sum of all lines.
    Sum,
}

/// The sum of quantity times price, in the minor unit.
pub fn total(lines: &[Line]) -> Result<i64, Overflow> {
    let mut sum = 0_i64;
    for (index, line) in lines.iter().enumerate() {
        let amount = line.quantity.checked_mul(line.unit_price).ok_or(Overflow::Line(index))?;
        sum = sum.checked_add(amount).ok_or(Overflow::Sum)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(quantity: i64, unit_price: i64) -> Line {
        Line { product_id: "SKU-1".parse().expect("visible"), quantity, unit_price }
    }

    #[test]
    fn a_total_is_exact_up_to_the_largest_integer() {
        assert_eq!(total(&[line(2, 150), line(3, 1)]), Ok(303));
        assert_eq!(total(&[line(1, i64::MAX - 1), line(1, 1)]), Ok(i64::MAX));
    }

    #[test]
    fn an_overflow_is_told_with_its_place() {
        assert_eq!(total(&[line(1, 1), line(2, i64::MAX)]), Err(Overflow::Line(1)));
        assert_eq!(total(&[line(1, i64::MAX), line(1, 1)]), Err(Overflow::Sum));
    }

    #[test]
    fn lines_are_shown_as_they_were_encoded() {
        let lines = Lines::of(&[line(2, 150)]);
        assert_eq!(lines.as_json(), r#"[{"productId":"SKU-1","quantity":2,"unitPrice":150}]"#);
        let read = Lines::from(RawValue::from_string(lines.as_json().to_owned()).expect("JSON"));
        assert_eq!(read, lines);
        assert_eq!(serde_json::to_string(&read).expect("encodes"), lines.as_json());
    }
}
