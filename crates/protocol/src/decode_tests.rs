use super::*;
use serde::Deserialize;
use std::{format, vec};

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Outer {
    list: Vec<Inner>,
    #[serde(default)]
    other: Option<Inner>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Inner {
    name: String,
    #[serde(deserialize_with = "position")]
    n: u64,
}

fn fault(text: &str) -> (String, Fault) {
    let error = from_json::<Outer>("wire", 10_000, text).expect_err(text);
    assert_eq!(error.wire, "wire");
    (error.path, error.fault)
}

#[test]
fn a_missing_field_is_named_with_the_way_to_it() {
    assert_eq!(fault("{}"), ("list".into(), Fault::Missing));
    assert_eq!(fault(r#"{"list":[{"name":"a","n":1},{"n":2}]}"#), ("list[1].name".into(), Fault::Missing));
    assert_eq!(fault(r#"{ "list" : [ { "name" : "a,]}{" } ] }"#), ("list[0].n".into(), Fault::Missing));
    assert_eq!(fault(r#"{"list":[],"other":{"name":"\"x\\"}}"#), ("other.n".into(), Fault::Missing));
}

#[test]
fn a_field_of_another_type_is_named_with_the_way_to_it() {
    for (text, path) in [
        (r#"{"list":{}}"#, "list"),
        (r#"{"list":[1]}"#, "list[0]"),
        (r#"{"list":[{"name":"a","n":1},{"name":"b","n":"2"}]}"#, "list[1].n"),
        (r#"{"list":[{"name":"a","n":-1}]}"#, "list[0].n"),
        (r#"{"list":[{"name":"a","n":1.5}]}"#, "list[0].n"),
        (r#"{"list":[{"name":{"deep":[1,{"x":2}]},"n":1}]}"#, "list[0].name"),
        (r#"{"list":[{"name":["x"],"n":1}]}"#, "list[0].name"),
        ("{\"list\":[\n{\"name\":\"a\",\n\"n\":\n null}]}", "list[0].n"),
        (r#"{"skipped":[[1,"a",{"b":[]}],[2]],"list":[{"name":7,"n":1}]}"#, "list[0].name"),
    ] {
        let (at, fault) = fault(text);
        assert_eq!(at, path, "{text}: {fault:?}");
        assert!(matches!(fault, Fault::Invalid(_)), "{fault:?}");
    }
}

#[test]
fn a_position_that_javascript_could_not_hold_is_refused() {
    let text = |n: u64| format!(r#"{{"list":[{{"name":"a","n":{n}}}]}}"#);
    assert!(from_json::<Outer>("wire", 10_000, &text(MAX_SAFE_INTEGER)).is_ok());
    assert_eq!(fault(&text(MAX_SAFE_INTEGER + 1)).0, "list[0].n");
    assert_eq!(fault(&text(u64::MAX)).0, "list[0].n");
}

#[test]
fn what_is_not_json_is_told_from_what_is_not_this_wires() {
    for text in ["", "{", r#"{"list":[{"name":"a"#, "nonsense", r#"{"list":[]} x"#, "{\"list\":[\u{1}]}"] {
        let (_, fault) = fault(text);
        assert!(matches!(fault, Fault::NotJson(_)), "{text}: {fault:?}");
    }
}

#[test]
fn a_text_over_the_limit_is_refused_unread() {
    let error = from_json::<Outer>("wire", 3, "not json").expect_err("too long");
    assert_eq!(error.fault, Fault::TooLarge { limit: 3, got: 8 });
    assert_eq!(error.to_string(), "wire: 8 is over the limit of 3");
}

#[test]
fn nesting_without_end_is_an_error_with_a_short_path() {
    for open in ["[", "{\"a\":"] {
        let text = open.repeat(100_000);
        let error = from_json::<Outer>("wire", usize::MAX, &text).expect_err("endless");
        assert!(error.path.len() < 500, "{}", error.path);
        let text = format!(r#"{{"list":{text}"#);
        let error = from_json::<Outer>("wire", usize::MAX, &text).expect_err("endless");
        assert!(error.path.len() < 500, "{}", error.path);
    }
}

#[test]
fn an_error_repeats_a_peers_text_only_in_part() {
    let long = "ä".repeat(5_000);
    let (_, fault) = fault(&format!(r#"{{"list":"{}"}}"#, &long[..4_000]));
    let Fault::Invalid(detail) = fault else { panic!("{fault:?}") };
    assert!(detail.len() <= MAX_DETAIL_BYTES + '…'.len_utf8());
    assert_eq!(cut("short"), "short");
}

#[test]
fn an_error_says_wire_field_and_fault() {
    let error =
        from_json::<Outer>("wire", 100, r#"{"list":[{"name":"a","n":true}]}"#).expect_err("a boolean");
    assert_eq!(
        error.to_string(),
        "wire: list[0].n: invalid type: boolean `true`, expected an integer from 0 to 9007199254740991"
    );
    assert_eq!(error.below("frames[2]").path, "frames[2].list[0].n");
    let texts =
        vec![DecodeError::missing("w", "a").to_string(), DecodeError::invalid("w", "", "odd").to_string()];
    assert_eq!(texts, ["w: a: is missing", "w: odd"]);
}
