//! Paths and queries that lead nowhere.

use hyper::Method;
use serde_json::json;
use tests::system::Service;

use super::{Alone, NO_ORDER};

#[tokio::test]
async fn what_nobody_has_made_is_not_found() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let client = alone.shop.to(Service::Order)?;
    let paths = ["/orders/", "/payments/", "/notifications/"].map(|list| format!("{list}{NO_ORDER}"));
    let more = ["/inventory/unheard-of", "/inventory/unheard-of/movements", "/nothing", "/v1/nothing", "/v2/orders"];
    let more = more.into_iter().map(str::to_owned).chain([format!("/orders/{NO_ORDER}/events")]);
    let read = paths.into_iter().chain(more).map(|path| (path.clone(), client.get(&path)));
    alone.refused(404, "not-found", read).await?;

    let lines = json!({"lines": [{"productId": "cup", "quantity": 1, "unitPrice": 250}]});
    let order = format!("/orders/{NO_ORDER}");
    let written = [
        ("amend", client.put(&order).header("If-Match", "*").json(&lines)),
        ("cancel", client.post(&format!("{order}/cancel")).json(&json!({"reason": "no"}))),
        ("pay", client.post("/payments").json(&json!({"orderId": NO_ORDER, "token": "tok_ok"}))),
        ("adjust", client.post("/inventory/unheard-of/adjustments").json(&json!({"delta": 1, "reason": "found"}))),
    ];
    alone.refused(404, "not-found", written).await.map(drop)
}

#[tokio::test]
async fn an_id_that_can_be_none_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let client = alone.shop.to(Service::Order)?;
    let mut paths = Vec::new();
    for id in ["order-7", "0197aaaa-0000-7000-8000", "%00", "%FF"] {
        let lists = ["/orders/{}", "/orders/{}/events", "/payments/{}", "/notifications/{}", "/payments?orderId={}"];
        paths.extend(lists.map(|list| list.replace("{}", id)));
    }
    let long = "x".repeat(129);
    for product in ["a%00b", "a%0Ab", "a%20b", "%C2%A0", "%FF", "%E2%80%AE", long.as_str()] {
        paths.extend(["/inventory/{}", "/inventory/{}/movements"].map(|list| list.replace("{}", product)));
    }
    let reads: Vec<_> = paths.iter().map(|path| (path, client.get(path))).collect();
    alone.refused(400, "malformed-request", reads).await?;
    let count = client.put("/inventory/a%00b").json(&json!({"onHand": 1}));
    alone.refused(400, "malformed-request", [("count", count)]).await.map(drop)
}

#[tokio::test]
async fn a_query_that_cannot_be_meant_is_refused() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    alone.shop.put_stock("queried", 1).await?;
    let order = alone.reserved("queried-too").await?;
    let client = alone.shop.to(Service::Order)?;
    let events = format!("/orders/{order}/events");
    let lists = ["/orders", "/inventory", "/notifications", "/inventory/queried/movements", &events];
    let anywhere =
        ["limit=0", "limit=201", "limit=-1", "limit=many", "cursor=!", "cursor=%FF", "cursor=c29vbg", "colour=red"];
    let mut paths: Vec<String> =
        lists.iter().flat_map(|list| anywhere.map(|query| format!("{list}?{query}"))).collect();
    let orders =
        ["status=lost", "customerId=", "productId=a%00b", "placedAfter=soon", "placedBefore=1969-12-31T00:00:00Z"];
    paths.extend(orders.map(|query| format!("/orders?{query}")));
    paths.extend(["status=lost", "orderId=7"].map(|query| format!("/notifications?{query}")));
    paths.extend(["/payments".to_owned(), format!("/payments?orderId={order}&colour=red")]);
    // A product's name can be anything, and so can a cursor of the list of products.
    paths.retain(|path| path != "/inventory?cursor=c29vbg");
    let reads: Vec<_> = paths.iter().map(|path| (path, client.get(path))).collect();
    alone.refused(400, "malformed-request", reads).await.map(drop)
}

#[tokio::test]
async fn a_method_that_a_path_does_not_know_is_refused_with_those_it_does() -> anyhow::Result<()> {
    let alone = Alone::enter().await?;
    let client = alone.shop.to(Service::Order)?;
    let order = format!("/orders/{NO_ORDER}");
    let paths: [(Method, &str, &[&str]); 8] = [
        (Method::DELETE, "/orders", &["GET", "HEAD", "POST"]),
        (Method::DELETE, &order, &["GET", "HEAD", "PUT"]),
        (Method::PATCH, "/v1/orders", &["GET", "HEAD", "POST"]),
        (Method::GET, &format!("{order}/cancel"), &["POST"]),
        (Method::POST, "/inventory/cup", &["GET", "HEAD", "PUT"]),
        (Method::GET, "/inventory/cup/adjustments", &["POST"]),
        (Method::PUT, "/payments", &["GET", "HEAD", "POST"]),
        (Method::POST, "/actuator/health", &["GET", "HEAD"]),
    ];
    alone
        .refused(
            405,
            "method-not-allowed",
            paths.iter().map(|(method, path, _)| (path, client.call(method.clone(), path))),
        )
        .await?;
    for (method, path, allowed) in paths {
        let answer = client.call(method, path).await?;
        let mut told: Vec<_> = answer.header("allow").unwrap_or_default().split(',').map(str::trim).collect();
        told.sort_unstable();
        assert_eq!(told, allowed, "{path}");
    }
    Ok(())
}
