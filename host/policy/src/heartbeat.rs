//! The clock that deadlines count by: an OS thread that advances the engine's epoch, so that no async runtime that is
//! busy or stopped can hold it up. It ends with the sandbox.

use crate::limits::Limits;
use std::{
    io,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{Builder, JoinHandle},
};
use wasmtime::EngineWeak;

pub(crate) struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    pub(crate) fn start(engine: EngineWeak) -> io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let beat = move || {
            while stopped.recv_timeout(Limits::TICK) == Err(RecvTimeoutError::Timeout) {
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        };
        let thread = Builder::new().name("policy-heartbeat".to_owned()).spawn(beat)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It does nothing that can panic, and there is no one left to tell.
            let _ = thread.join();
        }
    }
}
