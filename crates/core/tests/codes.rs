//! The one list of error codes, as TypeScript and the documentation have it. Both files are made here: a change of the
//! list fails these tests until `DRIFTLINE_WRITE=1 cargo test -p driftline-core --test codes` has written them anew.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use driftline_core::Code;

#[test]
fn typescript_has_the_codes_of_this_crate() {
    let mut text = String::from(
        "// Made from the list in crates/core/src/error.rs by crates/core/tests/codes.rs. Don't edit: change the list there.\n\n",
    );
    let mut list = |doc: &str, name: &str, apps: bool| {
        let _ = write!(text, "/** {doc} */\nexport const {name} = {{\n");
        for code in codes(apps) {
            let _ = writeln!(text, "  /** {} */", code.happened());
            let _ = writeln!(text, "  {}: {},", code.as_str(), code.is_retryable());
        }
        text.push_str("} as const\n");
    };
    list(
        "The codes of Driftline's own errors, and whether a call that failed so may succeed later.",
        "codes",
        false,
    );
    list("Those that are there for an app's functions to throw.", "appCodes", true);
    is_written("js/codes.ts", &text);
}

#[test]
fn the_documentation_has_the_codes_of_this_crate() {
    let mut text = String::from(
        "<!-- Made from the list in crates/core/src/error.rs by crates/core/tests/codes.rs. Don't edit: change the list there. -->\n\
         # Errors\n\n\
         Every error that Driftline throws or rejects with is a `DriftlineError`: an `Error` with a `code` out of this list, \
         `retryable` (whether the same call may succeed later without a change to it), `cause` where another error is behind it, \
         and the fields named below. Its message says what happened, what was kept, and what to do. An error that nobody asked \
         for reaches `db.status` (`lastError`) and the database's `error` event; none becomes an unhandled rejection.\n\n",
    );
    table(&mut text, false);
    text.push_str(
        "\n## What an app's functions may throw\n\n\
         `persist` says by the type of what it throws what is to be done about it; anything else is retried up to the \
         collection's limit. `AuthRequiredError` (`auth_required`) holds the collection until `db.resume()`, without spending an \
         attempt.\n\n",
    );
    table(&mut text, true);
    is_written("js/errors.md", &text);
}

#[test]
fn codes_are_distinct_and_explain_themselves() {
    let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(texts.len(), Code::ALL.len());
    for code in Code::ALL {
        for sentence in [code.happened(), code.remedy()] {
            assert!(sentence.ends_with('.') && !sentence.contains('|'), "{code:?}: {sentence}");
        }
    }
}

fn codes(apps: bool) -> impl Iterator<Item = Code> {
    Code::ALL.iter().copied().filter(move |code| code.is_apps() == apps)
}

fn table(text: &mut String, apps: bool) {
    text.push_str("| code | what happened | what to do | retryable | fields |\n|---|---|---|---|---|\n");
    for code in codes(apps) {
        let fields: Vec<_> = code.fields().iter().map(|field| format!("`{field}`")).collect();
        let retryable = if code.is_retryable() { "yes" } else { "no" };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {retryable} | {} |",
            code.as_str(),
            code.happened(),
            code.remedy(),
            fields.join(", ")
        );
    }
}

/// Compares a file of the project with what it should hold, or writes it.
fn is_written(file: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    if std::env::var_os("DRIFTLINE_WRITE").is_some() {
        fs::write(&path, text).unwrap_or_else(|error| panic!("{file} can't be written: {error}"));
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "{file} is not what the list of codes makes of it: run DRIFTLINE_WRITE=1 cargo test -p driftline-core --test codes"
    );
}
