//! Telling listeners that a scope has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};

/// Is told of each commit that changed a scope.
pub trait PokeBroker: Send + Sync + 'static {
    /// Called after the commit, with the scope's new head. Must not wait.
    fn poke(&self, scope: &str, cursor: u64);
}

/// Pokes nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPokes;

impl PokeBroker for NoPokes {
    fn poke(&self, _scope: &str, _cursor: u64) {}
}

/// Pokes the listeners of this process. A listener that is slow sees the newest cursor, not each one between.
#[derive(Debug, Default)]
pub struct LocalPokes {
    scopes: Mutex<HashMap<String, Arc<watch::Sender<u64>>>>,
}

impl LocalPokes {
    /// A broker without listeners.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens to a scope. The receiver's first value is 0 until the first poke: the caller knows the head.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if [`MAX_LISTENERS`] are listening.
    pub fn listen(&self, scope: &str) -> Result<watch::Receiver<u64>> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.retain(|_, sender| !sender.is_closed());
        if scopes.values().map(|sender| sender.receiver_count()).sum::<usize>() >= MAX_LISTENERS {
            let text = format!(
                "{MAX_LISTENERS} listeners are connected, which is the limit; poll, or try again later"
            );
            return Err(Error::new(ErrorKind::Unavailable, text));
        }
        let sender = scopes.entry(scope.to_owned()).or_insert_with(|| Arc::new(watch::Sender::new(0)));
        Ok(sender.subscribe())
    }

    /// How many listen, to any scope.
    pub fn listeners(&self) -> usize {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.values().map(|sender| sender.receiver_count()).sum()
    }
}

impl PokeBroker for LocalPokes {
    fn poke(&self, scope: &str, cursor: u64) {
        let sender = self.scopes.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned();
        if let Some(sender) = sender {
            sender.send_if_modified(|newest| {
                let newer = cursor > *newest;
                *newest = cursor.max(*newest);
                newer
            });
        }
    }
}

/// Listeners at a time, at most.
pub const MAX_LISTENERS: usize = 4096;
