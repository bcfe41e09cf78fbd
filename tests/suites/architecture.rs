//! The shape of the house: which crate may know which, and what the crates without business may not say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What each crate may depend on, tests of its own aside.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("contract", &[]),
    ("process", &[]),
    ("journal", &["contract", "process"]),
    ("order", &["contract", "journal", "process"]),
    ("inventory", &["contract", "journal", "process"]),
    ("payment", &["contract", "journal", "process"]),
    ("notification", &["contract", "journal", "process"]),
    ("operator", &["contract", "process"]),
    ("ordersystem", &["contract", "journal", "process", "order", "inventory", "payment", "notification", "operator"]),
    (
        "tests",
        &["contract", "journal", "process", "order", "inventory", "payment", "notification", "operator", "ordersystem"],
    ),
];

/// Words of the business that the two crates below it do not use.
const BUSINESS: [&str; 6] = ["customer", "payment", "stock", "reservation", "invoice", "refund"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn local_edges() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let is_local = |dependency: &&Value| dependency["path"].is_string() && dependency["kind"].is_null();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            (name(package), dependencies.iter().filter(is_local).map(name).collect())
        })
        .collect()
}

#[test]
fn crates_know_only_whom_they_may() {
    let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    for (package, edges) in local_edges() {
        let may = allowed.get(package.as_str()).unwrap_or_else(|| panic!("{package} has no place in the house"));
        for edge in edges {
            assert!(may.contains(&edge.as_str()), "{package} must not depend on {edge}");
        }
    }
}

#[test]
fn the_four_services_have_the_same_files() {
    const EVERYWHERE: [&str; 5] = ["lib.rs", "settings.rs", "store.rs", "messages.rs", "http.rs"];
    for (service, domain) in
        [("order", "order.rs"), ("inventory", "stock.rs"), ("payment", "payment.rs"), ("notification", "notice.rs")]
    {
        for file in EVERYWHERE.iter().chain(&[domain]) {
            let path = root().join("services").join(service).join("src").join(file);
            assert!(path.is_file(), "{} is missing", path.display());
        }
    }
}

#[test]
fn journal_and_process_hold_no_business_noun() {
    for package in ["journal", "process"] {
        for file in sources(&root().join("crates").join(package).join("src")) {
            let text = fs::read_to_string(&file).expect("a source file").to_lowercase();
            for word in BUSINESS {
                assert!(!text.contains(word), "{} says {word:?}", file.display());
            }
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
