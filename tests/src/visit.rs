//! A system that the tests of a process share, as one of them uses it.

use std::ops::Deref;

use crate::shop::Shop;
use crate::system::System;

/// One test's use of a shared system: a [`Shop`] of its own. What the system has logged meanwhile is printed with this
/// value, which the test harness shows if the test failed.
#[derive(Debug)]
pub struct Visit {
    /// The system; others use it at the same time.
    pub system: &'static System,
    shop: Shop,
    /// Bytes of the log that are from before this visit.
    earlier: usize,
}

impl Visit {
    /// Enters `system`.
    pub async fn to(system: &'static System) -> Self {
        Self { system, shop: system.shop(), earlier: system.process().log().await.len() }
    }
}

impl Deref for Visit {
    type Target = Shop;

    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let log = self.system.process().log_now().unwrap_or_default();
        println!("--- log of the shared system\n{}---", log.get(self.earlier..).unwrap_or_default());
    }
}
