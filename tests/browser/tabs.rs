//! What keeps tabs apart and together: locks as leases, and the channel between them.

use std::{cell::RefCell, rc::Rc};

use driftline_web::{
    channel::{TabChannel, TabMessage},
    locks::{Claim, LockEvent},
};
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
async fn a_lock_goes_to_the_next_in_line_when_it_is_released() {
    let (one, first) = claim("line");
    until(|| *one.borrow() == [LockEvent::Gained]).await;
    let (two, second) = claim("line");
    let (three, third) = claim("line");
    until(|| *two.borrow() == [LockEvent::Elsewhere] && *three.borrow() == [LockEvent::Elsewhere]).await;
    drop(second);
    drop(first);
    until(|| three.borrow().contains(&LockEvent::Gained)).await;
    assert_eq!(*one.borrow(), [LockEvent::Gained], "who released hears no more");
    assert_eq!(*two.borrow(), [LockEvent::Elsewhere], "who left the line hears no more");
    drop(third);
}

#[wasm_bindgen_test]
async fn a_lock_that_is_stolen_is_told_as_lost() {
    let (events, _claim) = claim("stolen");
    until(|| *events.borrow() == [LockEvent::Gained]).await;
    let (waiting, in_line) = claim("stolen");
    until(|| *waiting.borrow() == [LockEvent::Elsewhere]).await;
    let stolen = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&stolen);
    let thief = Claim::steal("stolen", move |event| heard.borrow_mut().push(event));
    until(|| {
        *events.borrow() == [LockEvent::Gained, LockEvent::Lost] && *stolen.borrow() == [LockEvent::Gained]
    })
    .await;
    assert_eq!(*waiting.borrow(), [LockEvent::Elsewhere], "who stands in line stays there");
    drop(thief);
    until(|| *waiting.borrow() == [LockEvent::Elsewhere, LockEvent::Gained]).await;
    drop(in_line);
}

#[wasm_bindgen_test]
async fn tabs_hear_each_other_and_not_themselves() {
    let (heard, one) = channel("tabs");
    let (echo, other) = channel("tabs");
    let (elsewhere, _third) = channel("another database");
    other.send(&TabMessage::Grew(7));
    other.send(&TabMessage::Checkpointed(5));
    other.send(&TabMessage::Hello);
    other.send(&TabMessage::Remote("mizu".into(), "live".into()));
    other.send(&TabMessage::Beat(vec!["c/a".into(), "r/b".into()]));
    other.send(&TabMessage::Ask(vec!["c/a".into()]));
    until(|| heard.borrow().len() == 6).await;
    let wanted = [
        "Grew(7)",
        "Checkpointed(5)",
        "Hello",
        "Remote(\"mizu\", JsValue(\"live\"))",
        "Beat([\"c/a\", \"r/b\"])",
        "Ask([\"c/a\"])",
    ];
    assert_eq!(*heard.borrow(), wanted);
    js_sys::eval("new BroadcastChannel('driftline:tabs').postMessage({ driftline: ['beat', [1]] })")
        .expect("a message");
    js_sys::eval("new BroadcastChannel('driftline:tabs').postMessage({ driftline: ['grew', 'many'] })")
        .expect("a message");
    js_sys::eval("new BroadcastChannel('driftline:tabs').postMessage('nonsense')").expect("a message");
    one.send(&TabMessage::Hello);
    until(|| echo.borrow().last().is_some_and(|message| message == "Hello")).await;
    assert_eq!(heard.borrow().len(), 6, "what is malformed is not heard");
    assert!(elsewhere.borrow().is_empty());
}

fn claim(name: &str) -> (Rc<RefCell<Vec<LockEvent>>>, Claim) {
    let events = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&events);
    (events, Claim::new(name, move |event| heard.borrow_mut().push(event)))
}

fn channel(database: &str) -> (Rc<RefCell<Vec<String>>>, TabChannel) {
    let messages = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&messages);
    let channel = TabChannel::open(database, move |message| heard.borrow_mut().push(format!("{message:?}")))
        .expect("a channel");
    (messages, channel)
}

/// Waits until something holds; the runner's own time-out ends a wait that is in vain.
async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        TimeoutFuture::new(5).await;
    }
}
