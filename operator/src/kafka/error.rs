//! What can be wrong with the brokers or the topics: in one word for a condition, and in a sentence that says what to do.

use rdkafka::error::RDKafkaErrorCode;

/// Why the topics of a system are not as they have to be, or nobody can say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicsError {
    /// A certificate or key cannot be read, or a setting is none.
    #[error("the client for Kafka at {brokers} cannot be made: {detail}; look at the Secrets that `kafka` names")]
    Settings {
        /// The brokers.
        brokers: String,
        /// What librdkafka says.
        detail: String,
    },
    /// No broker answers in time.
    #[error(
        "Kafka at {brokers} cannot be reached: {detail}; look at `kafka.bootstrapServers`, and whether the brokers run"
    )]
    Unreachable {
        /// The brokers.
        brokers: String,
        /// What librdkafka says.
        detail: String,
    },
    /// A broker answers, but not with the TLS that we expect.
    #[error("Kafka at {brokers} cannot be spoken to over TLS: {detail}; look at `kafka.tls` and the Secrets it names")]
    Tls {
        /// The brokers.
        brokers: String,
        /// What librdkafka says.
        detail: String,
    },
    /// The brokers do not accept our log-in.
    #[error("Kafka at {brokers} refuses the log-in: {detail}; look at `kafka.sasl` and the Secret it names")]
    AuthenticationFailed {
        /// The brokers.
        brokers: String,
        /// What librdkafka says.
        detail: String,
    },
    /// We are in, but the brokers' access rules do not allow us this.
    #[error("Kafka does not allow this user the {what}; allow it in the brokers' access rules")]
    Forbidden {
        /// The topic or group.
        what: String,
    },
    /// A topic has another number of partitions than the system has lanes.
    #[error(
        "topic {topic} has {found} partitions, but the system has {wanted} lanes; \
         delete the topic, or make the OrderSystem anew with `lanes: {found}`"
    )]
    WrongPartitions {
        /// The topic.
        topic: String,
        /// Its partitions.
        found: usize,
        /// The system's lanes.
        wanted: usize,
    },
    /// There are not enough brokers for as many replicas.
    #[error("topic {topic} cannot have {wanted} replicas, as there are fewer brokers; lower `kafka.replicationFactor`")]
    ReplicationFactor {
        /// The topic.
        topic: String,
        /// The replicas asked for.
        wanted: i32,
    },
    /// A topic is not there (yet).
    #[error("Kafka has no {what}; it is created at the next look")]
    Missing {
        /// The topic.
        what: String,
    },
    /// The brokers refuse for another reason.
    #[error("Kafka refuses the {what}: {detail}")]
    Refused {
        /// The topic or group.
        what: String,
        /// The broker's error.
        detail: String,
    },
    /// The operator is stopping.
    #[error("the question to Kafka was interrupted; it is asked again")]
    Interrupted,
}

impl TopicsError {
    /// The reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "InvalidSettings",
            Self::Unreachable { .. } => "Unreachable",
            Self::Tls { .. } => "TlsFailed",
            Self::AuthenticationFailed { .. } => "AuthenticationFailed",
            Self::Forbidden { .. } => "Forbidden",
            Self::WrongPartitions { .. } => "WrongPartitions",
            Self::ReplicationFactor { .. } => "ReplicationFactor",
            Self::Missing { .. } => "TopicMissing",
            Self::Refused { .. } => "Refused",
            Self::Interrupted => "Interrupted",
        }
    }

    /// What a broker's answer about `what` means, when it is about us rather than about the connection.
    pub(super) fn answered(what: &str, code: RDKafkaErrorCode) -> Self {
        use RDKafkaErrorCode as Code;
        let what = what.to_owned();
        match code {
            Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                Self::Forbidden { what }
            }
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => Self::Missing { what },
            code => Self::Refused { what, detail: code.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_it_is_about() {
        let forbidden = TopicsError::answered("topic shop.orders", RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(forbidden.reason(), "Forbidden");
        assert_eq!(
            forbidden.to_string(),
            "Kafka does not allow this user the topic shop.orders; allow it in the brokers' access rules"
        );
        let refused = TopicsError::answered("topic shop.orders", RDKafkaErrorCode::PolicyViolation);
        assert_eq!(refused.reason(), "Refused");
        assert!(refused.to_string().starts_with("Kafka refuses the topic shop.orders: "), "{refused}");
    }

    #[test]
    fn wrong_partitions_are_named_with_what_to_do() {
        let error = TopicsError::WrongPartitions { topic: "shop.orders".to_owned(), found: 3, wanted: 12 };
        assert_eq!(
            error.to_string(),
            "topic shop.orders has 3 partitions, but the system has 12 lanes; \
             delete the topic, or make the OrderSystem anew with `lanes: 3`"
        );
    }
}
