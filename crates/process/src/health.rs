//! Whether the process is alive and ready, in the shape of Spring Boot's health endpoint.
//!
//! Liveness fails only when a task that the process cannot live without has died: then a restart helps. Everything
//! else, a lost database or a backlog, fails readiness at most: a restart would not help, and would lose what is in
//! memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::lock;

/// The reason a component gives before it has said anything itself.
const STARTING: &str = "starting";

/// The health of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stop: CancellationToken,
    components: Mutex<Vec<Component>>,
    dead_task: OnceLock<&'static str>,
}

/// One part's say in the health of its process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Component(Arc<Part>);

#[derive(Debug)]
struct Part {
    name: Cow<'static, str>,
    counts_for_readiness: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    down_because: Option<&'static str>,
    details: Map<String, Value>,
}

/// How a component or the whole is; worse is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// All is well.
    Up,
    /// Well, but stopping: send no more.
    OutOfService,
    /// Not working.
    Down,
}

/// What the health endpoints answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthReport {
    /// The worst of the components.
    pub status: Status,
    /// The names under which parts of this report are found.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub groups: &'static [&'static str],
    /// Each component by its name.
    pub components: BTreeMap<String, ComponentReport>,
}

/// How one component is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComponentReport {
    /// How it is.
    pub status: Status,
    /// Why, and what helps to see why.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
}

impl Health {
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self(Arc::new(Shared { stop, components: Mutex::default(), dead_task: OnceLock::new() }))
    }

    /// A component that the process needs in order to be ready. It is down (`starting`) until it says otherwise.
    /// Several may share a name (the database of each service in one process); the report shows the worst of them.
    pub fn component(&self, name: impl Into<Cow<'static, str>>) -> Component {
        self.add(name.into(), true)
    }

    /// A component that is reported but does not count for readiness: the process can do useful work without it.
    pub fn optional_component(&self, name: impl Into<Cow<'static, str>>) -> Component {
        self.add(name.into(), false)
    }

    /// Whether the process can do useful work at all; if not, it should be restarted.
    pub fn liveness(&self) -> HealthReport {
        HealthReport::of([("livenessState".into(), self.liveness_state())])
    }

    /// Whether the process should be sent requests: every component it needs is up and it is not stopping.
    pub fn readiness(&self) -> HealthReport {
        let needed = |component: &Component| component.0.counts_for_readiness;
        let own = ("readinessState".into(), self.readiness_state());
        HealthReport::of(self.reports(needed).into_iter().chain([own]))
    }

    /// Everything there is to say.
    pub fn report(&self) -> HealthReport {
        let own = [("livenessState".into(), self.liveness_state()), ("readinessState".into(), self.readiness_state())];
        let report = HealthReport::of(self.reports(|_| true).into_iter().chain(own));
        HealthReport { groups: &["liveness", "readiness"], ..report }
    }

    pub(crate) fn task_died(&self, task: &'static str) {
        // Only the first is kept: what dies after it mostly dies of it.
        let _ = self.0.dead_task.set(task);
    }

    fn add(&self, name: Cow<'static, str>, counts_for_readiness: bool) -> Component {
        let state = State { down_because: Some(STARTING), details: Map::new() };
        let part = Part { name, counts_for_readiness, state: Mutex::new(state) };
        let component = Component(Arc::new(part));
        lock(&self.0.components).push(component.clone());
        component
    }

    fn reports(&self, wanted: impl Fn(&Component) -> bool) -> Vec<(String, ComponentReport)> {
        let components = lock(&self.0.components);
        components
            .iter()
            .filter(|component| wanted(component))
            .map(|component| (component.0.name.to_string(), component.report()))
            .collect()
    }

    fn liveness_state(&self) -> ComponentReport {
        match self.0.dead_task.get() {
            None => ComponentReport::up(),
            Some(task) => ComponentReport {
                status: Status::Down,
                details: Map::from_iter([("reason".to_owned(), json!("task died")), ("task".to_owned(), json!(task))]),
            },
        }
    }

    fn readiness_state(&self) -> ComponentReport {
        let stopping = self.0.stop.is_cancelled();
        let status = if stopping { Status::OutOfService } else { Status::Up };
        ComponentReport { status, ..ComponentReport::up() }
    }
}

impl Component {
    /// It works.
    pub fn up(&self) {
        lock(&self.0.state).down_because = None;
    }

    /// It does not work; `reason` is a short phrase from a closed list, for people and alerts alike.
    pub fn down(&self, reason: &'static str) {
        lock(&self.0.state).down_because = Some(reason);
    }

    /// Shows a detail beside the status, up or down, until it is set again.
    pub fn detail(&self, name: &'static str, value: impl Into<Value>) {
        lock(&self.0.state).details.insert(name.to_owned(), value.into());
    }

    /// Whether it works.
    pub fn is_up(&self) -> bool {
        lock(&self.0.state).down_because.is_none()
    }

    fn report(&self) -> ComponentReport {
        let state = lock(&self.0.state);
        let mut report = ComponentReport { details: state.details.clone(), ..ComponentReport::up() };
        if let Some(reason) = state.down_because {
            report.status = Status::Down;
            report.details.insert("reason".to_owned(), json!(reason));
        }
        report
    }
}

impl HealthReport {
    /// The names are taken as they come; a name that comes again is merged with the one before.
    fn of(reports: impl IntoIterator<Item = (String, ComponentReport)>) -> Self {
        let mut components = BTreeMap::<String, ComponentReport>::new();
        for (name, report) in reports {
            components.entry(name).or_insert_with(ComponentReport::up).worsen(report);
        }
        let status = components.values().map(|report| report.status).max();
        Self { status: status.unwrap_or(Status::Up), groups: &[], components }
    }
}

impl ComponentReport {
    fn up() -> Self {
        Self { status: Status::Up, details: Map::new() }
    }

    fn worsen(&mut self, other: Self) {
        self.status = self.status.max(other.status);
        self.details.extend(other.details);
    }
}
