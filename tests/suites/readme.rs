//! The README is true: its commands answer as it says, in its order, and what it names is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tests::eventually;
use tests::program::Program;
use tests::system::{System, Transport};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Where the README's system answers.
const ADDRESS: &str = "localhost:8080";

/// Members whose values are others each time. What is the same in two answers of the README is the same here too.
const VOLATILE: [&str; 6] = ["id", "orderId", "placedAt", "updatedAt", "expiresAt", "createdAt"];

/// How long a command may take; one of them waits ten seconds at most.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// How long it may take until a question is answered as in the README: its reader is slower than this test.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// How long a program may take to show its help.
const HELP_DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn its_commands_answer_as_it_says() -> anyhow::Result<()> {
    let system = System::up(Transport::Log).await?;
    let client = system.process().client()?;
    let address = client.base().trim_start_matches("http://");
    let mut shell = Shell::start()?;
    let mut known = BTreeMap::new();
    let examples = examples(&readme()?)?;
    ensure!(examples.len() >= 5, "there are only {} examples", examples.len());
    for Example { command, answer } in examples {
        let command = command.replace(ADDRESS, address);
        let changes = ["PUT", "POST"].iter().any(|method| command.contains(method));
        // What changes nothing may be asked until the system has come so far.
        let deadline = if changes { Duration::ZERO } else { ANSWER_DEADLINE };
        known = eventually_or_once(deadline, &command, &mut shell, &answer, &known).await?;
    }
    system.audit().await
}

#[test]
fn what_it_tells_make_is_in_the_makefile() -> anyhow::Result<()> {
    let makefile = fs::read_to_string(root()?.join("Makefile"))?;
    let targets: Vec<String> = code(&readme()?).iter().filter_map(|line| second_word(line, &["make"])).collect();
    ensure!(!targets.is_empty(), "it tells make nothing");
    for target in targets {
        let rule = format!("{target}:");
        ensure!(makefile.lines().any(|line| line.starts_with(&rule)), "the Makefile has no {target}");
    }
    Ok(())
}

#[tokio::test]
async fn the_subcommands_that_it_names_exist() -> anyhow::Result<()> {
    let programs = ["ordersystem", "target/release/ordersystem"];
    let subcommands: Vec<String> = code(&readme()?).iter().filter_map(|line| second_word(line, &programs)).collect();
    ensure!(!subcommands.is_empty(), "it names none");
    for subcommand in subcommands {
        let mut help = Program::start(&subcommand, |program| program.arg("--help"))?;
        ensure!(help.ended(HELP_DEADLINE).await?.success(), "there is no `ordersystem {subcommand}`");
    }
    Ok(())
}

#[test]
fn what_it_links_to_is_there() -> anyhow::Result<()> {
    let text = readme()?;
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let mut files = 0;
    for target in targets.filter(|target| !target.contains("://")) {
        let path = target.split('#').next().unwrap_or(target);
        ensure!(path.is_empty() || root()?.join(path).exists(), "it links to {target}, which is not there");
        files += 1;
    }
    ensure!(files > 0, "it links to no file");
    Ok(())
}

/// A command with the answer that the README shows.
struct Example {
    command: String,
    answer: Value,
}

/// Every block of shell with `curl` in it, and the block of JSON that follows.
fn examples(text: &str) -> anyhow::Result<Vec<Example>> {
    let blocks = blocks(text);
    let mut examples = Vec::new();
    for (number, (language, command)) in blocks.iter().enumerate() {
        if *language == "sh" && command.contains("curl") {
            let next = blocks.get(number + 1).filter(|(language, _)| *language == "json");
            let (_, answer) = next.with_context(|| format!("no answer is shown to {command}"))?;
            let answer = serde_json::from_str(answer).with_context(|| format!("what follows {command}"))?;
            examples.push(Example { command: command.clone(), answer });
        }
    }
    Ok(examples)
}

/// The fenced blocks: language and content.
fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut parts = text.split("\n```");
    parts.next();
    // A fence that opens a block is followed by one that closes it.
    let inside = parts.step_by(2).filter_map(|part| part.split_once('\n'));
    inside.map(|(language, content)| (language, content.to_owned())).collect()
}

