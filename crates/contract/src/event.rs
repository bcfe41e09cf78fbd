//! How an event is encoded: its kind names its meaning and version, its data is JSON.

/// An event of the contract.
pub trait Event {
    /// What it means, and in which version, such as `order.placed.v1`.
    fn kind(&self) -> &'static str;
    /// Its data as JSON, appended to `out`.
    fn encode(&self, out: &mut Vec<u8>);
}

/// Data that does not have the shape its kind promises.
#[derive(Debug, thiserror::Error)]
#[error("data of {kind} cannot be read: {source}")]
pub struct UnreadableData {
    /// The kind that the record claims.
    pub kind: String,
    /// What is wrong with its data.
    pub source: serde_json::Error,
}

/// Declares a service's events: an enum with a variant per kind, and how each is written and read.
macro_rules! events {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident($payload:ty) = $kind:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant($payload),)*
        }

        impl $name {
            /// Every kind that can be read.
            pub const KINDS: &[&str] = &[$($kind),*];

            /// Reads an event of kind `kind`; nothing when the kind is not one of these, which a reader passes over.
            pub fn decode(kind: &str, data: &[u8]) -> Result<Option<Self>, $crate::event::UnreadableData> {
                let event = match kind {
                    $($kind => serde_json::from_slice::<$payload>(data).map(Self::$variant),)*
                    _ => return Ok(None),
                };
                event.map(Some).map_err(|source| $crate::event::UnreadableData { kind: kind.to_owned(), source })
            }
        }

        impl $crate::event::Event for $name {
            fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind,)* }
            }

            fn encode(&self, out: &mut Vec<u8>) {
                // Writing to memory cannot fail, and no payload has a map with keys that are not text.
                let written = match self { $(Self::$variant(payload) => serde_json::to_writer(out, payload),)* };
                debug_assert!(written.is_ok(), "{written:?}");
            }
        }
    };
}
pub(crate) use events;
