//! Where a load goes.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::HeaderValue;

/// The port of a target that names none.
const HTTP_PORT: u16 = 80;

/// Where the order system answers: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    authority: HeaderValue,
}

/// A text that is not `http://host:port`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a target is a URL such as http://127.0.0.1:8080, without a path")]
pub struct InvalidTarget;

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let uri: Uri = text.parse().map_err(|_| InvalidTarget)?;
        let authority = uri.authority().ok_or(InvalidTarget)?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(InvalidTarget);
        }
        Ok(Self {
            // An IPv6 address stands in brackets in a URL and without them in a socket's address.
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(HTTP_PORT),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| InvalidTarget)?,
        })
    }
}

impl Target {
    /// Its host and port, to connect to.
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Its `Host` header.
    pub(super) fn authority(&self) -> &HeaderValue {
        &self.authority
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", String::from_utf8_lossy(self.authority.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_url_without_a_path() {
        let target: Target = "http://[::1]:8080".parse().expect("is a target");
        assert_eq!(
            (target.host.as_str(), target.port, target.to_string().as_str()),
            ("::1", 8080, "http://[::1]:8080")
        );
        let target: Target = "http://shop/".parse().expect("is a target");
        assert_eq!((target.host.as_str(), target.port), ("shop", 80));
        for text in ["", "127.0.0.1:8080", "https://shop", "http://shop/v1", "http://shop?x"] {
            assert_eq!(text.parse::<Target>(), Err(InvalidTarget), "{text}");
        }
    }
}
