//! How far the way to the database is trusted.
//!
//! A certificate is always checked, name and authority, but in two cases: the URL says `sslmode=prefer`, or it says nothing
//! and the database is on this machine, whose PostgreSQL often comes with a certificate of nobody's.

use std::net::IpAddr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trust {
    /// Whether TLS is spoken.
    pub mode: SslMode,
    /// Whether the certificate is checked when it is.
    pub is_verified: bool,
    /// Whether the database is on another machine.
    pub is_remote: bool,
}

impl Trust {
    /// What `url`, read as `config`, asks for. Who names a certificate authority wants TLS.
    pub fn of(url: &str, config: &Config, has_authority: bool) -> Self {
        let is_remote = config.get_hosts().iter().any(is_remote);
        let asked = url.contains("sslmode=").then(|| config.get_ssl_mode());
        let (mode, is_verified) = match asked {
            None if has_authority => (SslMode::Require, true),
            None => (SslMode::Prefer, is_remote),
            Some(SslMode::Prefer) => (SslMode::Prefer, has_authority),
            Some(mode) => (mode, true),
        };
        Self { mode, is_verified, is_remote }
    }
}

fn is_remote(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name != "localhost" && !name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
        Host::Unix(_) => false,
    }
}

/// The URL as the driver reads it, which knows `disable`, `prefer` and `require`. libpq's two verifying modes become
/// `require`, which verifies here always.
pub(super) fn understood(url: &str) -> String {
    url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(url: &str, has_authority: bool) -> (SslMode, bool, bool) {
        let config = understood(url).parse().expect("is a URL");
        let Trust { mode, is_verified, is_remote } = Trust::of(url, &config, has_authority);
        (mode, is_verified, is_remote)
    }

    #[test]
    fn another_machine_is_believed_only_with_a_good_certificate() {
        for url in ["postgres://u@db/x", "postgres://u@10.0.0.7/x", "host=db user=u", "postgres://u@localhost,db/x"] {
            assert_eq!(trust(url, false), (SslMode::Prefer, true, true), "{url}");
            assert_eq!(trust(url, true), (SslMode::Require, true, true), "{url}");
        }
    }

    #[test]
    fn this_machine_is_believed() {
        for url in ["postgres://u@localhost/x", "postgres://u@127.0.0.1/x", "postgres://u@[::1]/x", "host=/run user=u"]
        {
            assert_eq!(trust(url, false), (SslMode::Prefer, false, false), "{url}");
            assert_eq!(trust(url, true), (SslMode::Require, true, false), "{url}");
        }
    }

    #[test]
    fn a_mode_in_the_url_holds_and_every_one_that_insists_on_tls_verifies() {
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_eq!(
                trust(&format!("postgres://u@localhost/x?sslmode={mode}"), false),
                (SslMode::Require, true, false)
            );
        }
        assert_eq!(trust("postgres://u@db/x?sslmode=prefer", false), (SslMode::Prefer, false, true));
        assert_eq!(trust("postgres://u@db/x?sslmode=prefer", true), (SslMode::Prefer, true, true));
        assert_eq!(trust("postgres://u@db/x?sslmode=disable", true).0, SslMode::Disable);
    }
}
