//! The API, row by row: what each request is answered with, and that what is refused changes nothing.

#[path = "api/dead_letters.rs"]
mod dead_letters;
#[path = "api/document.rs"]
mod document;
#[path = "api/inventory.rs"]
mod inventory;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/notifications.rs"]
mod notifications;
#[path = "api/operations.rs"]
mod operations;
#[path = "api/orders.rs"]
mod orders;
#[path = "api/payments.rs"]
mod payments;
#[path = "api/refusals.rs"]
mod refusals;

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::http::Client;
use tests::shop;
use tests::system::{System, Transport};
use tests::visit::Visit;
use tokio::sync::OnceCell;

static SHARED: OnceCell<System> = OnceCell::const_new();

/// The most pages that a test's list may have.
const MAX_PAGES: usize = 1_000;

/// The system that all tests share but those that have to be alone.
async fn visit() -> anyhow::Result<Visit> {
    let system = SHARED.get_or_try_init(|| System::up(Transport::Log)).await?;
    Ok(Visit::to(system).await)
}

/// The names of an object's members, in alphabetical order.
fn members(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

/// The pages of the list at `path`, each found by the `Link` of the page before.
async fn pages(client: &Client, path: &str) -> anyhow::Result<Vec<Vec<Value>>> {
    let (mut pages, mut path) = (Vec::new(), path.to_owned());
    while pages.len() < MAX_PAGES {
        let page = client.get(&path).await?.expect(200)?;
        pages.push(shop::data(&page)?);
        let (body, link) = (page.json()?, page.header("link"));
        ensure!(members(&body) == ["data", "nextCursor"], "{path}: {body}");
        let Some(cursor) = body["nextCursor"].as_str() else {
            ensure!(body["nextCursor"].is_null() && link.is_none(), "{path}: the last page has a next: {link:?}");
            return Ok(pages);
        };
        let next = link.and_then(|link| link.strip_prefix('<')?.strip_suffix(r#">; rel="next""#));
        let next = next.with_context(|| format!("{path}: no link to the next page: {link:?}"))?;
        ensure!(next.contains(&format!("cursor={cursor}")), "{next} has not the cursor {cursor}");
        next.clone_into(&mut path);
    }
    anyhow::bail!("{path}: the list does not end")
}
