//! A replica that has every lane remembers what it wrote, and somebody else changes it.

use anyhow::ensure;
use tests::shop;
use tests::system::{Setup, System, Transport};

/// What another replica does to a product, as far as its row shows it: eight units go.
const TAKE_EIGHT: &str =
    "UPDATE inventory.stock SET available = available - 8, version = version + 1 WHERE product_id = 'cup'";

/// A product is sold, so inventory remembers that nine units are left; then eight of them go. Nobody is sold the units that
/// are not there any more, and the last one is sold.
pub async fn changed_by_another(transport: Transport) -> anyhow::Result<()> {
    let system = System::services(Setup::from(transport).lanes(2), 1).await?;
    let shop = system.shop();
    shop.put_stock("cup", 10).await?;
    let order = async |quantity, status| {
        let id = shop.placed(&shop::order(&[("cup", quantity)], Some("tok_ok"))).await?;
        shop.until_status(&id, status).await
    };
    order(1, "confirmed").await?;
    shop.until_counts("cup", [9, 0, 1]).await?;

    let changed = system.database().connect().await?.execute(TAKE_EIGHT, &[]).await?;
    ensure!(changed == 1);

    order(2, "rejected").await?;
    order(1, "confirmed").await?;
    shop.until_counts("cup", [0, 0, 2]).await
}
