//! What a request's headers say.

use axum::http::{HeaderMap, HeaderName};
use process::Problem;

/// The longest idempotency key, in characters.
const MAX_KEY_CHARACTERS: usize = 255;

/// Characters of a trace context of version 00 (W3C Trace Context, 3.2).
const TRACEPARENT_CHARACTERS: usize = 55;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The key that makes the request repeatable, without the quotes that it may have.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<Box<str>>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let key = line.to_str().ok().filter(|_| lines.next().is_none()).and_then(unquoted);
    let bad = || {
        let rule = format!("Idempotency-Key: must be one, of 1 to {MAX_KEY_CHARACTERS} visible ASCII characters");
        Problem::malformed().detail(rule)
    };
    key.filter(|key| is_key(key)).map(|key| Some(key.into())).ok_or_else(bad)
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
pub(super) fn trace(headers: &HeaderMap) -> Option<Box<str>> {
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
