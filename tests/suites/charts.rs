//! The charts: Helm finds nothing to object to, renders what they are for, and refuses a misspelt value.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

const CHARTS: [&str; 2] = ["ordersystem-operator", "ordersystem"];

fn chart(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts").join(name)
}

/// What `helm` prints, or what it says against it.
fn helm(arguments: &[&str], chart_name: &str, values: &[&str]) -> anyhow::Result<Result<String, String>> {
    let helm = tests::cluster::programs()?.join("helm");
    ensure!(helm.is_file(), "{} is missing: `tests/cluster/cluster tools` builds it", helm.display());
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(helm);
    for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(home, folder.path());
    }
    command.args(arguments).arg(chart(chart_name));
    for value in values {
        command.args(["--set", value]);
    }
    let output = command.output().context("helm")?;
    let text = String::from_utf8(output.stdout)?;
    Ok(if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    })
}

fn rendered(chart_name: &str, values: &[&str]) -> anyhow::Result<Vec<Value>> {
    let text = helm(&["template", "shop"], chart_name, values)?.map_err(anyhow::Error::msg)?;
    let documents = text.split("\n---").map(serde_yaml_ng::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

/// Whether two values are the same; Helm writes some whole numbers as `256.0`.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|it| alike(value, it)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

#[test]
fn helm_finds_nothing_to_object_to() -> anyhow::Result<()> {
    for name in CHARTS {
        helm(&["lint", "--strict"], name, &[])?.map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

#[test]
fn a_misspelt_value_is_refused_by_its_name() -> anyhow::Result<()> {
    for name in CHARTS {
        let refused = helm(&["template", "shop"], name, &["replicaz=2"])?.err().context("it is taken")?;
        ensure!(refused.contains("replicaz"), "{name}: {refused}");
    }
    Ok(())
}

#[test]
fn the_operators_chart_brings_its_definition_and_just_the_rights_it_uses() -> anyhow::Result<()> {
    let documents = rendered("ordersystem-operator", &[])?;
    let definitions = of_kind(&documents, "CustomResourceDefinition");
    let generated: Value = serde_yaml_ng::from_str(&operator::crd())?;
    assert_eq!(definitions.len(), 1);
    ensure!(alike(&definitions[0]["spec"], &generated["spec"]), "it brings another definition");
    let deployments = of_kind(&documents, "Deployment");
    assert_eq!(deployments.len(), 1);
    assert_eq!(deployments[0]["spec"]["replicas"], 2);
    let roles = of_kind(&documents, "ClusterRole").into_iter().chain(of_kind(&documents, "Role"));
    let rights: Vec<&Value> = roles.flat_map(|role| role["rules"].as_array().into_iter().flatten()).collect();
    ensure!(!rights.is_empty(), "it has no rights");
    for right in rights {
        ensure!(!right.to_string().contains('*'), "it has every right of some sort: {right}");
    }
    Ok(())
}

#[test]
fn in_one_namespace_it_needs_no_rights_in_others() -> anyhow::Result<()> {
    let values = ["watchNamespace=shops", "rbac.aggregateToUserRoles=false"];
    let documents = rendered("ordersystem-operator", &values)?;
    ensure!(of_kind(&documents, "ClusterRole").is_empty(), "it has rights everywhere");
    let roles = of_kind(&documents, "Role");
    ensure!(roles.iter().any(|role| role["metadata"]["namespace"] == "shops"), "it has none there: {roles:?}");
    Ok(())
}

#[test]
fn a_system_is_rendered_as_one_that_can_be_made() -> anyhow::Result<()> {
    let documents = rendered("ordersystem", &["demo.enabled=true"])?;
    let systems = of_kind(&documents, "OrderSystem");
    assert_eq!(systems.len(), 1);
    let system = serde_json::from_value(systems[0].clone())?;
    let violations = operator::validate::violations(&system);
    ensure!(violations.is_empty(), "{violations:?}");
    assert_eq!(of_kind(&documents, "StatefulSet").len(), 2, "a broker and a database beside it");
    Ok(())
}
