//! Work that runs to its end whether or not its caller still waits for it.

use crate::{audit, error::EngineError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::{sync::oneshot, task::JoinSet};
use tracing::error;

/// The tasks under way; None once they were closed. Dropping it aborts them.
pub(crate) struct Tasks(Mutex<Option<JoinSet<()>>>);

impl Tasks {
    pub fn new() -> Self {
        Self(Mutex::new(Some(JoinSet::new())))
    }

    /// Runs `work` as a task and returns what it came to. When the returned future is dropped, the task goes on.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        let work = audit::inherit(work);
        // The caller may have gone.
        self.spawn(async move { drop(reply.send(work.await)) })?;
        answer.await.map_err(|_| EngineError::Internal("a task ended in a defect".to_owned()))?
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), EngineError> {
        let mut tasks = self.lock();
        let tasks = tasks.as_mut().ok_or(EngineError::ShuttingDown)?;
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                error!(%error, "a task ended in a defect");
            }
        }
        tasks.spawn(task);
        Ok(())
    }

    /// Takes no further tasks, and waits for those under way.
    pub async fn close(&self) {
        let tasks = self.lock().take();
        if let Some(mut tasks) = tasks {
            while tasks.join_next().await.is_some() {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Arc, task::Poll};
    use tokio::sync::{Notify, mpsc};

    #[tokio::test]
    async fn work_goes_on_when_its_caller_is_gone_and_closing_waits_for_it() {
        let (tasks, go, (done, mut ended)) = (Tasks::new(), Arc::new(Notify::new()), mpsc::channel(1));
        let wait = go.clone();
        {
            let mut caller = Box::pin(tasks.run(async move {
                wait.notified().await;
                done.send(()).await.unwrap();
                Ok(())
            }));
            let polled = std::future::poll_fn(|context| Poll::Ready(caller.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        }
        go.notify_one();
        tasks.close().await;
        assert_eq!(ended.try_recv(), Ok(()));
        let late = tasks.run(async { Ok(()) }).await;
        assert!(matches!(late, Err(EngineError::ShuttingDown)), "{late:?}");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_caller_alone() {
        let tasks = Tasks::new();
        let failed: Result<(), _> = tasks.run(async { panic!("on purpose") }).await;
        assert!(matches!(failed, Err(EngineError::Internal(_))), "{failed:?}");
        assert!(matches!(tasks.run(async { Ok(7) }).await, Ok(7)));
    }
}
