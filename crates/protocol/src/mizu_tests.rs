use super::*;
use serde::de::DeserializeOwned;
use std::string::ToString;

macro_rules! frames {
    ($name:literal) => {
        include_str!(concat!("../../../tests/vectors/mizu/", $name)).lines().filter(|line| !line.is_empty())
    };
}

fn same_bytes_again<T: DeserializeOwned + Serialize>(frame: &str) {
    let value: T = serde_json::from_str(frame).unwrap_or_else(|error| panic!("{error} in {frame}"));
    assert_eq!(serde_json::to_string(&value).expect("plain data"), frame);
}

#[test]
fn answers_of_the_real_server_are_written_byte_for_byte() {
    frames!("push-responses.jsonl").for_each(same_bytes_again::<PushResponse>);
    frames!("pull-responses.jsonl").for_each(same_bytes_again::<PullResponse>);
    frames!("snapshot-responses.jsonl").for_each(same_bytes_again::<SnapshotResponse>);
    frames!("errors.jsonl").for_each(same_bytes_again::<WireError>);
    frames!("pokes.jsonl").for_each(same_bytes_again::<Poke>);
}

#[test]
fn requests_that_the_real_server_took_are_read_and_mean_the_same_again() {
    fn same_value_again<T: DeserializeOwned + Serialize>(frame: &str) {
        let value: T = serde_json::from_str(frame).unwrap_or_else(|error| panic!("{error} in {frame}"));
        let again = serde_json::to_string(&value).expect("plain data");
        let third =
            serde_json::to_string(&serde_json::from_str::<T>(&again).expect("own text")).expect("plain data");
        assert_eq!(again, third);
    }
    frames!("push-requests.jsonl").for_each(same_value_again::<PushRequest>);
    frames!("pull-requests.jsonl").for_each(same_value_again::<PullRequest>);
    frames!("snapshot-requests.jsonl").for_each(same_value_again::<SnapshotRequest>);
}

#[test]
fn requests_that_the_real_server_refused_are_refused_or_empty() {
    for line in frames!("refused-requests.txt") {
        let (kind, body) = line.split_once(' ').expect("kind, then body");
        match kind {
            "push" => match serde_json::from_str::<PushRequest>(body) {
                Ok(push) => assert!(push.mutations.is_empty(), "{body}"),
                Err(_) => continue,
            },
            "pull" => assert!(serde_json::from_str::<PullRequest>(body).is_err(), "{body}"),
            other => panic!("a vector of an unknown kind {other}"),
        }
    }
}

#[test]
fn an_unknown_field_is_refused_in_a_request_and_tolerated_in_an_answer() {
    assert!(serde_json::from_str::<PullRequest>(r#"{"scope":"s","cursor":0,"since":1}"#).is_err());
    assert!(serde_json::from_str::<SnapshotRequest>(r#"{"scope":"s","cursor":0}"#).is_err());
    assert!(
        serde_json::from_str::<PullResponse>(r#"{"changes":null,"has_more":false,"server":"x"}"#).is_ok()
    );
}

#[test]
fn args_pass_through_as_the_text_they_came_in() {
    let body = r#"{"mutations":[{"id":"m","scope":"s","name":"n","args":{ "z":1.50, "a":12345678901234567890123 }}]}"#;
    let push: PushRequest = serde_json::from_str(body).expect("valid");
    assert_eq!(push.mutations[0].args.get(), r#"{ "z":1.50, "a":12345678901234567890123 }"#);
    assert_eq!(serde_json::to_string(&push).expect("plain data"), body);
}

#[test]
fn a_mutation_without_a_scope_goes_to_the_default_one() {
    let mutation: Mutation = serde_json::from_str(r#"{"name":"noop"}"#).expect("valid");
    assert_eq!(mutation.scope(), DEFAULT_SCOPE);
    assert_eq!(mutation.args.get(), "null");
}

#[test]
fn a_page_has_a_default_and_a_greatest_size() {
    let page = |limit| PullRequest { limit, ..PullRequest::default() }.page_changes();
    assert_eq!([page(None), page(Some(0)), page(Some(2)), page(Some(5000))], [100, 100, 2, 1000]);
}

#[test]
fn refusals_are_classified_by_the_published_texts_with_or_without_a_detail() {
    let failure = |text: &str| MutationResult::refused(text).failure();
    assert_eq!(failure("sync: conflict"), Some(Failure::Conflict));
    assert_eq!(failure("sync: not found: todo t1"), Some(Failure::NotFound));
    assert_eq!(failure("sync: invalid mutation"), Some(Failure::Invalid));
    assert_eq!(failure("sync: internal error"), Some(Failure::Internal));
    assert_eq!(failure("sync: conflicting colours"), Some(Failure::Other));
    assert_eq!(MutationResult::applied(1, Vec::new()).failure(), None);
}

#[test]
fn a_change_of_the_default_mapping_is_read_without_parsing_its_row() {
    let text = r#"{"op":"update","todo":{"id":"t1","n":1.0}}"#;
    let change: EntityChange = serde_json::from_str(text).expect("valid");
    assert_eq!(
        (change.op, change.entity.as_str(), change.row.get()),
        (Op::Update, "todo", r#"{"id":"t1","n":1.0}"#)
    );
    assert_eq!(change.to_raw().expect("plain data").get(), text);
    for bad in [
        r#"{"todo":{}}"#,
        r#"{"op":"update"}"#,
        r#"{"op":"update","a":{},"b":{}}"#,
        r#"{"op":"drop","a":{}}"#,
        "[]",
    ] {
        assert!(serde_json::from_str::<EntityChange>(bad).is_err(), "{bad}");
    }
}

#[test]
fn operations_have_the_names_of_the_wire() {
    for op in [Op::Create, Op::Update, Op::Delete] {
        assert_eq!(Op::from_name(op.as_str()), Some(op));
        assert_eq!(
            serde_json::to_string(&op).expect("plain data"),
            std::format!("{:?}", op.as_str()).to_string()
        );
    }
    assert_eq!(Op::from_name("drop"), None);
}
