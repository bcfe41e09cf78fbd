//! What the tests of this process share: an API server, an operator that looks after all namespaces, and what the systems
//! in them rest on.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::cluster::Node;
use tests::eventually;
use tests::kafka::Kafka;
use tests::postgres::TestDatabase;
use tests::program::Program;
use tests::unique_name;
use tokio::sync::OnceCell;

/// How long the operator may take to do anything, on a busy machine: it mostly takes under a second.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long the operator may take until it looks after systems.
const START_DEADLINE: Duration = Duration::from_mins(1);

static SHARED: OnceCell<Site> = OnceCell::const_new();

/// An API server and an operator.
pub struct Site {
    pub node: Node,
    pub operator: Program,
}

impl Site {
    /// The site that all tests share but those that count.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        SHARED.get_or_try_init(Self::start).await
    }

    /// A site of a test's own.
    pub async fn start() -> anyhow::Result<Self> {
        let node = Node::control_plane().await?;
        node.apply(&operator::crd()).await?;
        let crd = "crd/ordersystems.ordersystem.dev";
        node.kubectl(&["wait", "--for=condition=Established", crd, "--timeout=30s"]).await?;
        let mut operator = Program::start("operator", |command| {
            command.args(["--listen", "127.0.0.1:0"]).env("KUBECONFIG", node.kubeconfig())
        })?;
        operator.says("looking after order systems", START_DEADLINE).await?;
        Ok(Self { node, operator })
    }

    /// The port that the operator tells its health and metrics at.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let log = self.operator.log();
        let line = log.lines().find(|line| line.contains("serving HTTP")).context("it serves HTTP")?;
        let address = line.rsplit("address=").next().context("its address")?.trim();
        let client = tests::http::Client::new(format!("http://{address}"));
        Ok(client.get("/actuator/prometheus").await?.expect(200)?.text())
    }

    /// A namespace with the Secret that `system` names.
    pub async fn namespace(&self, database: &str) -> anyhow::Result<Namespace<'_>> {
        let name = unique_name();
        self.node.kubectl(&["create", "namespace", &name]).await?;
        let namespace = Namespace { site: self, name };
        namespace.set_database(database).await?;
        Ok(namespace)
    }
}

/// A namespace of a test's own.
pub struct Namespace<'a> {
    pub site: &'a Site,
    pub name: String,
}

impl Namespace<'_> {
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["--namespace", self.name.as_str()];
        all.extend(arguments);
        self.site.node.kubectl(&all).await
    }

    pub async fn apply(&self, manifest: &Value) -> anyhow::Result<()> {
        let mut manifest = manifest.clone();
        manifest["metadata"]["namespace"] = Value::from(self.name.clone());
        self.site.node.apply(&manifest.to_string()).await.map(drop)
    }

    pub async fn set_database(&self, url: &str) -> anyhow::Result<()> {
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db-app"}, "stringData": {"uri": url},
        });
        self.apply(&secret).await
    }

    pub async fn get(&self, what: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["get", what, "--output=json"]).await?)?)
    }

    /// The names of all objects of these kinds, `kind/name`.
    pub async fn names(&self, kinds: &str) -> anyhow::Result<Vec<String>> {
        let selector = "--selector=app.kubernetes.io/managed-by=ordersystem-operator";
        let listed = self.kubectl(&["get", kinds, selector, "--output=name"]).await?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Waits until a condition of the system is so, and hands it on.
    pub async fn until(&self, kind: &str, status: &str, reason: &str) -> anyhow::Result<Value> {
        eventually(DEADLINE, &format!("{kind} is {status}, {reason}"), async || {
            let system = self.get("ordersystem/shop").await?;
            let conditions = system["status"]["conditions"].as_array().context("no conditions")?;
            let condition = conditions.iter().find(|condition| condition["type"] == kind).context("not said")?;
            ensure!(condition["status"] == status && condition["reason"] == reason, "{condition}");
            ensure!(condition["observedGeneration"] == system["metadata"]["generation"], "of an old generation");
            Ok(condition.clone())
        })
        .await
    }

    /// Waits until something is so that is read from an object.
    pub async fn until_object(
        &self,
        what: &str,
        sentence: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        eventually(DEADLINE, sentence, async || {
            let object = self.get(what).await?;
            ensure!(holds(&object), "{object}");
            Ok(object)
        })
        .await
    }
}

/// A small system named `shop` on these brokers.
pub fn shop(kafka: &str) -> Value {
    serde_json::json!({
        "apiVersion": "ordersystem.dev/v1alpha1",
        "kind": "OrderSystem",
        "metadata": {"name": "shop"},
        "spec": {
            "lanes": 4,
            "kafka": {"bootstrapServers": kafka, "topicPrefix": unique_name(), "replicationFactor": 1},
            "database": {"urlSecret": {"name": "shop-db-app"}},
        },
    })
}

/// A namespace with a system in it whose topics and database are there.
pub async fn made() -> anyhow::Result<(Namespace<'static>, Value, TestDatabase)> {
    let database = TestDatabase::create().await?;
    let namespace = Site::shared().await?.namespace(database.url()).await?;
    let system = shop(Kafka::shared().await?.bootstrap());
    namespace.apply(&system).await?;
    namespace.until("TopicsReady", "True", "Found").await?;
    namespace.until("Ready", "False", "Progressing").await?;
    Ok((namespace, system, database))
}

/// A file of the project.
pub fn file(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).context(path.to_owned())
}
