//! A node with the operator on it, what order systems rest on, and order systems that run in its pods.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ordersystem::postgres::Options;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::Node;
use crate::http::Client;
use crate::kafka::Kafka;
use crate::postgres::{Server, TestDatabase};
use crate::{books, eventually, image, program, unique_name};

/// How long pods may take to run and be ready, on a busy machine.
pub const DEADLINE: Duration = Duration::from_mins(3);

/// Seconds after which a rollout counts as stuck: more than pods take to start on a busy machine, and no more.
const STUCK_SECONDS: u16 = 30;

/// How long the audit may wait until nothing is on its way, in seconds.
const AUDIT_WAIT_SECONDS: u64 = 90;

/// The tags of the image: the same program under two names, so that one can be rolled to the other.
pub const TAGS: [&str; 2] = ["one", "two"];

static SITE: OnceCell<Site> = OnceCell::const_new();

/// Systems that run at once: a node has two processors.
static SYSTEMS: Semaphore = Semaphore::const_new(1);

/// A node with the operator, and what order systems rest on.
#[derive(Debug)]
pub struct Site {
    /// The node.
    pub node: Node,
    /// The broker.
    pub kafka: Kafka,
    host: Ipv4Addr,
    server: Server,
}

impl Site {
    /// The node that all tests share.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        SITE.get_or_try_init(Self::start).await
    }

    async fn start() -> anyhow::Result<Self> {
        let node = Node::up().await?;
        let host = node.host()?;
        let binary = program::executable()?;
        for tag in TAGS {
            node.load(image::build(&binary, tag).await?.archive()).await?;
        }
        let kafka = Kafka::start_for_pods(host).await?;
        let server = Server::start(Options { also_listen: vec![host.into()], ..Options::default() }).await?;
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/ordersystem-operator");
        let chart = chart.to_str().context("a path that is text")?;
        let values = format!("image.tag={},progressDeadlineSeconds={STUCK_SECONDS}", TAGS[0]);
        let namespace = ["--namespace=ordersystem-operator", "--create-namespace"];
        let mut install = vec!["install", "ordersystem-operator", chart, "--set", &values, "--wait", "--timeout=170s"];
        install.extend(namespace);
        node.helm(&install).await?;
        Ok(Self { node, kafka, host, server })
    }

    /// Applies the example of the least that a system needs, with `change` made to it, in a namespace of its own, and
    /// waits until it is ready.
    pub async fn system(&'static self, change: impl FnOnce(&mut Value)) -> anyhow::Result<System> {
        let turn = SYSTEMS.acquire().await?;
        let database = self.server.create_database().await?;
        let namespace = unique_name();
        self.node.kubectl(&["create", "namespace", &namespace]).await?;
        let url = format!("--from-literal=uri={}", database.url_at(self.host));
        self.node.kubectl(&["create", "secret", "generic", "shop-db-app", &url, "--namespace", &namespace]).await?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/examples/minimal.yaml");
        let mut manifest: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(path)?)?;
        manifest["metadata"]["namespace"] = json!(namespace);
        manifest["spec"]["kafka"]["bootstrapServers"] = json!(self.kafka.bootstrap());
        manifest["spec"]["kafka"]["topicPrefix"] = json!(namespace);
        manifest["spec"]["lanes"] = json!(4);
        change(&mut manifest);
        let system = System { site: self, namespace, manifest, database, _turn: turn };
        let began = Instant::now();
        system.apply().await?;
        system.until_ready().await?;
        println!("ready after {:.1} s", began.elapsed().as_secs_f64());
        Ok(system)
    }
}

/// An order system that runs in pods.
#[derive(Debug)]
pub struct System {
    /// Where it runs.
    pub site: &'static Site,
    /// The namespace that it has to itself.
    pub namespace: String,
    /// What was applied, and is applied by [`apply`](Self::apply).
    pub manifest: Value,
    database: TestDatabase,
    _turn: SemaphorePermit<'static>,
}

impl System {
    /// What `kubectl` prints of its namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["--namespace", self.namespace.as_str()];
        all.extend(arguments);
        self.site.node.kubectl(&all).await
    }

    /// Applies its manifest as it is now.
    pub async fn apply(&self) -> anyhow::Result<()> {
        self.site.node.apply(&self.manifest.to_string()).await.map(drop)
    }

    /// An object of its namespace, `kind/name`.
    pub async fn get(&self, what: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["get", what, "--output=json"]).await?)?)
    }

    /// Waits until the operator says that its present spec is all there.
    pub async fn until_ready(&self) -> anyhow::Result<()> {
        eventually(DEADLINE, "the system is ready", async || {
            let system = self.get("ordersystem/shop").await?;
            let conditions = system["status"]["conditions"].as_array().context("no conditions")?;
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("not said")?;
            let current = ready["observedGeneration"] == system["metadata"]["generation"];
            ensure!(current && ready["status"] == "True", "{ready}");
            Ok(())
        })
        .await
    }

    /// Speaks to a service through its Service, by the address that pods use too.
    pub async fn client(&self, service: &str) -> anyhow::Result<Client> {
        let address = self.get(&format!("service/shop-{service}")).await?["spec"]["clusterIP"].clone();
        Ok(Client::new(format!("http://{}", address.as_str().context("an address")?)))
    }

    /// Waits until nothing is on its way, and audits the books.
    pub async fn balanced(&self) -> anyhow::Result<()> {
        books::balanced(&self.database, AUDIT_WAIT_SECONDS).await
    }

    /// Deletes it, and waits until its pods are gone.
    pub async fn delete(self) -> anyhow::Result<()> {
        self.kubectl(&["delete", "ordersystem/shop"]).await?;
        eventually(DEADLINE, "its pods are gone", async || {
            let left = self.kubectl(&["get", "pods,deployments,services,configmaps", "--output=name"]).await?;
            let left: Vec<&str> = left.lines().filter(|name| !name.contains("kube-root-ca")).collect();
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .await
    }
}