/// What is code: spans in the text, and lines of shell.
fn code(text: &str) -> Vec<String> {
    let shell = blocks(text).into_iter().filter(|(language, _)| *language == "sh");
    let lines = shell.flat_map(|(_, content)| content.lines().map(str::to_owned).collect::<Vec<_>>());
    let spans =
        text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2));
    lines.chain(spans.map(str::to_owned)).collect()
}

/// The word that follows one of `first`, if the line begins with it.
fn second_word(line: &str, first: &[&str]) -> Option<String> {
    let mut words = line.split_whitespace();
    let begins = words.next().is_some_and(|word| first.contains(&word));
    words.next().filter(|_| begins).map(str::to_owned)
}

/// What is known of volatile values: the README's, and ours.
type Known = BTreeMap<String, String>;

async fn eventually_or_once(
    deadline: Duration,
    command: &str,
    shell: &mut Shell,
    answer: &Value,
    known: &Known,
) -> anyhow::Result<Known> {
    let mut once = async || {
        let found = shell.run(command).await?;
        let found: Value = serde_json::from_str(&found).with_context(|| format!("no JSON: {found}"))?;
        let mut known = known.clone();
        alike("", answer, &found, &mut known).with_context(|| format!("the answer was {found}"))?;
        Ok(known)
    };
    if deadline.is_zero() {
        once().await.with_context(|| command.to_owned())
    } else {
        eventually(deadline, command, once).await
    }
}

/// Whether an answer is what the README shows, volatile values aside; those are added to what is known.
fn alike(at: &str, shown: &Value, found: &Value, known: &mut Known) -> anyhow::Result<()> {
    match (shown, found) {
        (Value::Object(shown), Value::Object(found)) => {
            ensure!(shown.keys().eq(found.keys()), "{at} has other members");
            for (name, shown) in shown {
                match (VOLATILE.contains(&name.as_str()), shown, &found[name]) {
                    (true, Value::String(shown), Value::String(found)) => same(name, shown, found, known)?,
                    (_, shown, found) => alike(&format!("{at}/{name}"), shown, found, known)?,
                }
            }
            Ok(())
        }
        (Value::Array(shown), Value::Array(found)) => {
            ensure!(shown.len() == found.len(), "{at} has {} entries", found.len());
            let mut pairs = shown.iter().zip(found).enumerate();
            pairs.try_for_each(|(place, (shown, found))| alike(&format!("{at}/{place}"), shown, found, known))
        }
        _ if shown == found => Ok(()),
        _ => bail!("{at} is {found}, not {shown}"),
    }
}

/// Whether a volatile value is the one that stood for the README's before, and of its kind.
fn same(name: &str, shown: &str, found: &str, known: &mut Known) -> anyhow::Result<()> {
    let is_id = |text: &str| uuid::Uuid::try_parse(text).is_ok();
    ensure!(is_id(shown) == is_id(found) && !found.is_empty(), "{name} is {found:?}");
    let before = known.entry(shown.to_owned()).or_insert_with(|| found.to_owned());
    ensure!(before == found, "{name} is {found}, where {shown} was {before} before");
    Ok(())
}

/// A shell that keeps its variables from one command to the next.
struct Shell {
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start() -> anyhow::Result<Self> {
        let mut process = Command::new("bash")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the README's commands need `bash`")?;
        let input = process.stdin.take().context("its input is a pipe")?;
        let output = BufReader::new(process.stdout.take().context("its output is a pipe")?);
        Ok(Self { _process: process, input, output })
    }

    /// Runs a command and hands on what it prints.
    async fn run(&mut self, command: &str) -> anyhow::Result<String> {
        let script = format!("{command}\nprintf '\\0'\n");
        self.input.write_all(script.as_bytes()).await?;
        let mut printed = Vec::new();
        timeout(COMMAND_DEADLINE, self.output.read_until(0, &mut printed)).await.context("it does not end")??;
        ensure!(printed.pop() == Some(0), "the shell ended");
        Ok(String::from_utf8(printed)?)
    }
}

fn readme() -> anyhow::Result<String> {
    Ok(fs::read_to_string(root()?.join("README.md"))?)
}

fn root() -> anyhow::Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?.to_path_buf())
}
