//! `make cluster`: a node with the operator and one order system on it, until Ctrl-C.

use anyhow::Context;
use tests::cluster::Site;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    eprintln!("starting a node, a broker and a database; installing the operator …");
    let site = Site::shared().await?;
    eprintln!("applying crds/examples/minimal.yaml, with this broker and database …");
    let system = site.system(|_| ()).await?;
    let config = site.node.kubeconfig().display();
    let tools = tests::cluster::programs()?;
    let orders = system.client("order").await?;
    let inventory = system.client("inventory").await?;
    println!(
        "
The order system `shop` runs in namespace {namespace}. In another terminal:

  export KUBECONFIG={config} PATH={tools}:$PATH
  kubectl config set-context --current --namespace={namespace}
  kubectl get ordersystems,pods
  kubectl describe ordersystem shop
  curl -X PUT {inventory}/inventory/cup -H 'Content-Type: application/json' -d '{{\"onHand\": 10}}'
  curl -X POST {orders}/orders -H 'Content-Type: application/json' -H 'Prefer: wait=10' -d \\
    '{{\"customerId\": \"ann\", \"currency\": \"EUR\", \"payment\": {{\"token\": \"tok_ok\"}},
      \"lines\": [{{\"productId\": \"cup\", \"quantity\": 2, \"unitPrice\": 250}}]}}'

Ctrl-C ends it all.",
        namespace = system.namespace,
        tools = tools.display(),
        orders = orders.base(),
        inventory = inventory.base(),
    );
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")
}
