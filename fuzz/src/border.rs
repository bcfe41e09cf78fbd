//! A search for what a parser at a border cannot take, guided by which of its code an input reaches.
//!
//! `BORDER` names the border, one of [`BORDERS`]. Without it the program lists them.

#![no_main]

use std::process::exit;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tests::borders::{BORDERS, Border};

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
