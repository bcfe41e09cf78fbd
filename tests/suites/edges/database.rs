//! Who claims to be the database: a certificate is checked unless the settings say otherwise.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use ordersystem::postgres::Options;
use tests::kafka::stranger;
use tests::postgres::{Server, TestDatabase};
use tests::program::Program;
use tests::{Folder, eventually};

/// The name in the database's certificate.
const NAME: &str = "db.shop.example";
/// How long a service may take to start, or to give up.
const DEADLINE: Duration = Duration::from_secs(30);

/// A database that speaks TLS, and the authority of its certificate.
struct Secured {
    database: TestDatabase,
    ca: PathBuf,
    folder: Folder,
    // After its database, which is dropped on it.
    _server: Server,
}

impl Secured {
    async fn start() -> anyhow::Result<Self> {
        let server = Server::start(Options::default()).await?;
        let folder = Folder::new("authority")?;
        let ca = folder.path().join("ca.crt");
        let (certificate, key) = certified(folder.path())?;
        let database = server.create_database().await?;
        let client = database.connect().await?;
        for (file, content) in [("server.crt", certificate), ("server.key", key)] {
            // It is the server's account that has to own them, and nobody else may read the key.
            let lines = format!("SELECT unnest(string_to_array('{}', E'\\n'))", content.trim());
            client.batch_execute(&format!("COPY ({lines}) TO PROGRAM 'umask 077; cat > {file}'")).await?;
        }
        client.batch_execute("ALTER SYSTEM SET ssl = on").await?;
        client.batch_execute("SELECT pg_reload_conf()").await?;
        Ok(Self { database, ca, folder, _server: server })
    }

    /// A service that is told to use it as it is known on `host`, with more of a query.
    fn service(&self, host: &str, query: &str, ca: Option<&Path>) -> anyhow::Result<Program> {
        Program::start("notification", |command| {
            command.args(["--listen", "127.0.0.1:0", "--database", &self.database.url_as(host, query)]);
            if let Some(ca) = ca {
                command.arg("--database-ca-file").arg(ca);
            }
            command
        })
    }

    /// Starts a service that has to do without the database, and hands on what it says.
    async fn refused(&self, host: &str, query: &str, ca: Option<&Path>) -> anyhow::Result<String> {
        let mut service = self.service(host, query, ca)?;
        let status = service.ended(DEADLINE).await?;
        let log = service.log();
        ensure!(status.code() == Some(1), "it ended with {status}");
        ensure!(!log.contains("panicked") && !log.contains("serving HTTP"), "it does not give up in good order");
        Ok(log)
    }

    /// Starts a service that has to get on with the database; what it says, and whether its connections are encrypted.
    async fn accepted(&self, host: &str, query: &str, ca: Option<&Path>) -> anyhow::Result<(String, bool)> {
        let mut service = self.service(host, query, ca)?;
        service.says("serving HTTP", DEADLINE).await?;
        let sql = "SELECT count(*), count(*) FILTER (WHERE ssl)
                   FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'notifications%'";
        let client = self.database.connect().await?;
        let is_encrypted = eventually(DEADLINE, "it is connected", async || {
            let row = client.query_one(sql, &[]).await?;
            let (all, encrypted): (i64, i64) = (row.get(0), row.get(1));
            ensure!(all > 0 && (encrypted == 0 || encrypted == all), "{encrypted} of {all} connections are encrypted");
            Ok(encrypted > 0)
        });
        Ok((service.log(), is_encrypted.await?))
    }
}

/// Makes an authority in `folder`, and a certificate of its for [`NAME`]; that and its key, PEM.
fn certified(folder: &Path) -> anyhow::Result<(String, String)> {
    let new = ["-newkey", "rsa:2048", "-nodes", "-batch"];
    openssl(
        folder,
        &[&["req", "-x509", "-days", "30", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"], &new[..]],
    )?;
    let subject = format!("/CN={NAME}");
    openssl(folder, &[&["req", "-subj", &subject, "-keyout", "db.key", "-out", "db.csr"], &new[..]])?;
    std::fs::write(folder.join("names"), format!("subjectAltName=DNS:{NAME}"))?;
    let authority = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(
        folder,
        &[&["x509", "-req", "-in", "db.csr", "-days", "30", "-extfile", "names", "-out", "db.crt"], &authority[..]],
    )?;
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).context("it is made");
    Ok((read("db.crt")?, read("db.key")?))
}

fn openssl(folder: &Path, arguments: &[&[&str]]) -> anyhow::Result<()> {
    let output = Command::new("openssl").args(arguments.concat()).current_dir(folder).output()?;
    ensure!(output.status.success(), "`openssl` failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn a_database_is_believed_only_with_a_good_certificate() -> anyhow::Result<()> {
    let secured = Secured::start().await?;
    let ca = Some(secured.ca.as_path());
    let strange = secured.folder.path().join("stranger.crt");
    std::fs::write(&strange, stranger()?)?;

    // Its authority is known, and it is who it should be.
    for query in ["", "&sslmode=require", "&sslmode=verify-full"] {
        let (log, is_encrypted) = secured.accepted(NAME, query, ca).await?;
        ensure!(is_encrypted && !log.contains(" WARN "), "{query}: {log}");
    }
    // Nobody knows its authority, or another than ours: also when the URL says nothing of TLS.
    for (query, ca) in [("", None), ("&sslmode=require", None), ("", Some(strange.as_path()))] {
        let log = secured.refused(NAME, query, ca).await?;
        ensure!(log.contains("certificate verify failed"), "{query} {ca:?}: {log}");
    }
    // It is somebody else.
    for query in ["", "&sslmode=require", "&sslmode=verify-ca"] {
        let log = secured.refused("other.shop.example", query, ca).await?;
        ensure!(log.contains("certificate verify failed") && log.contains("hostname mismatch"), "{query}: {log}");
    }
    // Who asks for it gets a certificate that nobody checks, and is told.
    let (log, is_encrypted) = secured.accepted("other.shop.example", "&sslmode=prefer", None).await?;
    ensure!(is_encrypted && log.contains("certificate is not checked"), "{log}");
    let (log, is_encrypted) = secured.accepted(NAME, "&sslmode=disable", None).await?;
    ensure!(!is_encrypted && log.contains("not encrypted"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_database_without_tls_is_refused_by_who_insists_and_warned_of_otherwise() -> anyhow::Result<()> {
    let database = TestDatabase::create().await?;
    let start = |query: &str| {
        let url = database.url_as(NAME, query);
        Program::start("notification", |command| command.args(["--listen", "127.0.0.1:0", "--database", &url]))
    };
    let mut insisting = start("&sslmode=require")?;
    ensure!(insisting.ended(DEADLINE).await?.code() == Some(1), "it goes on");
    ensure!(insisting.log().contains("server does not support TLS"), "{}", insisting.log());
    let mut warned = start("")?;
    warned.says("the connection to the database is not encrypted", DEADLINE).await?;
    warned.says("serving HTTP", DEADLINE).await?;
    Ok(())
}
