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
pub const START_DEADLINE: Duration = Duration::from_mins(1);

/// What an operator says when it begins to work.
pub const WORKS: &str = "looking after order systems";

static SHARED: OnceCell<Site> = OnceCell::const_new();
static BARE: OnceCell<Node> = OnceCell::const_new();

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
        let node = api_server().await?;
        let mut operator = operator(&node, &[])?;
        operator.says(WORKS, START_DEADLINE).await?;
        Ok(Self { node, operator })
    }

    /// A namespace with the Secret that `system` names.
    pub async fn namespace(&self, database: &str) -> anyhow::Result<Namespace<'_>> {
        Namespace::new(&self.node, database).await
    }
}

/// An API server that knows order systems.
async fn api_server() -> anyhow::Result<Node> {
    let node = Node::control_plane().await?;
    node.apply(&::operator::crd()).await?;
    let crd = "crd/ordersystems.ordersystem.dev";
    node.kubectl(&["wait", "--for=condition=Established", crd, "--timeout=30s"]).await?;
    Ok(node)
}

/// The API server that those tests share that have operators of their own, each for its namespace.
pub async fn bare() -> anyhow::Result<&'static Node> {
    BARE.get_or_try_init(api_server).await
}

/// Starts an operator that may do everything.
pub fn operator(node: &Node, arguments: &[&str]) -> anyhow::Result<Program> {
    operator_as(node.kubeconfig(), arguments)
}

/// Starts an operator that may do what whom `kubeconfig` lets in may do.
pub fn operator_as(kubeconfig: &Path, arguments: &[&str]) -> anyhow::Result<Program> {
    Program::start("operator", |command| {
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).env("KUBECONFIG", kubeconfig)
    })
}

/// The metrics of an operator.
pub async fn metrics(operator: &Program) -> anyhow::Result<String> {
    let log = operator.log();
    let line = log.lines().rfind(|line| line.contains("serving HTTP")).context("it serves HTTP")?;
    let address = line.rsplit("address=").next().context("its address")?.trim();
    let client = tests::http::Client::new(format!("http://{address}"));
    Ok(client.get("/actuator/prometheus").await?.expect(200)?.text())
}

/// A namespace of a test's own.
pub struct Namespace<'a> {
    pub node: &'a Node,
    pub name: String,
}

impl<'a> Namespace<'a> {
    /// A new one with the Secret that `system` names.
    pub async fn new(node: &'a Node, database: &str) -> anyhow::Result<Self> {
        let name = unique_name();
        node.kubectl(&["create", "namespace", &name]).await?;
        let namespace = Self { node, name };
        namespace.set_database(database).await?;
        Ok(namespace)
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["--namespace", self.name.as_str()];
        all.extend(arguments);
        self.node.kubectl(&all).await
    }

    pub async fn apply(&self, manifest: &Value) -> anyhow::Result<()> {
        let mut manifest = manifest.clone();
        manifest["metadata"]["namespace"] = Value::from(self.name.clone());
        self.node.apply(&manifest.to_string()).await.map(drop)
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

    /// What the pods of a service are told, as its Deployment is now.
    pub async fn configuration(&self, service: &str) -> anyhow::Result<Value> {
        let deployment = self.get(&format!("deployment/shop-{service}")).await?;
        let name = "/spec/template/spec/containers/0/envFrom/0/configMapRef/name";
        let name = deployment.pointer(name).and_then(Value::as_str).context("it names one")?;
        Ok(self.get(&format!("configmap/{name}")).await?["data"].take())
    }

    /// Waits until a service is told `value` by the configuration that its pods read.
    pub async fn until_told(&self, service: &str, name: &str, value: &str) -> anyhow::Result<()> {
        eventually(DEADLINE, &format!("{service} is told {name}={value}"), async || {
            let told = self.configuration(service).await?;
            ensure!(told[name] == value, "{told}");
            Ok(())
        })
        .await
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

/// What `spec.services` says when no pods are wanted, so that the system is ready where none can run.
pub fn no_pods() -> Value {
    let none = serde_json::json!({"replicas": 0});
    serde_json::json!({"order": none, "inventory": none, "payment": none, "notification": none})
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
