//! One process, through its front doors: HTTP, signals, and what other crates call.

mod actuator;
mod lifecycle;
mod problems;
mod serving;
mod support;
