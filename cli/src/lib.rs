//! The tools of `ordersystem`, as its binary and its tests use them.

pub mod audit;
pub mod bench;
pub mod location;
pub mod manifest;
pub mod postgres;
pub mod rebuild;
pub mod roles;
pub mod service;
pub mod up;
