//! What a user may say about pods.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PodTemplateSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::{Map, Value};

use crate::{build::labels, resource::Resources};

const SELECTING_LABELS: &str =
    "the labels app.kubernetes.io/name, instance and component select the pods and cannot be set";

/// Reads what is to be merged over our pods. What selects them is ours, and their volumes' and containers' names are
/// needed to merge by.
pub(super) fn overrides(template: &Map<String, Value>) -> Result<PodTemplateSpec, String> {
    let parsed: PodTemplateSpec =
        serde_json::from_value(Value::Object(template.clone())).map_err(|error| error.to_string())?;
    let unknown = unknown_fields(template, &parsed);
    if let Some(field) = unknown {
        return Err(format!("{field}: unknown field"));
    }
    let given = parsed.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
    let taken = given.and_then(|given| given.keys().find(|key| labels::SELECTING.contains(&key.as_str())));
    if taken.is_some() {
        return Err(SELECTING_LABELS.to_owned());
    }
    Ok(parsed)
}

/// The first field, outside what users name themselves, that did not survive being read.
fn unknown_fields(given: &Map<String, Value>, parsed: &PodTemplateSpec) -> Option<String> {
    let read = serde_json::to_value(parsed).unwrap_or_default();
    lost(&Value::Object(given.clone()), &read)
}

fn lost(given: &Value, read: &Value) -> Option<String> {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => given.iter().find_map(|(key, value)| match read.get(key) {
            // What is empty or null says nothing, and is left out when it is written.
            None if is_empty(value) => None,
            None => Some(key.clone()),
            Some(inner) => lost(value, inner).map(|path| format!("{key}.{path}")),
        }),
        (Value::Array(given), Value::Array(read)) => given
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(index, (given, read))| lost(given, read).map(|path| format!("{index}.{path}"))),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// What a pod asks for and may use; what the user leaves out is as follows. A processor is not limited by default: a
/// service that is throttled holds its lanes back.
pub(super) fn resources(given: &Resources) -> ResourceRequirements {
    let defaults = |pairs: &[(&str, &str)], given: &BTreeMap<String, Quantity>| {
        let mut amounts: BTreeMap<String, Quantity> =
            pairs.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect();
        amounts.extend(given.clone());
        amounts
    };
    ResourceRequirements {
        requests: Some(defaults(&[("cpu", "50m"), ("memory", "96Mi")], &given.requests)),
        limits: Some(defaults(&[("memory", "256Mi")], &given.limits)),
        claims: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(template: Value) -> Option<String> {
        serde_json::from_value(template).map(|template| overrides(&template).err()).expect("an object")
    }

    #[test]
    fn what_a_pod_can_have_is_taken() {
        let given = json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"nodeSelector": {"disk": "ssd"}}});
        assert_eq!(refused(given), None);
    }

    #[test]
    fn what_it_cannot_have_is_named() {
        let misspelt = json!({"spec": {"nodeSelectors": {"disk": "ssd"}}});
        assert_eq!(refused(misspelt).as_deref(), Some("spec.nodeSelectors: unknown field"));
        let ours = json!({"metadata": {"labels": {"app.kubernetes.io/name": "mine"}}});
        assert_eq!(refused(ours).as_deref(), Some(SELECTING_LABELS));
    }
}
