//! An OS thread that advances the engine's epoch, so that no async runtime that is busy or stopped can hold up a deadline. It
//! ends with the sandbox.

use crate::limits::Limits;
use std::{
    io,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};
use wasmtime::EngineWeak;

pub(crate) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: EngineWeak) -> io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        #[allow(clippy::disallowed_methods, reason = "a deadline is time that passes")]
        let tick = move || {
            let started = Instant::now();
            // What was counted, always a whole number of ticks.
            let mut counted = Duration::ZERO;
            loop {
                let next = (counted + Limits::TICK).saturating_sub(started.elapsed());
                if stopped.recv_timeout(next) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let Some(engine) = engine.upgrade() else { return };
                // More than one tick after the thread has woken late.
                while counted + Limits::TICK <= started.elapsed() {
                    engine.increment_epoch();
                    counted += Limits::TICK;
                }
            }
        };
        let thread = Builder::new().name("policy-ticker".to_owned()).spawn(tick)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It does nothing that can panic, and there is no one left to tell.
            let _ = thread.join();
        }
    }
}
