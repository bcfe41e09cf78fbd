//! What a request's headers say about the answer it wants.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header::ACCEPT};

use crate::headers::elements;

/// The longest `Prefer: wait` that is honoured; a client that wants more asks again.
pub const MAX_WAIT: Duration = Duration::from_mins(1);

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Media ranges that admit an API's answers.
const JSON_RANGES: [&str; 4] = ["*/*", "application/json", "application/*", "application/problem+json"];

/// How long the client is willing to wait for an outcome (`Prefer: wait=10`, RFC 7240), up to [`MAX_WAIT`].
pub fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = elements(headers, &PREFER).find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        let value = value.split(';').next()?.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("wait").then(|| value.parse().ok())?
    })?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// Whether the client takes JSON, or a problem in JSON, for an answer (RFC 9110, 12.5.1).
pub(crate) fn accepts_json(headers: &HeaderMap) -> bool {
    !headers.contains_key(ACCEPT) || elements(headers, &ACCEPT).any(admits_json)
}

/// Whether the client asks for this media type by name.
pub(crate) fn accepts_exactly(headers: &HeaderMap, media_type: &str) -> bool {
    elements(headers, &ACCEPT).any(|range| {
        let name = range.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(media_type)
    })
}

fn admits_json(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let refused = |parameter: &str| {
        let quality = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
        quality.is_some_and(|quality| quality.parse() == Ok(0.0_f32))
    };
    JSON_RANGES.iter().any(|json| name.eq_ignore_ascii_case(json)) && !parts.any(refused)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn json_is_accepted_by_name_by_range_and_by_silence() {
        let accepted = [
            "*/*",
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/*;q=0.1",
            "text/html, application/problem+json",
            "text/html,application/xml;q=0.9,*/*;q=0.8",
        ];
        assert!(accepts_json(&HeaderMap::new()));
        for value in accepted {
            assert!(accepts_json(&headers(ACCEPT, value)), "{value}");
        }
    }

    #[test]
    fn json_is_not_accepted_by_other_types_or_at_quality_zero() {
        for value in ["text/html", "application/xml", "application/json;q=0", "*/*; q=0.0", ""] {
            assert!(!accepts_json(&headers(ACCEPT, value)), "{value}");
        }
    }

    #[test]
    fn a_wait_is_found_among_preferences_and_bounded() {
        let wait = |value| preferred_wait(&headers(PREFER, value)).map(|wait| wait.as_secs());
        assert_eq!(wait("wait=10"), Some(10));
        assert_eq!(wait("respond-async, Wait=5"), Some(5));
        assert_eq!(wait("wait=\"7\"; strict"), Some(7));
        assert_eq!(wait("wait=3600"), Some(60));
        assert_eq!(wait("wait=soon"), None);
        assert_eq!(wait("return=minimal"), None);
    }
}
