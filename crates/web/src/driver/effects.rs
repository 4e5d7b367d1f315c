//! What the engine asks for, done: disk, requests, live channels, the timer.

use std::{future::Future, rc::Rc};

use driftline_core::{Input, OpId, Output, TransportError, input::LiveEvent, spec::RemoteId};
use wasm_bindgen_futures::spawn_local;
use web_sys::AbortController;

use super::Driver;
use crate::{channel::TabMessage, http, value::Row};

impl Driver {
    /// Starts an effect; answers the outputs that are the app's.
    pub(super) fn perform(self: &Rc<Self>, output: Output<Row>) -> Option<Output<Row>> {
        match output {
            Output::Load(op) => self.disk(async move |driver| Input::Loaded(op, driver.journal.load().await)),
            Output::Commit(op, commit) => self.disk(async move |driver| {
                let result = driver.journal.append(&commit).await;
                if let Ok(number) = result {
                    driver.tell_grown(number);
                }
                Input::Committed(op, result)
            }),
            Output::ReadLog(op, after) => {
                self.disk(async move |driver| Input::LogRead(op, driver.journal.read_log(after).await))
            }
            Output::Checkpoint(op, checkpoint) => self.disk(async move |driver| {
                let result = driver.journal.checkpoint(&checkpoint).await;
                if result == Ok(true) {
                    driver.tell_checkpointed(checkpoint.upto);
                }
                Input::Checkpointed(op, result)
            }),
            Output::Request(op, remote, request) => {
                let endpoint = self.remotes.borrow().get(&remote).map(|remote| remote.endpoint.clone());
                let abort = AbortController::new().expect("every browser with wasm has AbortController");
                self.requests.borrow_mut().insert(op, abort.clone());
                let driver = Rc::clone(self);
                spawn_local(async move {
                    let result = match endpoint {
                        Some(endpoint) => http::send(&endpoint, &request, &abort).await,
                        None => Err(TransportError::Unreachable("the remote is not connected".to_owned())),
                    };
                    // A request that was cancelled is not answered any more.
                    if driver.requests.borrow_mut().remove(&op).is_some() {
                        driver.input(Input::RequestAnswered(op, result));
                    }
                });
            }
            Output::Cancel(op) => return self.cancel(op).then_some(Output::Cancel(op)),
            Output::OpenLive(remote, endpoint) => self.open_live(remote, endpoint),
            Output::SendFrame(remote, frame) => self.send_frame(remote, &frame),
            Output::CloseLive(remote) => self.close_live(remote),
            Output::ClaimLease(lease) => self.claim(lease),
            Output::ReleaseLease(lease) => self.release(&lease),
            Output::TellTabs(note) => self.send(&TabMessage::Note(note)),
            Output::Wake(at, _) => {
                let due = self.weakly(|driver, ()| driver.input(Input::Timer));
                self.timer.set(at, move || due(()));
            }
            Output::StartSync(collection) => {
                self.feeds.borrow_mut().insert(collection, (0, None));
                return Some(Output::StartSync(collection));
            }
            Output::StopSync(collection) => {
                self.feeds.borrow_mut().remove(&collection);
                return Some(Output::StopSync(collection));
            }
            Output::Status => {
                self.check_remotes_soon();
                return Some(Output::Status);
            }
            told => return Some(told),
        }
        None
    }

    /// Runs a disk operation and gives its answer to the engine.
    fn disk<F: Future<Output = Input<Row>> + 'static>(
        self: &Rc<Self>,
        run: impl FnOnce(Rc<Self>) -> F + 'static,
    ) {
        self.occupy(async move |driver| {
            let answer = run(Rc::clone(&driver)).await;
            driver.input(answer);
        });
    }

    /// Runs something that a closing database waits for.
    pub(super) fn occupy<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        run: impl FnOnce(Rc<Self>) -> F + 'static,
    ) {
        self.in_flight.set(self.in_flight.get() + 1);
        let driver = Rc::clone(self);
        spawn_local(async move {
            run(Rc::clone(&driver)).await;
            driver.in_flight.set(driver.in_flight.get() - 1);
            if driver.in_flight.get() == 0 {
                for waiter in driver.idle_waiters.take() {
                    // Can't fail: it is a promise's own function.
                    let _ = waiter.call0(&wasm_bindgen::JsValue::UNDEFINED);
                }
            }
        });
    }

    /// Whether the operation is one of the app's functions, rather than a request of ours.
    fn cancel(&self, op: OpId) -> bool {
        match self.requests.borrow_mut().remove(&op) {
            Some(abort) => {
                abort.abort();
                false
            }
            None => true,
        }
    }

    /// A live channel's event, from whoever holds it.
    pub(super) fn live(self: &Rc<Self>, remote: RemoteId, event: LiveEvent) {
        self.input(Input::Live(remote, event));
    }
}
