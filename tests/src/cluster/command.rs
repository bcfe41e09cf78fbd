//! A program that is run to its end, for what it prints.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;

/// Runs `command` with `input` on its standard input and hands on what it prints. An error has its name, its arguments
/// and what it complained of; it is killed if it is not done within `deadline`.
pub(crate) async fn output(command: Command, input: &str, deadline: Duration) -> anyhow::Result<String> {
    let words = words(&command);
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("`{words}` cannot be started"))?;
    let (fed, output) = tokio::time::timeout(deadline, async {
        // At once, because it may print before it has read everything.
        let stdin = child.stdin.take();
        tokio::join!(feed(stdin, input), child.wait_with_output())
    })
    .await
    .with_context(|| format!("`{words}` is not done after {deadline:?}"))?;
    let output = output.with_context(|| format!("`{words}` was lost"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{words}` failed ({}): {}", output.status, complaint.trim());
    fed.with_context(|| format!("`{words}` does not read its input"))?;
    Ok(String::from_utf8(output.stdout)?)
}

async fn feed(stdin: Option<ChildStdin>, input: &str) -> io::Result<()> {
    match stdin {
        Some(mut stdin) if !input.is_empty() => stdin.write_all(input.as_bytes()).await,
        _ => Ok(()),
    }
}

fn words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_program_is_given_its_input_and_what_it_prints_is_handed_on() {
        let printed = output(shell("cat"), "a line\n", SOON).await;
        assert_eq!(printed.expect("it succeeds"), "a line\n");
    }

    #[tokio::test]
    async fn a_program_that_fails_is_named_with_its_complaint() {
        let error = output(shell("echo no >&2; exit 3"), "", SOON).await.expect_err("it fails");
        assert_eq!(error.to_string(), "`sh -c echo no >&2; exit 3` failed (exit status: 3): no");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_given_up() {
        let error = output(shell("exec sleep 60"), "", Duration::from_millis(50)).await.expect_err("it hangs");
        assert_eq!(error.to_string(), "`sh -c exec sleep 60` is not done after 50ms");
    }
}
