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
    dependencies(|dependency| dependency["path"].is_string())
}

/// What each crate depends on, tests of its own aside.
fn dependencies(wanted: fn(&Value) -> bool) -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let counts = |dependency: &&Value| wanted(dependency) && dependency["kind"].is_null();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            (name(package), dependencies.iter().filter(counts).map(name).collect())
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

#[test]
fn the_search_for_bad_input_builds_the_versions_that_are_released() {
    const ALONE: [&str; 3] = ["arbitrary", "fuzz", "libfuzzer-sys"];
    let (released, searched) = (locked(&root().join("Cargo.lock")), locked(&root().join("fuzz/Cargo.lock")));
    for (name, versions) in searched.iter().filter(|(name, _)| !ALONE.contains(&name.as_str())) {
        let known = released.get(name).is_some_and(|released| versions.is_subset(released));
        assert!(known, "{name} {versions:?} of fuzz/Cargo.lock is not in Cargo.lock: {RENEW}");
    }
    for name in dependencies(|_| true).into_values().flatten() {
        assert!(searched.contains_key(&name), "{name} is not in fuzz/Cargo.lock: {RENEW}");
    }
}

/// What brings `fuzz/Cargo.lock` up to date.
const RENEW: &str = "`cp Cargo.lock fuzz/ && (cd fuzz && cargo fetch)`";

/// The versions of each package in a lock file.
fn locked(file: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(file).expect("a lock file");
    let mut packages: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let of = |key: &str| Some(package.split_once(&format!("\n{key} = \""))?.1.split_once('"')?.0.to_owned());
        packages.entry(of("name").expect("a name")).or_default().insert(of("version").expect("a version"));
    }
    packages
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
