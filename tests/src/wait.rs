//! Waiting for what happens in another process: by looking again and again, never by sleeping and hoping.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

/// How often to look: often enough not to slow a test down, seldom enough to leave the processor to what it waits for.
const POLL: Duration = Duration::from_millis(20);

/// Asks `probe` until it succeeds and hands on what it found. When `deadline` has passed it fails with `what` was
/// waited for and the last answer.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    let mut last = anyhow!("no answer");
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(answer)) => last = answer,
            // The answer before says more than that there was none in what was left of the time.
            Err(_) => {}
        }
        if Instant::now() + POLL > end {
            return Err(last).with_context(|| format!("not within {deadline:?}: {what}"));
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[tokio::test]
    async fn what_comes_true_is_handed_on() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), "the third look", async || {
            looks += 1;
            ensure!(looks == 3, "only look {looks}");
            Ok(looks)
        });
        assert_eq!(found.await.expect("it comes true"), 3);
    }

    #[tokio::test]
    async fn what_does_not_come_true_fails_with_the_last_answer() {
        let never = eventually(Duration::from_millis(50), "a miracle", async || {
            anyhow::Result::<()>::Err(anyhow!("nothing yet"))
        });
        let error = format!("{:#}", never.await.expect_err("it does not come true"));
        assert_eq!(error, "not within 50ms: a miracle: nothing yet");
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_given_up() {
        let hangs = eventually(Duration::from_millis(50), "an answer", async || {
            std::future::pending::<anyhow::Result<()>>().await
        });
        let error = format!("{:#}", hangs.await.expect_err("it hangs"));
        assert!(error.ends_with("no answer"), "{error}");
    }
}
