//! The operator before a real API server, with a real Kafka and PostgreSQL, where no pods run: what a user applies is
//! taken or refused, made, put back, changed in order, paused and removed; and at rest nothing is written.

#[path = "operator/changed.rs"]
mod changed;
#[path = "operator/deleted.rs"]
mod deleted;
#[path = "operator/elected.rs"]
mod elected;
#[path = "operator/made.rs"]
mod made;
#[path = "operator/many.rs"]
mod many;
#[path = "operator/refused.rs"]
mod refused;
#[path = "operator/rights.rs"]
mod rights;
#[path = "operator/scaled.rs"]
mod scaled;
#[path = "operator/secured.rs"]
mod secured;
#[path = "operator/site.rs"]
mod site;
#[path = "operator/stalled.rs"]
mod stalled;
