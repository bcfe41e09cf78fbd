//! `ordersystem roles`: SQL that gives each service a role of its own, which gets at its own tables and at no others'.

use clap::Args;

/// What the names of the roles begin with, unless they are told to begin otherwise.
const PREFIX: &str = "ordersystem";

/// Settings of `ordersystem roles`.
#[derive(Args, Clone, Debug)]
pub struct RolesSettings {
    /// What the roles' names begin with: lower-case letters, digits and underscores. A server's databases share its roles
    #[arg(long, value_parser = prefix, default_value = PREFIX)]
    pub prefix: String,
}

/// Each service and the schemas that are its own.
const OWNERS: [(&str, &[&str]); 4] = [
    ("order", &[order::SCHEMA, order::VIEW_SCHEMA]),
    ("inventory", &[inventory::SCHEMA, inventory::VIEW_SCHEMA]),
    ("payment", &[payment::SCHEMA, payment::gateway::simulated::SCHEMA]),
    ("notification", &[notification::SCHEMA]),
];

const HEAD: &str = "\
-- A role for each service of an order system over Kafka. Run it once on the system's new database, before the services
-- start, as who owns the database and may create roles:
--     ordersystem roles | psql DATABASE
-- Then give each role its password, and each service its role in ORDERSYSTEM_DATABASE_URL. A service makes and migrates
-- the tables of its own schemas. Who has run this can use all of them, so `ordersystem audit` runs as that.
BEGIN;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
";

/// A role's name begins like this if it may begin with `text`.
fn prefix(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_name = text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(plain);
    is_name.then(|| text.to_owned()).ok_or_else(|| "must be lower-case letters, digits and underscores".to_owned())
}

/// The SQL.
pub fn sql(settings: &RolesSettings) -> String {
    let roles = OWNERS.map(|(service, schemas)| role(&format!("{}_{service}", settings.prefix), schemas));
    format!("{HEAD}{}COMMIT;\n", roles.concat())
}

fn role(name: &str, schemas: &[&str]) -> String {
    let role = format!("CREATE ROLE {name} LOGIN;\nGRANT {name} TO CURRENT_USER;\n");
    schemas.iter().fold(role, |sql, schema| sql + &format!("CREATE SCHEMA {schema} AUTHORIZATION {name};\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_name() {
        assert_eq!(prefix("shop_2").as_deref(), Ok("shop_2"));
        for bad in ["", "2shop", "Shop", "shop; DROP", "shop-2", "\"shop"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_service_owns_its_schemas() {
        let sql = sql(&RolesSettings { prefix: "shop".to_owned() });
        assert!(sql.contains("CREATE ROLE shop_payment LOGIN;\nGRANT shop_payment TO CURRENT_USER;\n"), "{sql}");
        assert!(sql.contains("CREATE SCHEMA provider AUTHORIZATION shop_payment;\n"), "{sql}");
    }
}
