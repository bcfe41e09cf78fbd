//! Schemas that are not derived.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A pod template: what it may hold is checked when it is used, but for the labels, which have a rule of their own.
pub(super) fn pod_template(_: &mut SchemaGenerator) -> Schema {
    let labels = json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    });
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "metadata": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "properties": { "labels": labels },
            },
        },
    })
}

/// Amounts by resource, such as `cpu: 1` or `memory: 128Mi`.
pub(super) fn amounts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        },
    })
}

/// Conditions are merged by their type.
pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let items = generator.subschema_for::<super::Condition>();
    json_schema!({
        "type": "array",
        "items": items,
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}
