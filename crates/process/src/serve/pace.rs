//! Clients that are too slow: a connection whose client dribbles a head, or does not take its answer, is ended.
//!
//! How long a body may take is the extractor's matter, which can still say so; how long a connection may be idle is hyper's.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::Service;

use crate::lock;

/// How long a request's head may take from its first byte on. One packet brings it, or a few; ten seconds leave room for
/// one that is lost and sent again.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take nothing of what it asked for.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a connection does at the moment, and since when. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<(Doing, Instant)>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Nothing was asked that is not answered.
    Nothing,
    /// A request's head has begun.
    Hearing,
    /// A request is being served.
    Serving,
}

impl Activity {
    /// Of a connection that has just come.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new((Doing::Nothing, Instant::now()))))
    }

    /// Since when nothing was asked that is not answered.
    pub fn idle_since(&self) -> Option<Instant> {
        let (doing, since) = *lock(&self.0);
        (doing == Doing::Nothing).then_some(since)
    }

    fn is(&self, doing: Doing) -> bool {
        lock(&self.0).0 == doing
    }

    fn becomes(&self, doing: Doing) {
        *lock(&self.0) = (doing, Instant::now());
    }
}

/// The routes, reporting when a request begins and ends.
#[derive(Debug, Clone)]
pub(super) struct Reported<S> {
    inner: S,
    activity: Activity,
}

impl<S> Reported<S> {
    /// `inner`, reporting to `activity`.
    pub fn new(inner: S, activity: Activity) -> Self {
        Self { inner, activity }
    }
}

impl<S, R> Service<R> for Reported<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let activity = self.activity.clone();
        activity.becomes(Doing::Serving);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answered = answer.await;
            activity.becomes(Doing::Nothing);
            answered
        })
    }
}

/// A stream that fails when its client is too slow.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    activity: Activity,
    head: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// `stream`, timed by what `activity` says.
    pub fn new(stream: S, activity: Activity) -> Self {
        Self { stream, activity, head: None, stall: None }
    }

    /// Starts the clock with the first byte of a head and stops it when the request is being served.
    fn time_head(&mut self, has_read: bool) {
        if has_read && self.activity.is(Doing::Nothing) {
            self.activity.becomes(Doing::Hearing);
            self.head = Some(clock(HEAD_TIMEOUT));
        } else if !self.activity.is(Doing::Hearing) {
            self.head = None;
        }
    }
}

fn clock(duration: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + duration))
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.time_head(buffer.filled().len() > before);
        if let Some(head) = &mut self.head
            && head.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a request's head takes too long")));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Paced<S> {
    /// What came of an attempt to write, or the end if none came to anything for too long.
    fn unless_stalled<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        ready!(self.stall.get_or_insert_with(|| clock(STALL_TIMEOUT)).as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a client does not take its answer")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_stalled(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.unless_stalled(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    async fn timed_out<T: std::fmt::Debug>(outcome: impl Future<Output = io::Result<T>>, after: Duration) {
        let began = Instant::now();
        let error = outcome.await.expect_err("it takes too long");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= after && began.elapsed() < after + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_byte_by_byte_is_given_up() {
        let (mut client, server) = duplex(64);
        let dribble = tokio::spawn(async move {
            while client.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let mut paced = Paced::new(server, Activity::new());
        timed_out(paced.read_to_end(&mut Vec::new()), HEAD_TIMEOUT).await;
        drop(paced);
        dribble.await.expect("it ends with the connection");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_served_and_an_idle_connection_are_not_a_slow_head() {
        let (mut client, server) = duplex(64);
        let activity = Activity::new();
        let mut paced = Paced::new(server, activity.clone());
        let reported = Reported::new(service_fn(async |()| Ok::<_, Infallible>(())), activity.clone());
        for _ in 0..2 {
            // Idle for longer than a head may take.
            let idle = tokio::time::timeout(HEAD_TIMEOUT * 2, paced.read_u8()).await;
            assert!(idle.is_err() && activity.idle_since().is_some());
            client.write_all(b"G").await.expect("is open");
            paced.read_u8().await.expect("is there");
            assert!(activity.idle_since().is_none());
            reported.clone().oneshot(()).await.expect("is served");
            assert!(activity.idle_since().is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_take_its_answer_is_given_up() {
        let (_client, server) = duplex(64);
        let mut paced = Paced::new(server, Activity::new());
        timed_out(paced.write_all(&[0; 65]), STALL_TIMEOUT).await;
    }
}
