//! Where the brokers are, and how to get in.

use std::fmt;

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use crate::resource::SaslMechanism;

/// How long a connection may take to be made, in milliseconds. What takes longer on the way to a broker is lost.
const CONNECT_MS: &str = "5000";
/// How soon after a connection was lost the next is tried, and how late at most, in milliseconds: brokers that come back
/// are to be noticed by the next question.
const RECONNECT_MS: &str = "50";
const RECONNECT_MAX_MS: &str = "1000";

/// Where the brokers are, and how to get in.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// TLS, if they speak it.
    pub tls: Option<TlsAccess>,
    /// A log-in, if they want one.
    pub sasl: Option<SaslAccess>,
}

/// TLS to the brokers.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsAccess {
    /// The authorities that signed their certificates, PEM; without it, those of this machine.
    pub ca: Option<String>,
    /// Our certificate and its key, PEM.
    pub client: Option<(String, String)>,
}

/// A log-in at the brokers.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslAccess {
    /// How we show who we are.
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

impl Access {
    /// librdkafka's settings for a client that only asks.
    pub(super) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Its log lines are events that wait for someone to poll; what is wrong also comes as an error.
        config.set_log_level(RDKafkaLogLevel::Emerg);
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", "ordersystem-operator")
            .set("enable.auto.commit", "false")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("socket.connection.setup.timeout.ms", CONNECT_MS)
            .set("reconnect.backoff.ms", RECONNECT_MS)
            .set("reconnect.backoff.max.ms", RECONNECT_MAX_MS)
            .set("security.protocol", self.protocol());
        if let Some(tls) = &self.tls {
            tls.set(&mut config);
        }
        if let Some(sasl) = &self.sasl {
            config
                .set("sasl.mechanism", sasl.mechanism.as_str())
                .set("sasl.username", &sasl.username)
                .set("sasl.password", &sasl.password);
        }
        config
    }

    fn protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        }
    }
}

impl TlsAccess {
    fn set(&self, config: &mut ClientConfig) {
        match &self.ca {
            Some(ca) => config.set("ssl.ca.pem", ca),
            // Our OpenSSL is linked in, and has to look for the machine's authorities where distributions keep them.
            None => config.set("ssl.ca.location", "probe"),
        };
        if let Some((certificate, key)) = &self.client {
            config.set("ssl.certificate.pem", certificate).set("ssl.key.pem", key);
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("tls", &self.tls)
            .field("sasl", &self.sasl)
            .finish()
    }
}

impl fmt::Debug for TlsAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAccess").field("ca", &self.ca.is_some()).field("client", &self.client.is_some()).finish()
    }
}

impl fmt::Debug for SaslAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslAccess")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            bootstrap_servers: "kafka:9093".to_owned(),
            tls: Some(TlsAccess {
                ca: Some("authority".to_owned()),
                client: Some(("certificate".to_owned(), "private key".to_owned())),
            }),
            sasl: Some(SaslAccess {
                mechanism: SaslMechanism::ScramSha512,
                username: "shop".to_owned(),
                password: "hunter2".to_owned(),
            }),
        }
    }

    #[test]
    fn its_debug_form_shows_no_secret() {
        let text = format!("{:?}", access());
        assert!(text.contains("kafka:9093") && text.contains("shop"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("private key"), "{text}");
    }

    #[test]
    fn the_protocol_follows_from_what_is_given() {
        let protocol = |tls: bool, sasl: bool| {
            let mut access = access();
            access.tls = access.tls.filter(|_| tls);
            access.sasl = access.sasl.filter(|_| sasl);
            access.protocol()
        };
        assert_eq!(protocol(false, false), "plaintext");
        assert_eq!(protocol(true, false), "ssl");
        assert_eq!(protocol(false, true), "sasl_plaintext");
        assert_eq!(protocol(true, true), "sasl_ssl");
    }

    #[test]
    fn without_an_authority_of_its_own_the_machines_are_used() {
        let mut access = access();
        access.tls = Some(TlsAccess { ca: None, client: None });
        let config = access.config();
        assert_eq!(config.get("ssl.ca.location"), Some("probe"));
        assert_eq!(config.get("ssl.ca.pem"), None);
        assert_eq!(config.get("ssl.key.pem"), None);
    }
}
