//! Every parser at a border, against its committed examples and variations of them. What once made one fail is put among
//! the examples, and so never forgotten.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tests::borders::{BORDERS, Border};
use tests::random::Random;

/// Variations of each example, unless `VARIATIONS` says otherwise; others are drawn with another `SEED`.
const VARIATIONS: u64 = 4_000;
/// The longest variation, in bytes: as long as a body may be.
const MAX_BYTES: usize = 256 * 1024;
/// How deep a document nests that nobody should recurse into.
const DEPTH: usize = 5_000;
/// What parsers trip over.
const PIECES: [&str; 28] = [
    "\0",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-0",
    "1e999",
    "9223372036854775808",
    "-9223372036854775809",
    "0.1",
    "\"\"",
    "{}",
    "[]",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\\",
    "\n",
    "\r\n",
    "\u{202e}",
    "\u{feff}",
    "&",
    "%00",
    "!!binary ",
    "*a &a ",
];

#[test]
fn every_example_is_refused_or_makes_something_good() -> anyhow::Result<()> {
    for border in BORDERS {
        for (path, bytes) in examples(border)? {
            tried(border, &bytes).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

#[test]
fn every_variation_of_an_example_is_refused_or_makes_something_good() -> anyhow::Result<()> {
    let (variations, seed) = (number("VARIATIONS").unwrap_or(VARIATIONS), number("SEED").unwrap_or_default());
    for border in BORDERS {
        let all = examples(border)?;
        let others: Vec<&[u8]> = all.iter().map(|(_, bytes)| &**bytes).collect();
        for (number, (path, bytes)) in (0..).zip(&all) {
            let mut random = Random::of(seed ^ number);
            for _ in 0..variations {
                let varied = vary(bytes.clone(), &others, &mut random);
                tried(border, &varied).with_context(|| format!("from {}", path.display()))?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_document_of_any_depth_is_refused_without_recursing_into_it() -> anyhow::Result<()> {
    for piece in ["[", "{\"a\":", "{a: ", "- ", "a:\n ", "&a [*a, "] {
        let deep = piece.repeat(DEPTH);
        for border in BORDERS {
            tried(border, deep.as_bytes()).with_context(|| piece.to_owned())?;
        }
    }
    Ok(())
}

#[test]
fn every_folder_of_examples_belongs_to_a_border() -> anyhow::Result<()> {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"))? {
        let name = entry?.file_name();
        ensure!(BORDERS.iter().any(|border| name == border.name), "no border reads {}", name.display());
    }
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs a parser. An error shows what it could not take, to be put among the examples.
fn tried(border: Border, bytes: &[u8]) -> anyhow::Result<()> {
    let outcome = catch_unwind(AssertUnwindSafe(|| (border.read)(bytes)));
    ensure!(outcome.is_ok(), "{} fails: {}", border.name, String::from_utf8_lossy(bytes).escape_debug());
    Ok(())
}

/// The committed examples of a border, in the order of their names.
fn examples(border: Border) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(border.name);
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<PathBuf>>>()?;
    paths.sort();
    ensure!(!paths.is_empty(), "{} has no examples", border.name);
    paths.into_iter().map(|path| Ok((path.clone(), fs::read(path)?))).collect()
}

/// An example with one to six things changed.
fn vary(mut bytes: Vec<u8>, others: &[&[u8]], random: &mut Random) -> Vec<u8> {
    for _ in 0..random.between(1, 6) {
        let place = random.index(bytes.len() + 1);
        match random.below(8) {
            0 => bytes.truncate(place),
            1 => drop(bytes.splice(place..place, random.pick(&PIECES).bytes())),
            2 if place < bytes.len() => bytes[place] ^= 1 << random.below(8),
            3 if place < bytes.len() => drop(bytes.remove(place)),
            4 => {
                let end = (place + random.index(40)).min(bytes.len());
                drop(bytes.drain(place..end));
            }
            5 => {
                let end = (place + random.index(80)).min(bytes.len());
                let piece = bytes[place..end].repeat(random.index(20));
                drop(bytes.splice(place..place, piece));
            }
            6 => {
                let other = *random.pick(others);
                let from = random.index(other.len() + 1);
                bytes.truncate(place);
                bytes.extend(&other[from..]);
            }
            _ => {
                let digits: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    bytes[*random.pick(&digits)] = b'0' + u8::try_from(random.below(10)).unwrap_or(0);
                }
            }
        }
    }
    bytes.truncate(MAX_BYTES);
    bytes
}
