//! The caller's own names for products and customers: 1 to 128 visible characters.

use std::{borrow::Borrow, fmt};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest id of the caller's, in characters. It bounds rows, keys and pages.
pub const MAX_ID_CHARACTERS: usize = 128;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// It has no or too many characters.
    #[error("an id has 1 to {MAX_ID_CHARACTERS} characters, not {0}")]
    Length(usize),
    /// It has a character that cannot be seen: a control character or white space.
    #[error("an id has visible characters only, not U+{0:04X}")]
    Invisible(u32),
}

fn check(text: &str) -> Result<(), InvalidId> {
    let characters = text.chars().count();
    if !(1..=MAX_ID_CHARACTERS).contains(&characters) {
        return Err(InvalidId::Length(characters));
    }
    match text.chars().find(|c| c.is_control() || c.is_whitespace() || is_formatting(*c)) {
        Some(c) => Err(InvalidId::Invisible(u32::from(c))),
        None => Ok(()),
    }
}

/// Characters that show nothing or reorder what is shown: soft hyphen, zero-width and bidirectional marks, the byte
/// order mark, and tags (Unicode's general category Cf, in the ranges met in the wild).
fn is_formatting(c: char) -> bool {
    matches!(u32::from(c), 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff | 0xe0000..=0xe007f)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String, min_length = 1, max_length = 128)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                check(&text).map(|()| Self(text.into_boxed_str()))
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.into()))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into_string()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// What the shop calls a product.
    ProductId
}
id! {
    /// What the shop calls a customer.
    CustomerId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_can_be_seen() {
        for text in ["a", "SKU-1/é", "日本", &"x".repeat(128)] {
            assert!(text.parse::<ProductId>().is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_what_cannot() {
        for text in ["", "a b", "a\n", "\u{0}", "a\u{200b}", "\u{202e}x", &"x".repeat(129)] {
            assert!(text.parse::<ProductId>().is_err(), "{text:?}");
        }
    }
}
