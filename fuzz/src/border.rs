//! A search for what a parser at a border cannot take, guided by which of its code an input reaches.
//!
//! `BORDER` names the border, one of [`borders::BORDERS`]. Without it the program lists them.

#![no_main]

#[path = "../../tests/src/borders.rs"]
pub mod borders;

use std::process::exit;
use std::sync::LazyLock;

use borders::{BORDERS, Border};
use libfuzzer_sys::fuzz_target;

/// The border that is searched.
static CHOSEN: LazyLock<Border> = LazyLock::new(|| {
    let name = std::env::var("BORDER").unwrap_or_default();
    BORDERS.into_iter().find(|border| border.name == name).unwrap_or_else(|| {
        for border in BORDERS {
            println!("{}", border.name);
        }
        exit(if name.is_empty() { 0 } else { 2 })
    })
});

fuzz_target!(init: LazyLock::force(&CHOSEN), |bytes: &[u8]| (CHOSEN.read)(bytes));
