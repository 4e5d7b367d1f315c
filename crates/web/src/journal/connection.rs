//! The connection: opened when it is needed, given up when another page asks for it, opened anew once
//! when it broke under a call.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use driftline_core::CommitError;
use indexed_db_futures::{Build, database::Database, internals::SystemRepr, query_source::QuerySource};
use wasm_bindgen::{JsCast, closure::Closure};

use super::{
    failure::{Failed, finish},
    marker,
};
use crate::schema::{self, META, META_IDENTITY};

/// A connection that heals.
#[derive(Debug)]
pub(crate) struct Connection {
    name: String,
    state: Rc<State>,
    /// The identity that the database had when it was first opened.
    identity: Cell<Option<f64>>,
    /// The highest log number seen: what this tab writes comes after it.
    seen: Cell<u64>,
    numbers: Cell<u64>,
}

#[derive(Debug, Default)]
struct State {
    open: RefCell<Option<Rc<Open>>>,
    closed: Cell<bool>,
    deleted: Cell<bool>,
}

struct Open {
    database: Database,
    _on_version_change: Closure<dyn FnMut(web_sys::IdbVersionChangeEvent)>,
    _on_close: Closure<dyn FnMut()>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Rc::default(),
            identity: Cell::new(None),
            seen: Cell::new(0),
            numbers: Cell::new(0),
        }
    }

    /// Runs a transaction, and once more on a new connection if the present one turns out to be gone;
    /// the second argument says which of the two it is.
    pub(crate) async fn run<T>(
        &self,
        body: impl AsyncFn(&Database, bool) -> Result<T, Failed>,
    ) -> Result<T, CommitError> {
        let mut repeated = false;
        loop {
            let failed = match self.open().await {
                Ok(open) => match body(&open.database, repeated).await {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failed,
                },
                Err(failed) => failed,
            };
            if repeated || !matches!(failed, Failed::Connection(_)) {
                return Err(failed.into_commit_error().await);
            }
            self.state.give_up();
            repeated = true;
        }
    }

    pub(crate) fn close(&self) {
        self.state.closed.set(true);
        self.state.give_up();
    }

    pub(super) fn saw(&self, number: u64) {
        self.seen.set(self.seen.get().max(number));
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen.get()
    }

    pub(super) fn next_number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    /// Whether the pages of this origin had another database of this name, and none of them has deleted it. Asked
    /// again, it is known.
    pub(super) fn is_anew(&self) -> bool {
        self.identity.get().is_some_and(|identity| marker::replace(&self.name, identity))
    }

    async fn open(&self) -> Result<Rc<Open>, Failed> {
        if self.state.closed.get() {
            return Err(Failed::Unavailable("The database is closed.".to_owned()));
        }
        if self.state.deleted.get() {
            return Err(Failed::Unavailable(DELETED.to_owned()));
        }
        if let Some(open) = self.state.open.borrow().as_ref() {
            return Ok(Rc::clone(open));
        }
        let database = schema::open(&self.name).await.map_err(|error| match Failed::from(error) {
            Failed::Connection(text) | Failed::Unavailable(text) => Failed::Unavailable(format!(
                "The browser's database can't be opened ({text}). Nothing can be stored: leave private browsing, or reload the page."
            )),
            other => other,
        })?;
        self.check_identity(&database).await?;
        if self.state.closed.get() {
            database.close();
            return Err(Failed::Unavailable("The database is closed.".to_owned()));
        }
        if let Some(open) = self.state.open.borrow().as_ref() {
            // Another call has opened it meanwhile.
            database.close();
            return Ok(Rc::clone(open));
        }
        let open = Rc::new(self.watch(database));
        self.state.open.replace(Some(Rc::clone(&open)));
        Ok(open)
    }

    /// A database that was deleted and made anew has lost what this tab believes to be stored.
    async fn check_identity(&self, database: &Database) -> Result<(), Failed> {
        let transaction = database.transaction(META).build()?;
        let found = transaction.object_store(META)?.get::<f64, _, _>(META_IDENTITY).build()?.await?;
        finish(transaction).await?;
        match self.identity.get() {
            None => self.identity.set(found),
            Some(identity) if found == Some(identity) => {}
            Some(_) => {
                self.state.deleted.set(true);
                database.clone().close();
                return Err(Failed::Unavailable(DELETED.to_owned()));
            }
        }
        Ok(())
    }

    fn watch(&self, database: Database) -> Open {
        let raw: &web_sys::IdbDatabase = database.as_sys();
        let state = Rc::downgrade(&self.state);
        let on_version_change = Closure::new(move |event: web_sys::IdbVersionChangeEvent| {
            // Whoever deletes or upgrades the database waits until every connection is closed.
            if let Some(target) = event.target() {
                target.unchecked_into::<web_sys::IdbDatabase>().close();
            }
            if let Some(state) = state.upgrade() {
                if event.new_version().is_none() {
                    state.deleted.set(true);
                }
                state.forget();
            }
        });
        let state = Rc::downgrade(&self.state);
        let on_close = Closure::new(move || {
            if let Some(state) = state.upgrade() {
                state.forget();
            }
        });
        raw.set_onversionchange(Some(on_version_change.as_ref().unchecked_ref()));
        raw.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Open { database, _on_version_change: on_version_change, _on_close: on_close }
    }
}

impl State {
    fn give_up(&self) {
        if let Some(open) = self.open.borrow_mut().take() {
            open.database.clone().close();
        }
    }

    /// As above, from inside one of the connection's own listeners, which must outlive the call.
    fn forget(&self) {
        if let Some(open) = self.open.borrow_mut().take() {
            wasm_bindgen_futures::spawn_local(async move { drop(open) });
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let raw: &web_sys::IdbDatabase = self.database.as_sys();
        raw.set_onversionchange(None);
        raw.set_onclose(None);
    }
}

const DELETED: &str = "The database was deleted while this page was open: by clearing the site's data, or by another tab. What this page \
     shows is no longer stored. Copy what you need, and reload the page.";
