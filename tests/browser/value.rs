//! Rows as JavaScript values: laying over, comparing, and the passage to JSON and back.

use driftline_core::Value;
use driftline_web::value::Row;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
fn changes_are_laid_over_a_row_and_undefined_removes() {
    let row = value("({ id: 'a', done: false, note: 'x' })");
    let merged = row.merge(&value("({ done: true, note: undefined })"));
    assert_eq!(merged, value("({ id: 'a', done: true })"));
    assert_eq!(row, value("({ id: 'a', done: false, note: 'x' })"), "the row itself stays as it was");
}

#[wasm_bindgen_test]
fn the_changes_between_two_rows_make_the_one_of_the_other() {
    let (from, to) = (value("({ id: 'a', gone: 1, kept: 2 })"), value("({ id: 'a', kept: 3 })"));
    let changes = from.changes_to(&to);
    assert_eq!(changes, value("({ id: 'a', kept: 3, gone: undefined })"));
    assert_eq!(from.merge(&changes), to);
}

#[wasm_bindgen_test]
fn changes_laid_over_changes_keep_what_is_removed() {
    let changes = value("({ a: 1, b: undefined })").merge_changes(&value("({ c: undefined, a: 2 })"));
    assert_eq!(changes, value("({ a: 2, b: undefined, c: undefined })"));
}

#[wasm_bindgen_test]
fn a_text_is_put_into_a_copy_of_the_row() {
    let row = value("({ done: true })");
    assert_eq!(row.with_text("id", "t1"), value("({ done: true, id: 't1' })"));
    assert_eq!(row, value("({ done: true })"));
}

#[wasm_bindgen_test]
fn rows_are_equal_by_their_plain_content() {
    assert_eq!(
        value("({ a: [1, { b: new Date(3) }], n: NaN })"),
        value("({ n: NaN, a: [1, { b: new Date(3) }] })")
    );
    for (one, other) in [
        ("({ a: 1 })", "({ a: '1' })"),
        ("({ a: 1 })", "({ b: 1 })"),
        ("[1]", "({ 0: 1 })"),
        ("({ a: undefined })", "({})"),
    ] {
        assert_ne!(value(one), value(other), "{one} {other}");
    }
    assert_ne!(value("new Map()"), value("new Map()"), "what has hidden content is equal only to itself");
}

#[wasm_bindgen_test]
fn a_row_becomes_json_with_null_for_what_was_removed() {
    let row = value("({ id: 'ä', at: new Date(0), list: [1, undefined], gone: undefined })");
    assert_eq!(
        row.to_json().expect("it has a JSON form"),
        r#"{"id":"ä","at":"1970-01-01T00:00:00.000Z","list":[1,null],"gone":null}"#
    );
}

#[wasm_bindgen_test]
fn what_json_would_lose_or_refuse_is_named_by_its_path() {
    for (row, path) in [
        ("({ a: { b: [0, new Map()] } })", "the Map at a.b[1]"),
        ("({ n: 1n })", "the BigInt at n"),
        ("({ bytes: new Uint8Array(1) })", "the Uint8Array at bytes"),
        ("(() => { const a = { b: {} }; a.b.c = a; return a })()", "the cycle at b.c"),
    ] {
        let refused = value(row).to_json().expect_err("it has no JSON form");
        assert!(refused.contains(path), "{refused}");
    }
}

#[wasm_bindgen_test]
fn many_rows_are_parsed_at_once() {
    let rows = Row::from_json_many(&[r#"{"a":1}"#, "null", r#"["x"]"#]).expect("they are well-formed");
    assert_eq!(rows, [value("({ a: 1 })"), value("null"), value("['x']")]);
    assert!(Row::from_json_many(&[]).expect("none is none").is_empty());
    assert!(Row::from_json_many(&["{"]).is_err());
}

fn value(source: &str) -> Row {
    Row(js_sys::eval(source).expect("the source is well-formed"))
}
