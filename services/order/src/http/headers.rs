//! What a request's headers say of an order.

use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;
use process::headers::elements;

use crate::order::IfMatch;

/// The versions that the request expects (RFC 9110, 13.1.1). A tag that is weak or not ours matches none.
pub fn if_match(headers: &HeaderMap) -> Option<IfMatch> {
    headers.contains_key(IF_MATCH).then(|| {
        if elements(headers, &IF_MATCH).any(|tag| tag == "*") {
            return IfMatch::Any;
        }
        let version = |tag: &str| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
        IfMatch::Versions(elements(headers, &IF_MATCH).filter_map(version).collect())
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn with(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let value = |value: &&str| (name.clone(), HeaderValue::from_str(value).expect("a value"));
        values.iter().map(value).collect()
    }

    #[test]
    fn expected_versions_are_strong_tags_of_ours() {
        let expected = |values: &[&str]| if_match(&with(&IF_MATCH, values));
        assert_eq!(expected(&[]), None);
        assert_eq!(expected(&["*"]), Some(IfMatch::Any));
        assert_eq!(expected(&["\"3\", \"4\"", "\"7\""]), Some(IfMatch::Versions(vec![3, 4, 7])));
        assert_eq!(expected(&["W/\"3\", \"x\", 5"]), Some(IfMatch::Versions(vec![])));
    }
}
