//! One thread applies all pushes: those that come while a commit is under way share the next one.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use driftline_protocol::mizu::{PushRequest, PushResponse};
use tokio::sync::{mpsc, oneshot};

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};

/// Hands pushes to the writer's thread. The thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    push: PushRequest,
    answer: oneshot::Sender<Result<PushResponse>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system can't start one.
    pub fn start(engine: Arc<Engine>) -> Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = mpsc::channel(MAX_QUEUED_PUSHES);
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || run(&engine, queue))
            .map_err(|error| Error::storage("starting the writer", error))?;
        Ok((Self { jobs }, thread))
    }

    /// Applies a push, and answers once it is durable.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the queue stays full or the server is stopping; else as
    /// [`Engine::push`](crate::engine::Engine::push).
    pub async fn push(&self, push: PushRequest) -> Result<PushResponse> {
        let (answer, answered) = oneshot::channel();
        if self.jobs.send_timeout(Job { push, answer }, QUEUE_TIMEOUT).await.is_err() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the server is busy: nothing was applied; push again later",
            ));
        }
        answered.await.unwrap_or_else(|_| {
            let text = "the server is stopping: whether the push was applied is not known; push it again with the same ids";
            Err(Error::new(ErrorKind::Unavailable, text))
        })
    }
}

fn run(engine: &Engine, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < MAX_GROUP_PUSHES
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        let pushes: Vec<_> = group.iter().map(|job| &job.push).collect();
        let results = engine.push_group(SystemTime::now(), &pushes);
        for (job, result) in group.into_iter().zip(results) {
            // A client that has gone finds out by pushing again: the ids are remembered.
            let _ = job.answer.send(result);
        }
    }
}

const MAX_QUEUED_PUSHES: usize = 256;
const MAX_GROUP_PUSHES: usize = 64;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
