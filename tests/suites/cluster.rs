//! On a real node: the charts are installed, an order system is applied, its pods run the real program, orders go in
//! through its Services, and it is rolled, scaled and mistreated while they flow.

#[path = "cluster/load.rs"]
mod load;
#[path = "cluster/rolled.rs"]
mod rolled;
#[path = "cluster/scaled.rs"]
mod scaled;
#[path = "cluster/settled.rs"]
mod settled;
#[path = "cluster/stalled.rs"]
mod stalled;
