//! One process of a system.

use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::sync::Mutex as AsyncMutex;

use crate::eventually;
use crate::http::Client;
use crate::program::Program;

/// How long a process may take until it is ready: two cores may be starting a dozen.
const READY_DEADLINE: Duration = Duration::from_mins(1);

/// One process of a system, to be mistreated. While it is down, no [`Shop`] goes there.
#[derive(Debug)]
pub struct Replica {
    program: AsyncMutex<Program>,
    /// What it says in front of its address.
    greeting: &'static str,
    pub(super) door: Arc<Door>,
}

impl Replica {
    /// Starts a program and waits until it says where it answers and that it is ready.
    pub(super) async fn start(
        executable: &str,
        subcommand: &str,
        greeting: &'static str,
        configure: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        let mut program = Program::start_of(executable, subcommand, |command| {
            configure(command);
            command
        })?;
        let door = Arc::new(Door::default());
        door.open(address(&mut program, greeting).await?);
        let replica = Self { program: AsyncMutex::new(program), greeting, door };
        replica.wait_until_ready().await?;
        Ok(replica)
    }

    /// Speaks to this very replica.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.door.address().context("it is down")?))
    }

    /// Waits until it says that it is ready.
    pub async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let client = self.client()?;
        let ready = async || client.get("/actuator/health/readiness").await?.expect(200).map(drop);
        eventually(READY_DEADLINE, "a replica is ready", ready).await
    }

    /// Ends it as kill -9 does.
    pub async fn kill_9(&self) -> anyhow::Result<()> {
        self.door.close();
        self.program.lock().await.kill_9().await
    }

    /// Ends it in good order, which has to succeed.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        self.door.close();
        let status = self.program.lock().await.terminate().await?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    /// Starts it again after it has ended, at another address, and waits until it is ready.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        let mut program = self.program.lock().await;
        program.start_again()?;
        self.door.open(address(&mut program, self.greeting).await?);
        self.wait_until_ready().await
    }

    /// Starts it again after it has ended, with a variable that holds for this life only, and waits until it says where
    /// it answers. It need not be ready: what it rests on may be away.
    pub async fn launch_again(&self, variable: Option<(&str, &str)>) -> anyhow::Result<()> {
        let mut program = self.program.lock().await;
        if let Some((name, value)) = variable {
            program.set(name, Some(value));
        }
        let started = program.start_again();
        if let Some((name, _)) = variable {
            program.set(name, None);
        }
        started?;
        self.door.open(address(&mut program, self.greeting).await?);
        Ok(())
    }

    /// How it ended, if it has.
    pub async fn has_ended(&self) -> anyhow::Result<Option<ExitStatus>> {
        let ended = self.program.lock().await.has_ended()?;
        if ended.is_some() {
            self.door.close();
        }
        Ok(ended)
    }

    /// What it has written since its last start.
    pub async fn log_since_start(&self) -> String {
        self.program.lock().await.log_since_start()
    }

    /// Stops it in its tracks (SIGSTOP), until [`cont`](Self::cont).
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.door.close();
        self.program.lock().await.stop()
    }

    /// Lets it go on after [`stop`](Self::stop).
    pub async fn cont(&self) -> anyhow::Result<()> {
        let mut program = self.program.lock().await;
        program.cont()?;
        self.door.open(address(&mut program, self.greeting).await?);
        Ok(())
    }

    /// The id of its process.
    pub async fn process_id(&self) -> u32 {
        self.program.lock().await.process_id()
    }

    /// What it has written, over all its starts.
    pub async fn log(&self) -> String {
        self.program.lock().await.log()
    }

    /// What it has written, unless somebody mistreats it at this moment.
    pub(crate) fn log_now(&self) -> Option<String> {
        Some(self.program.try_lock().ok()?.log())
    }
}

/// Where a replica answers, unless it is down.
#[derive(Debug, Default)]
pub(crate) struct Door(Mutex<Option<String>>);

impl Door {
    pub(crate) fn address(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open(&self, address: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The address that a program says after `greeting`, since its last start.
async fn address(program: &mut Program, greeting: &str) -> anyhow::Result<String> {
    let line = program.says(greeting, READY_DEADLINE).await?;
    let (_, said) = line.split_once(greeting).context("it says so")?;
    let address = said.split_whitespace().next().context("an address follows")?;
    Ok(if address.starts_with("http") { address.to_owned() } else { format!("http://{address}") })
}
