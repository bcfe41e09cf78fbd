//! What kinds of orders a load is made of.

use std::str::FromStr;

use serde::Serialize;

/// Shares of the orders that are out of the ordinary, in percent; the rest are plain: in stock, paid, left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mix {
    /// They want a product that there is none of.
    pub out_of_stock: u8,
    /// Their payment is declined for good.
    pub declined: u8,
    /// They are called off as soon as they are placed.
    pub cancelled: u8,
    /// Their lines are replaced as soon as they are placed.
    pub amended: u8,
    /// They are sent twice at once under one idempotency key.
    pub duplicated: u8,
}

/// What is out of the ordinary about one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twist {
    Plain,
    OutOfStock,
    Declined,
    Cancelled,
    Amended,
    Duplicated,
}

/// Why a text is not a mix.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMix {
    /// A part has no `=`.
    #[error("`{0}` is not a share such as `declined=5`")]
    NoShare(String),
    /// A share is not a whole percentage.
    #[error("`{0}` is not a whole percentage")]
    NoPercentage(String),
    /// A name is not a share's.
    #[error("`{0}` is none of out-of-stock, declined, cancelled, amended, duplicated")]
    UnknownName(String),
    /// A share was given twice.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// The shares are more than the whole.
    #[error("the shares come to {0} %, more than the whole")]
    TooMuch(u32),
}

impl Mix {
    /// Nothing but plain orders.
    pub const PLAIN: Self = Self { out_of_stock: 0, declined: 0, cancelled: 0, amended: 0, duplicated: 0 };

    /// About what a shop sees on a busy day: one order in six does not go straight through.
    pub const REAL: Self = Self { out_of_stock: 3, declined: 4, cancelled: 4, amended: 3, duplicated: 2 };

    /// The twist of an order that drew `percent`, `0..100`.
    pub(super) fn twist(self, percent: u8) -> Twist {
        let shares = [
            (self.out_of_stock, Twist::OutOfStock),
            (self.declined, Twist::Declined),
            (self.cancelled, Twist::Cancelled),
            (self.amended, Twist::Amended),
            (self.duplicated, Twist::Duplicated),
        ];
        let mut below = 0;
        let drawn = shares.into_iter().find(|(share, _)| {
            below += share;
            percent < below
        });
        drawn.map_or(Twist::Plain, |(_, twist)| twist)
    }

    fn share(&mut self, name: &str) -> Option<&mut u8> {
        match name {
            "out-of-stock" => Some(&mut self.out_of_stock),
            "declined" => Some(&mut self.declined),
            "cancelled" => Some(&mut self.cancelled),
            "amended" => Some(&mut self.amended),
            "duplicated" => Some(&mut self.duplicated),
            _ => None,
        }
    }

    fn sum(self) -> u32 {
        let Self { out_of_stock, declined, cancelled, amended, duplicated } = self;
        [out_of_stock, declined, cancelled, amended, duplicated].into_iter().map(u32::from).sum()
    }
}

impl FromStr for Mix {
    type Err = InvalidMix;

    fn from_str(text: &str) -> Result<Self, InvalidMix> {
        match text {
            "plain" => Ok(Self::PLAIN),
            "real" => Ok(Self::REAL),
            shares => parse(shares),
        }
    }
}

fn parse(shares: &str) -> Result<Mix, InvalidMix> {
    let mut mix = Mix::PLAIN;
    let mut names = Vec::new();
    for part in shares.split(',') {
        let (name, percent) = part.split_once('=').ok_or_else(|| InvalidMix::NoShare(part.to_owned()))?;
        let share = mix.share(name).ok_or_else(|| InvalidMix::UnknownName(name.to_owned()))?;
        *share = percent.parse().map_err(|_| InvalidMix::NoPercentage(percent.to_owned()))?;
        if names.contains(&name) {
            return Err(InvalidMix::Twice(name.to_owned()));
        }
        names.push(name);
    }
    if mix.sum() > 100 { Err(InvalidMix::TooMuch(mix.sum())) } else { Ok(mix) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_a_name_or_shares() {
        assert_eq!("plain".parse(), Ok(Mix::PLAIN));
        assert_eq!("real".parse(), Ok(Mix::REAL));
        assert_eq!("declined=5,out-of-stock=95".parse(), Ok(Mix { declined: 5, out_of_stock: 95, ..Mix::PLAIN }));
    }

    #[test]
    fn a_mix_that_cannot_be_meant_is_refused() {
        let cases = [
            ("", InvalidMix::NoShare(String::new())),
            ("declined", InvalidMix::NoShare("declined".to_owned())),
            ("declined=-1", InvalidMix::NoPercentage("-1".to_owned())),
            ("refused=1", InvalidMix::UnknownName("refused".to_owned())),
            ("declined=1,declined=2", InvalidMix::Twice("declined".to_owned())),
            ("declined=60,amended=41", InvalidMix::TooMuch(101)),
            ("declined=255,amended=255", InvalidMix::TooMuch(510)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Mix>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn every_share_gets_its_part_of_a_hundred_draws() {
        let mix = Mix::REAL;
        let drawn = |twist| (0..100).filter(|percent| mix.twist(*percent) == twist).count();
        assert_eq!(drawn(Twist::OutOfStock), usize::from(mix.out_of_stock));
        assert_eq!(drawn(Twist::Declined), usize::from(mix.declined));
        assert_eq!(drawn(Twist::Cancelled), usize::from(mix.cancelled));
        assert_eq!(drawn(Twist::Amended), usize::from(mix.amended));
        assert_eq!(drawn(Twist::Duplicated), usize::from(mix.duplicated));
        assert_eq!(drawn(Twist::Plain), 84);
    }
}
