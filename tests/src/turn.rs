//! Whose turn it is to run a system.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Tests that run a system at once, however many threads there are: each runs up to a dozen processes, and a machine that
/// they overload shows nothing but its own limits.
static SYSTEMS: Semaphore = Semaphore::const_new(2);

/// Leave to run a system; it ends with this value.
pub async fn turn() -> anyhow::Result<SemaphorePermit<'static>> {
    Ok(SYSTEMS.acquire().await?)
}

/// Each test over both transports, in its turn.
#[macro_export]
macro_rules! over_both_transports {
    ($($name:ident: $test:path,)*) => {
        mod over_the_log {
            use super::*;
            $(
                #[tokio::test]
                async fn $name() -> anyhow::Result<()> {
                    let _turn = $crate::turn().await?;
                    $test($crate::system::Transport::Log).await
                }
            )*
        }

        mod over_kafka {
            use super::*;
            $(
                #[tokio::test]
                async fn $name() -> anyhow::Result<()> {
                    let _turn = $crate::turn().await?;
                    $test($crate::system::Transport::Kafka).await
                }
            )*
        }
    };
}
