//! What a request's headers say beside the answer it wants: its idempotency key, the trace it is part of and the versions
//! that its caller has; and the headers that answer them.

use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::Problem;

/// The longest idempotency key, in characters.
const MAX_KEY_CHARACTERS: usize = 255;

/// Characters of a trace context of version 00 (W3C Trace Context, 3.2).
const TRACEPARENT_CHARACTERS: usize = 55;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Says that the idempotency key was used before, and that this is the answer of then.
pub const REPLAYED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));

/// The key that makes the request repeatable, without the quotes that it may have.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let key = line.to_str().ok().filter(|_| lines.next().is_none()).and_then(unquoted);
    let bad = || {
        let rule = format!("Idempotency-Key: must be one, of 1 to {MAX_KEY_CHARACTERS} visible ASCII characters");
        Problem::malformed().detail(rule)
    };
    key.filter(|key| is_key(key)).map(Some).ok_or_else(bad)
}

fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        None => Some(value),
        Some(rest) => rest.strip_suffix('"').filter(|key| !key.contains(['"', '\\'])),
    }
}

fn is_key(key: &str) -> bool {
    (1..=MAX_KEY_CHARACTERS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The trace context that the request is part of, if it has a well-formed one.
pub fn trace(headers: &HeaderMap) -> Option<Box<str>> {
    let trace = headers.get(TRACEPARENT)?.to_str().ok()?;
    let is_dash = |place| matches!(place, 2 | 35 | 52);
    let fits = |(place, byte): (usize, u8)| match byte {
        b'-' => is_dash(place),
        b'0'..=b'9' | b'a'..=b'f' => !is_dash(place),
        _ => false,
    };
    let well_formed = trace.len() == TRACEPARENT_CHARACTERS && trace.bytes().enumerate().all(fits);
    well_formed.then(|| trace.into())
}

/// The `ETag` of a version.
pub fn etag(version: impl Into<i64>) -> HeaderValue {
    HeaderValue::try_from(tag(version.into())).expect("a number in quotes is a header's value")
}

/// Whether the caller has this version already (RFC 9110, 13.1.2).
pub fn is_known(headers: &HeaderMap, version: impl Into<i64>) -> bool {
    let current = tag(version.into());
    elements(headers, &IF_NONE_MATCH).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == current)
}

fn tag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The elements of a header whose value is a list, over all its lines.
pub fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let value = |value: &&str| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        values.iter().map(value).collect()
    }

    #[test]
    fn a_key_is_the_same_with_quotes_and_without() {
        for value in ["order-42", "\"order-42\""] {
            let headers = with(&IDEMPOTENCY_KEY, &[value]);
            assert_eq!(idempotency_key(&headers).expect("a key"), Some("order-42"));
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).expect("none"), None);
        assert!(idempotency_key(&with(&IDEMPOTENCY_KEY, &[&"k".repeat(255)])).is_ok());
    }

    #[test]
    fn a_key_that_is_empty_long_invisible_half_quoted_or_one_of_two_is_refused() {
        let long = "k".repeat(256);
        for values in [&[""] as &[_], &["\"\""], &[&long], &["a b"], &["é"], &["\"a"], &["\"a\\\"b\""], &["a", "b"]] {
            let headers = with(&IDEMPOTENCY_KEY, values);
            assert_eq!(idempotency_key(&headers).expect_err("no key").slug(), "malformed-request", "{values:?}");
        }
    }

    #[test]
    fn only_a_well_formed_trace_is_passed_on() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let traced = |value: &str| trace(&with(&TRACEPARENT, &[value]));
        assert_eq!(traced(good).as_deref(), Some(good));
        for bad in ["", "00-xyz", &good.to_uppercase(), &good.replace('-', "0"), &format!("{good}0")] {
            assert_eq!(traced(bad), None, "{bad}");
        }
        assert_eq!(trace(&HeaderMap::new()), None);
    }

    #[test]
    fn a_version_is_known_by_its_tag_weak_or_strong_or_by_any() {
        assert_eq!(etag(3), "\"3\"");
        let known = |value| is_known(&with(&IF_NONE_MATCH, &[value]), 3);
        assert!(known("\"3\"") && known("W/\"3\"") && known("\"1\", \"3\"") && known("*"));
        assert!(!known("\"4\"") && !known("3"));
        assert!(!is_known(&HeaderMap::new(), 3));
    }
}
