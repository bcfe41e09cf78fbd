//! Names of the environment variables that configure a process: the seam between the operator, which writes them, and
//! each service's settings, which parse them.

/// PostgreSQL connection URL.
pub const DATABASE_URL: &str = "ORDERSYSTEM_DATABASE_URL";
/// Name of the order system: the prefix of its topics and consumer groups.
pub const NAME: &str = "ORDERSYSTEM_NAME";
/// Number of lanes, the partitions of every topic.
pub const LANES: &str = "ORDERSYSTEM_LANES";
/// Address that HTTP is served on.
pub const LISTEN: &str = "ORDERSYSTEM_LISTEN";
/// `text` or `json`.
pub const LOG_FORMAT: &str = "ORDERSYSTEM_LOG_FORMAT";
/// Kafka's `host:port` list; without it, services read each other's journals.
pub const KAFKA_BOOTSTRAP_SERVERS: &str = "ORDERSYSTEM_KAFKA_BOOTSTRAP_SERVERS";
/// Replicas of each topic that a service creates when it finds none.
pub const KAFKA_REPLICATION_FACTOR: &str = "ORDERSYSTEM_KAFKA_REPLICATION_FACTOR";
/// Path of the PEM file with the certificate authority that signed the brokers' certificates.
pub const KAFKA_CA_FILE: &str = "ORDERSYSTEM_KAFKA_CA_FILE";
/// Path of the PEM file with our client certificate.
pub const KAFKA_CERTIFICATE_FILE: &str = "ORDERSYSTEM_KAFKA_CERTIFICATE_FILE";
/// Path of the PEM file with our client key.
pub const KAFKA_KEY_FILE: &str = "ORDERSYSTEM_KAFKA_KEY_FILE";
/// `true` to speak TLS with the system's certificate authorities when no CA file is given.
pub const KAFKA_TLS: &str = "ORDERSYSTEM_KAFKA_TLS";
/// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
pub const KAFKA_SASL_MECHANISM: &str = "ORDERSYSTEM_KAFKA_SASL_MECHANISM";
/// SASL user.
pub const KAFKA_SASL_USERNAME: &str = "ORDERSYSTEM_KAFKA_SASL_USERNAME";
/// SASL password.
pub const KAFKA_SASL_PASSWORD: &str = "ORDERSYSTEM_KAFKA_SASL_PASSWORD";
/// Path of the PEM file with the certificate authority that signed PostgreSQL's certificate.
pub const DATABASE_CA_FILE: &str = "ORDERSYSTEM_DATABASE_CA_FILE";
/// How long an order waits for stock and payment, such as `15m`.
pub const PAYMENT_TIMEOUT: &str = "ORDERSYSTEM_PAYMENT_TIMEOUT";
/// Declined attempts after which an order is rejected.
pub const PAYMENT_ATTEMPTS: &str = "ORDERSYSTEM_PAYMENT_ATTEMPTS";
