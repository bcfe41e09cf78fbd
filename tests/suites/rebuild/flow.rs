//! Views that are rebuilt while orders flow.

use std::cell::Cell;

use anyhow::ensure;
use tests::shop::Shop;
use tests::system::{Service, System, Transport};

use crate::books::judge;
use crate::load::Load;
use crate::{VIEWS, rebuilt as rebuilt_once};

/// Orders that are there when rebuilding begins.
const FIRST_ORDERS: usize = 100;

/// How often each view is rebuilt.
const REBUILDS: usize = 4;

/// Both views are rebuilt again and again while orders of every kind come in and their lists are read: no request fails,
/// no row differs, every list is right afterwards, and the books balance.
pub async fn rebuilt(transport: Transport) -> anyhow::Result<()> {
    let system = System::up(transport).await?;
    let shop = system.shop();
    let first = Load::strict("first", |service| shop.to(service));
    first.stock(&shop).await?;
    let orders = first.place(FIRST_ORDERS).await?;

    let flowing = Load::strict("flowing", |service| shop.to(service));
    flowing.stock(&shop).await?;
    let (done, product) = (Cell::new(false), flowing.product(0));
    let rebuilding = async {
        let rebuilt = rebuild(&system).await;
        done.set(true);
        rebuilt
    };
    let reading = async {
        let mut pages = 0;
        while !done.get() {
            read(&shop, &product).await?;
            pages += 1;
        }
        Ok(pages)
    };
    let during = flowing.place_while(async { tokio::try_join!(rebuilding, reading) }).await?;
    let (in_flow, ((), pages)) = during;
    ensure!(in_flow.len() > REBUILDS && pages > REBUILDS, "{} orders flowed, {pages} pages were read", in_flow.len());

    judge(&system, &first, &orders).await?;
    judge(&system, &flowing, &in_flow).await?;
    let after = Load::strict("after", |service| shop.to(service));
    after.stock(&shop).await?;
    let orders = after.place(10).await?;
    judge(&system, &after, &orders).await
}

async fn rebuild(system: &System) -> anyhow::Result<()> {
    for _ in 0..REBUILDS {
        for view in VIEWS {
            let report = rebuilt_once(system.database(), view).await?;
            ensure!(report["differing"] == 0, "{report}");
        }
        system.audit_in_use().await?;
    }
    Ok(())
}

/// Reads a page of each list, those by product with both tables of the view.
async fn read(shop: &Shop, product: &str) -> anyhow::Result<()> {
    for path in ["/orders?limit=20".to_owned(), format!("/orders?productId={product}&limit=20")] {
        shop.to(Service::Order)?.get(&path).await?.expect(200)?;
    }
    shop.to(Service::Inventory)?.get(&format!("/inventory/{product}/movements?limit=20")).await?.expect(200)?;
    Ok(())
}
