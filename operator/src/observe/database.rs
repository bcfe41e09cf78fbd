//! Whether something answers where the database is said to be. Logging in is the services' business.

use std::time::Duration;

use tokio::{net::TcpStream, time::timeout};
use url::Url;

/// How long the database may take to accept a connection.
const TIMEOUT: Duration = Duration::from_secs(3);
const DEFAULT_PORT: u16 = 5432;

/// Why the database cannot be reached. The URL holds a password and is never shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// The Secret's value is no URL of a PostgreSQL.
    #[error("the Secret's value is not a URL such as postgres://user:password@host:5432/database")]
    NoUrl,
    /// Nothing answers there.
    #[error("{address} does not answer")]
    Unreachable {
        /// Host and port.
        address: String,
    },
}

impl DatabaseUrlError {
    /// The reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoUrl => "InvalidUrl",
            Self::Unreachable { .. } => "Unreachable",
        }
    }
}

/// Connects and goes away again. `namespace` is that of the pods, which a short host name refers to.
pub async fn reach(url: &str, namespace: &str) -> Result<(), DatabaseUrlError> {
    let address = address(url, namespace).ok_or(DatabaseUrlError::NoUrl)?;
    match timeout(TIMEOUT, TcpStream::connect(&address)).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(DatabaseUrlError::Unreachable { address }),
    }
}

fn address(url: &str, namespace: &str) -> Option<String> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "postgres" | "postgresql"))?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let host = super::qualified(host, namespace);
    Some(format!("{host}:{}", url.port().unwrap_or(DEFAULT_PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_in_the_url() {
        assert_eq!(address("postgres://u:p@db/x", "shop").as_deref(), Some("db.shop.svc:5432"));
        assert_eq!(address("postgresql://u:p@[::1]:6000/x?sslmode=require", "shop").as_deref(), Some("[::1]:6000"));
        for none in ["", "db:5432", "mysql://db/x", "postgres:///x"] {
            assert_eq!(address(none, "shop"), None, "{none}");
        }
    }
}
