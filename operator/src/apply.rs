//! Making it so: server-side apply of what differs, and of nothing else.
//!
//! In a steady state nothing is sent. An object is as wanted when every field that we set is in the live one. The API
//! server may write a value in another form than ours (`0.5` becomes `500m`), so what it made of our last apply counts as
//! wanted too.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Map, Value};

use crate::{
    build::labels::MANAGER,
    observe::{Children, Kept},
};

/// What became of our last apply of each object: what we sent, and what was made of it.
type Applied = HashMap<(String, String, String), (Value, Value)>;

/// Applies objects and removes those that are not wanted any more.
pub struct Applier {
    client: Client,
    children: Children,
    applied: Mutex<Applied>,
}

/// How many objects were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Applied.
    pub applied: u32,
    /// Deleted.
    pub pruned: u32,
}

impl std::ops::AddAssign for Writes {
    fn add_assign(&mut self, other: Self) {
        self.applied += other.applied;
        self.pruned += other.pruned;
    }
}

impl Applier {
    /// An applier that compares with `children`.
    pub fn new(client: Client, children: Children) -> Self {
        Self { client, children, applied: Mutex::default() }
    }

    /// Sees to it that every wanted object of a kind is as wanted, and that no other one of the same owner is there.
    pub async fn kind<K: Kept>(&self, owner: &str, namespace: &str, wanted: &[K]) -> Result<Writes, kube::Error> {
        let mut writes = self.objects(namespace, wanted).await?;
        writes += self.no_others(owner, namespace, wanted).await?;
        Ok(writes)
    }

    /// Sees to it that every wanted object of a kind is as wanted.
    pub async fn objects<K: Kept>(&self, namespace: &str, wanted: &[K]) -> Result<Writes, kube::Error> {
        let mut writes = Writes::default();
        for object in wanted {
            writes += self.object(namespace, object).await?;
        }
        Ok(writes)
    }

    /// Sees to it that no other object of a kind and of the same owner is there than those wanted.
    pub async fn no_others<K: Kept>(&self, owner: &str, namespace: &str, wanted: &[K]) -> Result<Writes, kube::Error> {
        let mut writes = Writes::default();
        for name in self.children.names::<K>(namespace, owner) {
            if !wanted.iter().any(|object| object.name_any() == name) {
                self.prune::<K>(namespace, &name).await?;
                writes.pruned += 1;
            }
        }
        Ok(writes)
    }

    /// Sees to it that one object is as wanted.
    pub async fn object<K: Kept>(&self, namespace: &str, wanted: &K) -> Result<Writes, kube::Error> {
        let name = wanted.name_any();
        let key = (K::kind(&()).into_owned(), namespace.to_owned(), name.clone());
        let sent = serde_json::to_value(wanted).map_err(kube::Error::SerdeError)?;
        if let Some(live) = self.children.get::<K>(namespace, &name) {
            let live = serde_json::to_value(&*live).map_err(kube::Error::SerdeError)?;
            if contains(&live, &sent) || self.is_as_applied(&key, &sent, &live) {
                return Ok(Writes::default());
            }
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let made = api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&sent)).await?;
        let made = serde_json::to_value(&made).map_err(kube::Error::SerdeError)?;
        tracing::info!(kind = key.0, namespace, name, "applied");
        let projected = project(&made, &sent);
        self.applied().insert(key, (sent, projected));
        Ok(Writes { applied: 1, pruned: 0 })
    }

    /// Forgets the objects that are not there any more.
    pub fn forget_missing(&self) {
        self.applied().retain(|(kind, namespace, name), _| self.children.has(kind, namespace, name));
    }

    async fn prune<K: Kept>(&self, namespace: &str, name: &str) -> Result<(), kube::Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        match api.delete(name, &DeleteParams::background()).await {
            Ok(_) => tracing::info!(kind = %K::kind(&()), namespace, name, "removed: it is not wanted any more"),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn is_as_applied(&self, key: &(String, String, String), sent: &Value, live: &Value) -> bool {
        self.applied().get(key).is_some_and(|(before, made)| before == sent && *made == project(live, sent))
    }

    fn applied(&self) -> std::sync::MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether every field of `wanted` is in `live`. What is empty is the same as what is left out.
pub fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| contains(live.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| contains(live, wanted))
        }
        (Value::Null, Value::Object(wanted)) => wanted.values().all(|value| contains(&Value::Null, value)),
        (Value::Null, Value::Array(wanted)) => wanted.is_empty(),
        (live, wanted) => live == wanted,
    }
}

/// The part of `live` that `wanted` speaks of.
fn project(live: &Value, wanted: &Value) -> Value {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            let part = |(key, value): (&String, &Value)| Some((key.clone(), project(live.get(key)?, value)));
            Value::Object(wanted.iter().filter_map(part).collect::<Map<_, _>>())
        }
        (Value::Array(live), Value::Array(wanted)) if live.len() == wanted.len() => {
            live.iter().zip(wanted).map(|(live, wanted)| project(live, wanted)).collect()
        }
        (live, _) => live.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_that_the_server_adds_are_no_difference() {
        let wanted = json!({"spec": {"ports": [{"port": 80}], "selector": {}}});
        assert!(contains(&json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}], "type": "ClusterIP"}}), &wanted));
    }

    #[test]
    fn what_was_changed_removed_or_added_to_a_list_is_one() {
        let wanted = json!({"spec": {"ports": [{"port": 80}]}});
        for live in [
            json!({"spec": {"ports": [{"port": 81}]}}),
            json!({"spec": {}}),
            json!({"spec": {"ports": [{"port": 80}, {"port": 90}]}}),
        ] {
            assert!(!contains(&live, &wanted), "{live}");
        }
    }

    #[test]
    fn only_the_part_that_we_speak_of_is_compared() {
        let sent = json!({"cpu": "0.5", "ports": [{"port": 80}]});
        let live = json!({"cpu": "500m", "ports": [{"port": 80, "protocol": "TCP"}], "status": 1});
        assert_eq!(project(&live, &sent), json!({"cpu": "500m", "ports": [{"port": 80}]}));
    }
}
