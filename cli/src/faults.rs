//! `ordersystem` as the tests of faults run it: with crash points, and with safeguards that can be left out.

#[path = "main.rs"]
mod ordersystem_itself;

fn main() -> std::process::ExitCode {
    ordersystem_itself::main()
}
