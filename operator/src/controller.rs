//! When to reconcile: whenever a system, one of its children or a Secret that it names changes, and now and then.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Client, Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller, WatchStreamExt, controller,
        controller::Action,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use process::Process;
use tokio::time::timeout;

use crate::{
    Settings,
    leader::Leadership,
    metrics::{Ended, OperatorMetrics, Reconciled},
    observe::{scope, watch},
    reconcile::{ReconcileError, Reconciler},
    resource::OrderSystem,
    validate::named,
};

/// A system, also one that cannot be read: one such must not stop the watch.
pub type Guarded = DeserializeGuard<OrderSystem>;

/// How long changes are gathered before a system is reconciled.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// How long one reconciliation may take. The client itself repeats requests for longer than anyone should wait.
const RECONCILE_TIMEOUT: Duration = Duration::from_mins(2);
/// Pause after the first failure of a system, and the longest one; each failure in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// What reconciliations share.
struct Shared {
    reconciler: Reconciler,
    systems: Store<Guarded>,
    failures: Mutex<HashMap<String, u32>>,
    metrics: OperatorMetrics,
}

/// Starts the controller; it works as long as this replica leads.
pub fn start(settings: &Settings, client: Client, leadership: Leadership, process: &Process) {
    let metrics = OperatorMetrics::register(process.metrics());
    let stop = process.stop().clone();
    let settings = settings.clone();
    process.spawn("controller", async move {
        let mut leadership = leadership;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            leads = leadership.wait_for(|leads| *leads) => if leads.is_err() {
                return Ok(());
            },
        }
        metrics.leads.set(1);
        tracing::info!(namespace = settings.watch_namespace.as_deref().unwrap_or("all"), "looking after order systems");
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            outcome = run(&settings, client, metrics) => outcome,
        }
    });
}

async fn run(settings: &Settings, client: Client, metrics: OperatorMetrics) -> Result<(), &'static str> {
    let namespace = settings.watch_namespace.as_deref();
    let (children, changed) = watch(&client, namespace);
    let systems = Controller::new(scope::<Guarded>(&client, namespace), watcher::Config::default());
    let store = systems.store();
    let shared = Arc::new(Shared {
        reconciler: Reconciler::new(client.clone(), settings, children, metrics.clone()),
        systems: store.clone(),
        failures: Mutex::default(),
        metrics,
    });
    systems
        .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(settings.concurrency))
        .reconcile_on(changed)
        .reconcile_on(secrets(&client, namespace, store))
        .run(reconcile, failed, shared)
        .for_each(|outcome| {
            if let Err(error) = outcome {
                tracing::debug!(%error, "controller");
            }
            std::future::ready(())
        })
        .await;
    Err("the watch has ended")
}

/// Systems that name a Secret which changes. Only the Secrets' metadata is read, and none of it is kept.
fn secrets(
    client: &Client,
    namespace: Option<&str>,
    systems: Store<Guarded>,
) -> impl Stream<Item = ObjectRef<Guarded>> + use<> {
    watcher(scope::<PartialObjectMeta<Secret>>(client, namespace), watcher::Config::default())
        .default_backoff()
        .touched_objects()
        .filter_map(async |secret| secret.ok())
        .flat_map(move |secret| {
            let names = |system: &Guarded| {
                let spec = system.0.as_ref().ok().map(|system| &system.spec);
                system.namespace() == secret.namespace()
                    && spec.is_some_and(|spec| named(spec).contains(&secret.name_any().as_str()))
            };
            let affected: Vec<_> =
                systems.state_filter(names).iter().map(|system| ObjectRef::from_obj(&**system)).collect();
            stream::iter(affected)
        })
}

async fn reconcile(system: Arc<Guarded>, shared: Arc<Shared>) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    shared.metrics.systems.set(i64::try_from(shared.systems.len()).unwrap_or(i64::MAX));
    shared.forget_the_gone();
    let reconciled = timeout(RECONCILE_TIMEOUT, shared.reconciler.reconcile(&system)).await;
    let (ended, outcome) = match reconciled {
        Ok(Ok((ended, next))) => (ended, Ok(next)),
        Ok(Err(error)) => (Ended::Failed, Err(error)),
        Err(_) => (Ended::Failed, Err(ReconcileError::TimedOut)),
    };
    shared.metrics.reconcile_seconds.observe(began.elapsed().as_secs_f64());
    shared.metrics.reconciled.get_or_create(&Reconciled { ended }).inc();
    if outcome.is_ok() {
        shared.failures().remove(&uid(&system));
    }
    outcome
}

/// Failures are counted per system, so that one that fails for long does not slow the others down.
#[expect(clippy::needless_pass_by_value, reason = "the controller calls it like this")]
fn failed(system: Arc<Guarded>, error: &ReconcileError, shared: Arc<Shared>) -> Action {
    let mut failures = shared.failures();
    let count = failures.entry(uid(&system)).or_default();
    let pause = FIRST_PAUSE.saturating_mul(1 << (*count).min(16)).min(LONGEST_PAUSE);
    *count += 1;
    let (namespace, name) = (system.namespace().unwrap_or_default(), system.name_any());
    tracing::warn!(namespace, name, %error, failures = *count, pause_seconds = pause.as_secs_f64(), "not reconciled; trying again");
    Action::requeue(pause.mul_f64(jitter(&uid(&system), *count)))
}

/// From 0.75 to 1.25, so that systems that failed at once are not repeated at once.
fn jitter(uid: &str, count: u32) -> f64 {
    let spread = uid.bytes().fold(count, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    0.75 + f64::from(spread % 512) / 1024.0
}

fn uid(system: &Guarded) -> String {
    system.meta().uid.clone().unwrap_or_default()
}

impl Shared {
    /// Forgets what is remembered of systems that are gone: nobody tells of their end but their absence.
    fn forget_the_gone(&self) {
        if self.reconciler.remembered() > self.systems.len() {
            let there: BTreeSet<String> = self.systems.state().iter().map(|system| uid(system)).collect();
            self.failures().retain(|uid, _| there.contains(uid));
            self.reconciler.retain(&there);
        }
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<String, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
