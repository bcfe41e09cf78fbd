//! From the Secrets that a spec names to what the operator needs of them, and to what the pods are given of them.

use crate::{
    kafka::{Access, SaslAccess, TlsAccess},
    observe::{SecretData, Secrets, qualified},
    resource::{KeyRef, NameRef, OrderSystemSpec},
};

use super::Refusal;

/// One key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretKey {
    /// The Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
}

/// What the pods are given of Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounts {
    /// The database's URL.
    pub database_url: SecretKey,
    /// The authority of the database's certificate.
    pub database_ca: Option<SecretKey>,
    /// The authority of the brokers' certificates.
    pub kafka_ca: Option<SecretKey>,
    /// Our certificate and key for the brokers.
    pub kafka_client: Option<(SecretKey, SecretKey)>,
    /// Our password for the brokers.
    pub kafka_password: Option<SecretKey>,
    /// A hash of all their values, in hexadecimal: pods are rolled when it changes.
    pub hash: String,
}

/// Keys of a client's certificate and private key: as Strimzi names them, and as cert-manager does.
const CLIENT_KEYS: [(&str, &str); 2] = [("user.crt", "user.key"), ("tls.crt", "tls.key")];

/// Names of the Secrets that a spec refers to.
pub fn named(spec: &OrderSystemSpec) -> Vec<&str> {
    let tls = spec.kafka.tls.as_ref();
    let keys = [
        Some(&spec.database.url_secret),
        spec.database.ca_secret.as_ref(),
        tls.and_then(|tls| tls.ca_secret.as_ref()),
        spec.kafka.sasl.as_ref().map(|sasl| &sasl.password_secret),
    ];
    let client = tls.and_then(|tls| tls.client_secret.as_ref()).map(|secret| secret.name.as_str());
    let mut names: Vec<&str> = keys.into_iter().flatten().map(|key| key.name.as_str()).chain(client).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Looks everything up; what is not there is named all at once.
pub(super) fn resolve(spec: &OrderSystemSpec, namespace: &str, secrets: &Secrets) -> Result<(Access, Mounts), Refusal> {
    let mut kafka = Lookup::new(secrets);
    let tls = spec.kafka.tls.as_ref();
    let ca = tls.and_then(|tls| tls.ca_secret.as_ref()).and_then(|key| kafka.key(key, "ca.crt"));
    let client = tls.and_then(|tls| tls.client_secret.as_ref()).and_then(|secret| kafka.client(secret));
    let sasl = spec.kafka.sasl.as_ref();
    let password = sasl.and_then(|sasl| kafka.key(&sasl.password_secret, "password"));
    let mut database = Lookup::new(secrets);
    let url = database.key(&spec.database.url_secret, "uri");
    let database_ca = spec.database.ca_secret.as_ref().and_then(|key| database.key(key, "ca.crt"));
    let (Some(url), true, true) = (url, kafka.missing.is_empty(), database.missing.is_empty()) else {
        return Err(Refusal::Missing { kafka: kafka.missing, database: database.missing });
    };
    let access = Access {
        bootstrap_servers: from_elsewhere(&spec.kafka.bootstrap_servers, namespace),
        tls: tls.map(|_| TlsAccess {
            ca: ca.as_ref().map(Found::text),
            client: client.as_ref().map(|(certificate, key)| (certificate.text(), key.text())),
        }),
        sasl: sasl.map(|sasl| SaslAccess {
            mechanism: sasl.mechanism,
            username: sasl.username.clone(),
            password: password.as_ref().map(Found::text).unwrap_or_default(),
        }),
    };
    let used: Vec<&Found> = [Some(&url), database_ca.as_ref(), ca.as_ref(), password.as_ref()]
        .into_iter()
        .flatten()
        .chain(client.iter().flat_map(|(certificate, key)| [certificate, key]))
        .collect();
    let hash = crate::hash::hex(used.iter().flat_map(|found| [found.at.key.as_bytes(), found.value]));
    let mounts = Mounts {
        database_url: url.at.clone(),
        database_ca: database_ca.map(|found| found.at),
        kafka_ca: ca.map(|found| found.at),
        kafka_client: client.map(|(certificate, key)| (certificate.at, key.at)),
        kafka_password: password.map(|found| found.at),
        hash,
    };
    Ok((access, mounts))
}

/// Brokers as the operator reaches them.
fn from_elsewhere(brokers: &str, namespace: &str) -> String {
    let qualified = brokers.split(',').map(|broker| match broker.rsplit_once(':') {
        Some((host, port)) => format!("{}:{port}", qualified(host, namespace)),
        None => broker.to_owned(),
    });
    qualified.collect::<Vec<_>>().join(",")
}

/// A value that was found, and where.
struct Found<'a> {
    at: SecretKey,
    value: &'a [u8],
}

impl Found<'_> {
    fn text(&self) -> String {
        String::from_utf8_lossy(self.value).into_owned()
    }
}

/// Looks keys up and notes what is missing.
struct Lookup<'a> {
    secrets: &'a Secrets,
    missing: Vec<String>,
}

impl<'a> Lookup<'a> {
    fn new(secrets: &'a Secrets) -> Self {
        Self { secrets, missing: Vec::new() }
    }

    fn key(&mut self, wanted: &KeyRef, default: &str) -> Option<Found<'a>> {
        let key = wanted.key.as_deref().unwrap_or(default);
        let data = self.secret(&wanted.name)?;
        let found = find(&wanted.name, key, data);
        if found.is_none() {
            self.missing.push(format!("Secret {} has no key {key}", wanted.name));
        }
        found
    }

    fn client(&mut self, wanted: &NameRef) -> Option<(Found<'a>, Found<'a>)> {
        let data = self.secret(&wanted.name)?;
        let found = CLIENT_KEYS.iter().find_map(|(certificate, key)| {
            Some((find(&wanted.name, certificate, data)?, find(&wanted.name, key, data)?))
        });
        if found.is_none() {
            let pairs = "user.crt and user.key, or tls.crt and tls.key";
            self.missing.push(format!("Secret {} has neither {pairs}", wanted.name));
        }
        found
    }

    fn secret(&mut self, name: &str) -> Option<&'a SecretData> {
        let data = self.secrets.get(name);
        if data.is_none() {
            self.missing.push(format!("Secret {name} is missing"));
        }
        data
    }
}

fn find<'a>(secret: &str, key: &str, data: &'a SecretData) -> Option<Found<'a>> {
    let value = data.get(key)?;
    Some(Found { at: SecretKey { secret: secret.to_owned(), key: key.to_owned() }, value: &value.0 })
}
