//! What strangers meet: clients that are too slow, too large or too many, servers that are not who they say, and whoever
//! reads the logs, the topics and the tables.

#[path = "edges/database.rs"]
mod database;
#[path = "edges/limits.rs"]
mod limits;
#[path = "edges/privileges.rs"]
mod privileges;
#[path = "edges/secrets.rs"]
mod secrets;
