//! Which database of a name the pages of this origin had last, kept beside IndexedDB.
//!
//! A browser may lose a database as a whole: Chromium empties one whose files a crash has damaged, and a person may
//! delete it by hand. What opens then looks like the first time. The marker tells the two apart; where a person clears
//! all data of the site, or the browser evicts it, the marker goes too, and nothing can be told.

use wasm_bindgen::JsCast;

use crate::schema::database_name;

/// Keeps this identity. `true`: another one was there.
pub(super) fn replace(name: &str, identity: f64) -> bool {
    let Some(storage) = storage() else { return false };
    let key = database_name(name);
    let identity = identity.to_bits().to_string();
    let known = storage.get_item(&key).ok().flatten();
    if known.as_ref() == Some(&identity) {
        return false;
    }
    // A browser that refuses it leaves the next start without a marker: nothing is told then.
    let _ = storage.set_item(&key, &identity);
    known.is_some()
}

/// Forgets it, as the app wants the database gone.
pub(super) fn remove(name: &str) {
    if let Some(storage) = storage() {
        let _ = storage.remove_item(&database_name(name));
    }
}

/// Workers have none, and a person may have refused it to the site.
fn storage() -> Option<web_sys::Storage> {
    js_sys::global().dyn_into::<web_sys::Window>().ok()?.local_storage().ok()?
}
