//! Orders that want the same units.

use serde_json::json;
use tests::shop;
use tests::system::Service;

use crate::{at_once, visit};

/// Orders of the storm, for so many units.
const STORM: (usize, i64) = (200, 10);

#[tokio::test]
async fn of_two_orders_for_the_last_unit_one_wins() -> anyhow::Result<()> {
    let shop = visit().await?;
    for round in 0..10 {
        let product = format!("last-unit-{round}");
        shop.put_stock(&product, 1).await?;
        let order = shop::order(&[(&product, 1)], Some("tok_ok"));
        let client = shop.to(Service::Order)?;

        let answers = at_once([client.post("/orders").json(&order), client.post("/orders").json(&order)]).await?;

        let mut ended = Vec::new();
        for answer in answers {
            ended.push(shop.settled(&shop::id(&answer.expect(201)?.json()?)?).await?);
        }
        ended.sort_by_key(|order| order["status"].to_string());
        assert_eq!(ended[0]["status"], "confirmed");
        assert_eq!(ended[1]["status"], "rejected");
        assert_eq!(ended[1]["reason"], "out_of_stock");
        assert_eq!(ended[1]["shortages"], json!([{"productId": product, "requested": 1, "available": 0}]));
        shop.until_counts(&product, [0, 0, 1]).await?;
    }
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn two_lines_of_one_product_are_one_wish() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("two-lines", 10).await?;

    let fits = shop.placed(&shop::order(&[("two-lines", 3), ("two-lines", 4)], Some("tok_ok"))).await?;
    assert_eq!(shop.settled(&fits).await?["status"], "confirmed");
    shop.until_counts("two-lines", [3, 0, 7]).await?;

    // Each line alone would fit.
    let too_much = shop.placed(&shop::order(&[("two-lines", 2), ("two-lines", 2)], Some("tok_ok"))).await?;
    let rejected = shop.settled(&too_much).await?;
    assert_eq!(rejected["status"], "rejected");
    assert_eq!(rejected["shortages"], json!([{"productId": "two-lines", "requested": 4, "available": 3}]));
    assert_eq!(shop.counts("two-lines").await?, [3, 0, 7]);
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn an_order_takes_all_of_its_products_or_none() -> anyhow::Result<()> {
    let shop = visit().await?;
    shop.put_stock("plenty", 100).await?;
    shop.put_stock("scarce", 3).await?;
    // In both orders of the products: whoever locks them in its own would come to a deadlock.
    let wishes = (0..20).map(|number| match number % 2 {
        0 => shop::order(&[("plenty", 1), ("scarce", 1)], Some("tok_ok")),
        _ => shop::order(&[("scarce", 1), ("plenty", 1)], Some("tok_ok")),
    });
    let client = shop.to(Service::Order)?;
    let mut confirmed = 0;
    for answer in at_once(wishes.map(|order| client.post("/orders").json(&order))).await? {
        let ended = shop.settled(&shop::id(&answer.expect(201)?.json()?)?).await?;
        confirmed += usize::from(ended["status"] == "confirmed");
    }
    assert_eq!(confirmed, 3);
    shop.until_counts("plenty", [97, 0, 3]).await?;
    shop.until_counts("scarce", [0, 0, 3]).await?;
    shop.system.audit_in_use().await
}

#[tokio::test]
async fn a_storm_of_orders_for_the_last_units_sells_exactly_those() -> anyhow::Result<()> {
    let shop = visit().await?;
    let (orders, units) = STORM;
    shop.put_stock("storm", units).await?;
    let client = shop.to(Service::Order)?;
    let order = shop::order(&[("storm", 1)], Some("tok_ok"));

    let placed = at_once((0..orders).map(|_| client.post("/orders").json(&order))).await?;

    let mut ended = Vec::with_capacity(orders);
    for answer in placed {
        ended.push(shop.settled(&shop::id(&answer.expect(201)?.json()?)?).await?);
    }
    let with = |status: &str| ended.iter().filter(|order| order["status"] == status).count();
    assert_eq!((with("confirmed"), with("rejected")), (usize::try_from(units)?, orders - usize::try_from(units)?));
    shop.until_counts("storm", [0, 0, units]).await?;
    shop.system.audit_in_use().await
}
