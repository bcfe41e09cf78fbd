//! What a journal is told from outside. Shared by every service, flattened into its own settings.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use contract::{Lanes, env};

/// Where the journal is kept and how it is divided.
#[derive(Args, Clone, Debug)]
pub struct JournalSettings {
    /// Name of the order system; prefixes its topics and consumer groups
    #[arg(long, env = env::NAME, default_value = "ordersystem")]
    pub name: String,
    /// Number of lanes, the partitions of every topic: 1 to 256, fixed when the system is created
    #[arg(long, env = env::LANES, default_value = "6", value_parser = lanes)]
    pub lanes: Lanes,
    /// Where PostgreSQL is
    #[command(flatten)]
    pub database: DatabaseSettings,
}

fn lanes(text: &str) -> Result<Lanes, String> {
    let count = text.parse::<u16>().map_err(|error| error.to_string())?;
    Lanes::new(count).map_err(|error| error.to_string())
}

/// Where PostgreSQL is.
#[derive(Args, Clone)]
pub struct DatabaseSettings {
    /// PostgreSQL connection URL, such as `postgres://user:password@host/database`. A certificate is checked, name and
    /// authority, unless the URL says `sslmode=prefer`; `sslmode=require` insists on TLS
    #[arg(long = "database", env = env::DATABASE_URL, value_name = "URL", hide_env_values = true)]
    pub database_url: String,
    /// PEM file with the certificate authority of PostgreSQL's certificate, which then has to have one; without it, the
    /// system's authorities
    #[arg(long, env = env::DATABASE_CA_FILE, value_name = "FILE")]
    pub database_ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for DatabaseSettings {
    /// The URL holds a password and stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseSettings").field("database_ca_file", &self.database_ca_file).finish_non_exhaustive()
    }
}

/// Where Kafka is. Without brokers the services read each other's journals.
#[derive(Args, Clone, Default)]
pub struct KafkaSettings {
    /// Kafka's brokers, host:port and comma-separated; without them, services read each other's journals
    #[arg(long = "kafka", env = env::KAFKA_BOOTSTRAP_SERVERS, value_name = "BROKERS")]
    pub bootstrap_servers: Option<String>,
    /// Replicas of each topic that is created because it is missing
    #[arg(long, env = env::KAFKA_REPLICATION_FACTOR, value_name = "REPLICAS", default_value_t = 1)]
    pub kafka_replication_factor: i32,
    /// Speak TLS to the brokers
    #[arg(long, env = env::KAFKA_TLS)]
    pub kafka_tls: bool,
    /// PEM file with the certificate authority of the brokers' certificates; without it, the system's authorities
    #[arg(long, env = env::KAFKA_CA_FILE, value_name = "FILE")]
    pub kafka_ca_file: Option<PathBuf>,
    /// PEM file with our client certificate
    #[arg(long, env = env::KAFKA_CERTIFICATE_FILE, value_name = "FILE", requires = "kafka_key_file")]
    pub kafka_certificate_file: Option<PathBuf>,
    /// PEM file with our client key
    #[arg(long, env = env::KAFKA_KEY_FILE, value_name = "FILE", requires = "kafka_certificate_file")]
    pub kafka_key_file: Option<PathBuf>,
    /// How we show who we are
    #[arg(long, env = env::KAFKA_SASL_MECHANISM, value_name = "MECHANISM", requires = "kafka_sasl_username")]
    pub kafka_sasl_mechanism: Option<SaslMechanism>,
    /// SASL user
    #[arg(long, env = env::KAFKA_SASL_USERNAME, value_name = "USER")]
    pub kafka_sasl_username: Option<String>,
    /// SASL password
    #[arg(long, env = env::KAFKA_SASL_PASSWORD, value_name = "PASSWORD", hide_env_values = true)]
    pub kafka_sasl_password: Option<String>,
}

/// How a client shows a broker who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SaslMechanism {
    /// The password itself; only sensible over TLS.
    #[value(name = "PLAIN")]
    Plain,
    /// Salted challenge and response, SHA-256.
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    /// Salted challenge and response, SHA-512.
    #[value(name = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// Its name in Kafka.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl std::fmt::Debug for KafkaSettings {
    /// The password stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("kafka_tls", &self.kafka_tls)
            .field("kafka_sasl_mechanism", &self.kafka_sasl_mechanism)
            .field("kafka_sasl_username", &self.kafka_sasl_username)
            .finish_non_exhaustive()
    }
}
