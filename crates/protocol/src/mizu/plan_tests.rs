use super::*;
use crate::testing::transcript;
use std::string::ToString;

/// Bodies of the real server's and what it was asked, in pairs.
fn exchanges(path: &str) -> Vec<(String, u16, String)> {
    let lines = transcript("mizu-v0-plan.jsonl");
    let bodies: Vec<_> = lines.iter().filter(|line| line.body.is_some()).collect();
    let pairs =
        bodies.chunks(2).filter(|pair| pair[0].http.as_deref().is_some_and(|http| http.ends_with(path)));
    pairs
        .map(|pair| {
            (pair[0].text().to_string(), pair[1].status.expect("answered"), pair[1].text().trim().to_string())
        })
        .collect()
}

fn same_again<T: Serialize>(value: &T, text: &str) {
    assert_eq!(serde_json::to_string(value).expect("plain data"), text);
}

#[test]
fn pushes_and_their_answers_are_read_and_written_as_they_came() {
    let (mut applied, mut refused) = (0, 0);
    for (asked, status, answer) in exchanges("/push") {
        if status != 200 {
            same_again(&serde_json::from_str::<WireError>(&answer).expect("an error"), &answer);
            refused += 1;
            continue;
        }
        let push: PushRequest = serde_json::from_str(&asked).expect("the server took it");
        same_again(&push, &asked);
        let results = decode_push(push.mutations.len(), &answer).expect("an answer");
        same_again(&results, &answer);
        applied += results.results.iter().filter(|result| result.ok).count();
        assert!(decode_push(push.mutations.len() + 1, &answer).is_err_and(|error| error.path == "results"));
    }
    assert_eq!((applied, refused), (4, 2));
}

#[test]
fn pulls_and_snapshots_are_read_and_written_as_they_came() {
    let mut changes = 0;
    for (asked, status, answer) in exchanges("/pull") {
        assert_eq!(status, 200);
        let _: PullRequest = serde_json::from_str(&asked).expect("the server took it");
        let page = decode_pull(&answer).unwrap_or_else(|error| panic!("{error} in {answer}"));
        same_again(&page, &answer);
        changes += page.changes.map_or(0, |changes| changes.len());
    }
    assert!(changes >= 4, "{changes}");
    let mut snapshots = exchanges("/snapshot").into_iter().filter(|(_, status, _)| *status == 200);
    let (_, _, answer) = snapshots.next().expect("a snapshot");
    let snapshot = decode_snapshot(&answer).expect("a snapshot");
    same_again(&snapshot, &answer);
    assert!(snapshot.data["todo"].as_ref().is_some_and(|rows| rows.contains_key("t1")));
}

#[test]
fn refusals_are_classified_by_the_published_texts() {
    use super::super::Failure;
    assert_eq!(classify("sync: unknown mutation"), Failure::Invalid);
    assert_eq!(classify("sync: entity not found: t1"), Failure::NotFound);
    assert_eq!(classify("sync: conflict"), Failure::Conflict);
    assert_eq!(classify("sync: internal error"), Failure::Internal);
    assert_eq!(classify("sync: unknown mutations"), Failure::Other);
}

#[test]
fn another_dialects_mutation_is_refused() {
    let text = r#"{"mutations":[{"id":"m1","name":"todo/create","scope":"s1","args":{}}]}"#;
    assert!(serde_json::from_str::<PushRequest>(text).is_err());
}

#[test]
fn a_faulty_answer_is_refused_with_the_field_that_is_at_fault() {
    let change = |cursor: u64| format!(r#"{{"cursor":{cursor},"entity":"todo","id":"t","op":"create"}}"#);
    let page = |changes: &str, cursor: &str| format!(r#"{{"changes":[{changes}],"cursor":{cursor}}}"#);
    for (text, path) in [
        ("{}".to_string(), "cursor"),
        (page("", "\"1\""), "cursor"),
        (page(&change(3), "2"), "cursor"),
        (page(&format!("{},{}", change(3), change(3)), "9"), "changes[1].cursor"),
        (page(&change(1).replace("create", "drop"), "1"), "changes[0].op"),
        (page(&change(1).replace(r#""id":"t","#, ""), "1"), "changes[0].id"),
    ] {
        assert_eq!(decode_pull(&text).expect_err(&text).path, path, "{text}");
    }
    assert!(decode_pull(&page(&format!("{},{}", change(3), change(7)), "9")).is_ok());
}

#[test]
fn a_binary_poke_is_its_kind_and_json() {
    let poke = Poke { scope: "s1".into(), cursor: 7 };
    assert_eq!(poke.encode(), b"\x0b{\"scope\":\"s1\",\"cursor\":7}");
    assert_eq!(Poke::decode(&poke.encode()), Ok(Some(poke)));
    assert_eq!(Poke::decode(b"\x0a{}"), Ok(None));
    assert_eq!(Poke::decode(b""), Ok(None));
    assert_eq!(Poke::decode(b"\x0b{\"scope\":\"s1\"}").expect_err("no place").path, "cursor");
    assert!(Poke::decode(b"\x0b\xff").is_err());
    assert!(Poke::decode(&[&[POKE_KIND][..], &[b' '; MAX_POKE_BYTES + 1]].concat()).is_err());
}

#[test]
fn a_mutation_is_known_by_its_client_and_count() {
    let mutation = |client: &str, seq: u64| {
        let text = format!(r#"{{"name":"n","client_id":"{client}","client_seq":{seq}}}"#);
        idempotency_key(&serde_json::from_str::<Mutation>(&text).expect("valid"))
    };
    assert_eq!(mutation("c 1", 2), Some("2 c 1".into()));
    assert_ne!(mutation("1 c", 1), mutation("c", 11));
    assert_eq!(mutation("", 2), None);
}
