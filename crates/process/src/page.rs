//! Pages of a list: how large one is, where the next goes on, and the link to it.

use std::fmt::Display;
use std::str::FromStr;

use axum::http::Uri;
use axum::http::header::LINK;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::{Json, Problem};

/// Entries of a page when the request does not say.
const DEFAULT_LIMIT: u16 = 50;

/// The most entries of a page: more would make an answer that no one reads at once.
const MAX_LIMIT: u16 = 200;

/// The entry that a page ends with, opaque to clients: what it is listed by as text, in base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String", bound(deserialize = "T: FromStr"))]
pub struct Cursor<T>(pub T);

/// A text that is no cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor that was given out")]
pub struct UnknownCursor;

impl<T: FromStr> FromStr for Cursor<T> {
    type Err = UnknownCursor;

    fn from_str(text: &str) -> Result<Self, UnknownCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| UnknownCursor)?;
        let position = str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        position.map(Self).ok_or(UnknownCursor)
    }
}

impl<T: FromStr> TryFrom<String> for Cursor<T> {
    type Error = UnknownCursor;

    fn try_from(text: String) -> Result<Self, UnknownCursor> {
        text.parse()
    }
}

impl<T: Display> Cursor<T> {
    /// The cursor as clients get it.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.to_string())
    }
}

/// How many entries are on a page: what the request says, 1 to 200, or else 50.
pub fn size(limit: Option<u16>) -> Result<u16, Problem> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let bad = || Problem::malformed().detail(format!("bad query: limit: must be 1 to {MAX_LIMIT}"));
    if (1..=MAX_LIMIT).contains(&limit) { Ok(limit) } else { Err(bad()) }
}

/// A page of up to `size` entries, and the cursor of the next: what is beyond only tells that there is one. `position` is
/// what an entry is listed by.
pub fn cut<T, P: Display>(mut entries: Vec<T>, size: u16, position: impl Fn(&T) -> P) -> (Vec<T>, Option<String>) {
    let more = entries.len() > usize::from(size);
    entries.truncate(usize::from(size));
    let next = entries.last().filter(|_| more).map(|last| Cursor(position(last)).to_text());
    (entries, next)
}

/// Answers the request for `uri` with a page, and with a `Link` to the next if there is one.
pub fn answer(uri: &Uri, next_cursor: Option<&str>, page: &impl Serialize) -> Response {
    let link = next_cursor.map(|cursor| [(LINK, next_link(uri, cursor))]);
    (link, Json(page)).into_response()
}

/// The `Link` to the next page: the same request from `cursor` on.
fn next_link(uri: &Uri, cursor: &str) -> String {
    let parameters = uri.query().unwrap_or_default().split('&');
    let kept = parameters.filter(|parameter| !parameter.is_empty() && !parameter.starts_with("cursor="));
    let cursor = format!("cursor={cursor}");
    let parameters: Vec<&str> = kept.chain([cursor.as_str()]).collect();
    format!("<{}?{}>; rel=\"next\"", uri.path(), parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_known(cursor: &str) -> bool {
        cursor.parse::<Cursor<u64>>().is_ok()
    }

    #[test]
    fn a_page_has_1_to_200_entries() {
        assert_eq!(size(None).expect("is good"), 50);
        assert!(size(Some(1)).is_ok() && size(Some(200)).is_ok());
        assert!(size(Some(0)).is_err() && size(Some(201)).is_err());
    }

    #[test]
    fn the_cursor_of_a_page_tells_its_last_entry() {
        let (page, next) = cut(vec![9, 8, 7], 2, |entry| *entry);
        assert_eq!(page, [9, 8]);
        assert_eq!(next.expect("there is more").parse(), Ok(Cursor(8)));
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        assert_eq!(cut(vec![2, 1], 2, |entry| *entry), (vec![2, 1], None));
        assert_eq!(cut(Vec::<i32>::new(), 2, |entry| *entry), (vec![], None));
    }

    #[test]
    fn a_cursor_that_was_not_given_out_is_refused() {
        assert!(is_known(&Cursor(7).to_text()));
        for cursor in ["", "!", "7", "YWJj", "_w"] {
            assert!(!is_known(cursor), "{cursor}");
        }
    }

    #[test]
    fn the_link_to_the_next_page_keeps_the_path_and_the_filters() {
        let link = |uri: &str| next_link(&uri.parse().expect("a URI"), "abc");
        assert_eq!(link("/v1/orders"), "</v1/orders?cursor=abc>; rel=\"next\"");
        let filtered = "/orders?status=pending&cursor=old&limit=2";
        assert_eq!(link(filtered), "</orders?status=pending&limit=2&cursor=abc>; rel=\"next\"");
    }
}
