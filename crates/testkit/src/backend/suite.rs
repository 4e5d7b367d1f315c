//! The backend's conformance suite: push, pull, snapshot, deduplication, trimming and limits, as measured
//! on the published server.

use serde_json::{Value, json};

use super::{Answer, MizuBackend};

/// Mutations in one push, at most.
const PUSH_MAX_MUTATIONS: usize = 100;
/// Bytes of a request, at most.
const REQUEST_MAX_BYTES: usize = 1024 * 1024;
/// Changes in a page, at most.
const PAGE_MAX_CHANGES: usize = 1_000;

/// Neither pull nor snapshot minds a scope that nobody has written to.
pub async fn an_unknown_scope_is_empty<B: MizuBackend>(backend: &mut B) {
    let answer = pull(backend, "empty", 0, None).await;
    assert!(changes(&answer).is_empty(), "{answer}");
    assert_eq!(answer["has_more"], false);
    assert!(answer.get("next_cursor").is_none_or(Value::is_null), "{answer}");
    let snapshot = snapshot(backend, "empty").await;
    assert!(rows(&snapshot).is_empty(), "{snapshot}");
}

/// Cursors rise, and a change says what the row is now.
pub async fn a_push_answers_each_mutation_with_its_cursor_and_changes<B: MizuBackend>(backend: &mut B) {
    let results =
        push(backend, &[create("push", "m1", "t1", "one"), create("push", "m2", "t2", "two")]).await;
    assert_eq!(results.len(), 2);
    for (result, (id, title)) in results.iter().zip([("t1", "one"), ("t2", "two")]) {
        assert_eq!(result["ok"], true, "{result}");
        assert!(result["error"].is_null(), "{result}");
        let change = &result["changes"][0];
        assert_eq!(change["cursor"], result["cursor"]);
        assert_eq!(change["scope"], "push");
        assert_eq!(change["data"]["op"], "create");
        assert_eq!(
            (&change["data"]["todo"]["id"], &change["data"]["todo"]["title"]),
            (&json!(id), &json!(title))
        );
        assert!(change["time"].as_str().is_some_and(|time| time.contains('T')), "{change}");
    }
    assert!(cursor(&results[0]) > 0);
    assert!(cursor(&results[1]) > cursor(&results[0]));
}

/// What an update does not name stays.
pub async fn an_update_merges_fields_and_answers_the_whole_row<B: MizuBackend>(backend: &mut B) {
    push(backend, &[create("update", "m1", "t1", "one")]).await;
    let results =
        push(backend, &[mutation("update", "m2", "todo.update", &json!({ "id": "t1", "done": true }))]).await;
    let data = &results[0]["changes"][0]["data"];
    assert_eq!(data["op"], "update");
    assert_eq!(
        (&data["todo"]["id"], &data["todo"]["title"], &data["todo"]["done"]),
        (&json!("t1"), &json!("one"), &json!(true))
    );
    assert_eq!(rows(&snapshot(backend, "update").await)["t1"]["title"], "one");
}

/// The change of a delete names the row, and the row is gone.
pub async fn a_delete_takes_the_row_away<B: MizuBackend>(backend: &mut B) {
    push(backend, &[create("delete", "m1", "t1", "one"), create("delete", "m2", "t2", "two")]).await;
    let results = push(backend, &[mutation("delete", "m3", "todo.delete", &json!({ "id": "t1" }))]).await;
    assert_eq!(results[0]["ok"], true, "{}", results[0]);
    let data = &results[0]["changes"][0]["data"];
    assert_eq!((&data["op"], &data["todo"]["id"]), (&json!("delete"), &json!("t1")));
    assert_eq!(rows(&snapshot(backend, "delete").await).keys().collect::<Vec<_>>(), ["t2"]);
}

/// A pull brings the very changes that the pushes answered.
pub async fn pulling_gives_every_change_in_order<B: MizuBackend>(backend: &mut B) {
    let mut expected = Vec::new();
    for n in 1..=5 {
        let results = push(backend, &[create("pull", &format!("m{n}"), &format!("t{n}"), "x")]).await;
        expected.push(results[0]["changes"][0].clone());
    }
    let answer = pull(backend, "pull", 0, None).await;
    assert_eq!(changes(&answer), expected);
    assert_eq!(answer["has_more"], false);
    assert_eq!(answer["next_cursor"], expected[4]["cursor"]);
    let from = cursor(&expected[2]);
    assert_eq!(changes(&pull(backend, "pull", from, None).await), expected[3..]);
}

/// Pages join without a gap, and say whether there is more.
pub async fn pulling_pages_by_the_limit<B: MizuBackend>(backend: &mut B) {
    let mutations: Vec<_> =
        (1..=5).map(|n| create("pages", &format!("m{n}"), &format!("t{n}"), "x")).collect();
    push(backend, &mutations).await;
    let (mut from, mut ids) = (0, Vec::new());
    for more in [true, true, false] {
        let answer = pull(backend, "pages", from, Some(2)).await;
        assert_eq!(answer["has_more"], more, "{answer}");
        assert_eq!(changes(&answer).len(), if more { 2 } else { 1 });
        ids.extend(
            changes(&answer)
                .iter()
                .map(|change| change["data"]["todo"]["id"].as_str().unwrap_or_default().to_owned()),
        );
        from = answer["next_cursor"].as_u64().expect("a page with changes has a next cursor");
    }
    assert_eq!(ids, ["t1", "t2", "t3", "t4", "t5"]);
}

/// A page has at most 1,000 changes, whatever is asked for.
pub async fn a_limit_that_is_too_large_is_lowered<B: MizuBackend>(backend: &mut B) {
    let mutations: Vec<_> =
        (0..=PAGE_MAX_CHANGES).map(|n| create("many", &format!("m{n}"), &format!("t{n}"), "x")).collect();
    for batch in mutations.chunks(PUSH_MAX_MUTATIONS) {
        push(backend, batch).await;
    }
    let answer = pull(backend, "many", 0, Some(5_000)).await;
    assert_eq!(changes(&answer).len(), PAGE_MAX_CHANGES);
    assert_eq!(answer["has_more"], true);
}

/// Neither the head nor a cursor past it is an error.
pub async fn pulling_from_the_head_gives_nothing<B: MizuBackend>(backend: &mut B) {
    let results = push(backend, &[create("head", "m1", "t1", "one")]).await;
    for from in [cursor(&results[0]), cursor(&results[0]) + 1_000_000] {
        let answer = pull(backend, "head", from, None).await;
        assert!(changes(&answer).is_empty(), "{answer}");
        assert_eq!(answer["has_more"], false);
    }
}

/// Rows and changes of one scope do not show in another.
pub async fn scopes_are_apart<B: MizuBackend>(backend: &mut B) {
    push(backend, &[create("apart 1", "m1", "t1", "one"), create("apart 2", "m2", "t2", "two")]).await;
    for (scope, id) in [("apart 1", "t1"), ("apart 2", "t2")] {
        let answer = pull(backend, scope, 0, None).await;
        assert_eq!(changes(&answer).len(), 1);
        assert_eq!(
            (&changes(&answer)[0]["scope"], &changes(&answer)[0]["data"]["todo"]["id"]),
            (&json!(scope), &json!(id))
        );
        assert_eq!(rows(&snapshot(backend, scope).await).keys().collect::<Vec<_>>(), [id]);
    }
}

/// It is called `_default`.
pub async fn a_missing_scope_is_the_default_one<B: MizuBackend>(backend: &mut B) {
    let body = json!({ "mutations": [{ "id": "default 1", "name": "todo.create", "args": { "id": "default row" } }] });
    let answer = ok(&backend.post("/_sync/push", &body.to_string()).await);
    let from = cursor(&answer["results"][0]) - 1;
    assert_eq!(answer["results"][0]["changes"][0]["scope"], "_default");
    let without = ok(&backend.post("/_sync/pull", &json!({ "cursor": from }).to_string()).await);
    assert_eq!(changes(&without)[0]["data"]["todo"]["id"], "default row");
    assert_eq!(pull(backend, "_default", from, None).await, without);
}

/// A push whose answer was lost is sent again: it succeeds, with the scope's cursor and without changes.
pub async fn a_repeated_mutation_changes_nothing<B: MizuBackend>(backend: &mut B) {
    let batch = [
        create("repeat", "m1", "t1", "one"),
        mutation("repeat", "m2", "todo.update", &json!({ "id": "t1", "title": "two" })),
    ];
    let first = push(backend, &batch).await;
    push(backend, &[mutation("repeat", "m3", "todo.update", &json!({ "id": "t1", "title": "three" }))]).await;
    let again = push(backend, &batch).await;
    for result in &again {
        assert_eq!(result["ok"], true, "{result}");
        assert!(result["changes"].as_array().is_none_or(Vec::is_empty), "{result}");
        assert!(cursor(result) >= cursor(&first[1]));
    }
    assert_eq!(changes(&pull(backend, "repeat", 0, None).await).len(), 3);
    assert_eq!(rows(&snapshot(backend, "repeat").await)["t1"]["title"], "three");
}

/// Also within one batch.
pub async fn a_repeated_mutation_in_one_push_is_applied_once<B: MizuBackend>(backend: &mut B) {
    let results =
        push(backend, &[create("twice", "m1", "t1", "one"), create("twice", "m1", "t1", "one")]).await;
    assert!(results.iter().all(|result| result["ok"] == true), "{results:?}");
    assert_eq!(changes(&pull(backend, "twice", 0, None).await).len(), 1);
}

/// The same id in another scope is another mutation.
pub async fn ids_are_remembered_for_each_scope_on_its_own<B: MizuBackend>(backend: &mut B) {
    push(backend, &[create("ids 1", "m1", "t1", "one")]).await;
    push(backend, &[create("ids 2", "m1", "t1", "one")]).await;
    assert_eq!(changes(&pull(backend, "ids 2", 0, None).await).len(), 1);
}

/// Without an id there is nothing to recognise it by.
pub async fn mutations_without_an_id_are_not_recognised_again<B: MizuBackend>(backend: &mut B) {
    push(backend, &[create("no id", "m1", "t1", "one")]).await;
    let update = json!({ "scope": "no id", "name": "todo.update", "args": { "id": "t1", "n": 1 } });
    for _ in 0..2 {
        push(backend, core::slice::from_ref(&update)).await;
    }
    assert_eq!(changes(&pull(backend, "no id", 0, None).await).len(), 3);
}

/// A push is no transaction: each mutation has its own result, in the order of the push.
pub async fn a_refused_mutation_leaves_its_neighbours_alone<B: MizuBackend>(backend: &mut B) {
    push(backend, &[create("refused", "m0", "t0", "zero")]).await;
    let results = push(
        backend,
        &[
            create("refused", "m1", "t0", "again"),
            create("refused", "m2", "t2", "two"),
            mutation("refused", "m3", "todo.update", &json!({ "id": "missing", "title": "x" })),
            mutation("refused", "m4", "todo.delete", &json!({ "id": "missing" })),
            mutation("refused", "m5", "no such mutation", &json!({})),
            mutation("refused", "m6", "todo.update", &json!({ "id": "t2", "title": "too" })),
        ],
    )
    .await;
    let oks: Vec<_> = results.iter().map(|result| result["ok"] == true).collect();
    assert_eq!(oks, [false, true, false, true, false, true], "{results:?}");
    assert_eq!(results[3].get("changes"), None, "a row that is gone already is no news");
    for (position, text) in [(0, "sync: conflict"), (2, "sync: not found"), (4, "sync: invalid mutation")] {
        let error = results[position]["error"].as_str().unwrap_or_default();
        assert!(error.starts_with(text), "{error} at {position}");
    }
    let snapshot = snapshot(backend, "refused").await;
    assert_eq!(
        (&rows(&snapshot)["t0"]["title"], &rows(&snapshot)["t2"]["title"]),
        (&json!("zero"), &json!("too"))
    );
    assert_eq!(changes(&pull(backend, "refused", 0, None).await).len(), 3);
}

/// Only what was applied is remembered.
pub async fn a_refused_mutation_is_tried_again_when_it_comes_again<B: MizuBackend>(backend: &mut B) {
    let update = mutation("again", "m1", "todo.update", &json!({ "id": "t1", "title": "new" }));
    assert_eq!(push(backend, core::slice::from_ref(&update)).await[0]["ok"], false);
    push(backend, &[create("again", "m2", "t1", "old")]).await;
    assert_eq!(push(backend, core::slice::from_ref(&update)).await[0]["ok"], true);
    assert_eq!(rows(&snapshot(backend, "again").await)["t1"]["title"], "new");
}

/// What the snapshot has and what a pull from its cursor brings are all there is.
pub async fn a_snapshot_has_the_rows_and_the_cursor_to_pull_from<B: MizuBackend>(backend: &mut B) {
    push(backend, &[create("snapshot", "m1", "t1", "one"), create("snapshot", "m2", "t2", "two")]).await;
    let snapshot = snapshot(backend, "snapshot").await;
    assert_eq!(rows(&snapshot).keys().collect::<Vec<_>>(), ["t1", "t2"]);
    let from = cursor(&snapshot);
    assert!(changes(&pull(backend, "snapshot", from, None).await).is_empty());
    push(backend, &[create("snapshot", "m3", "t3", "three")]).await;
    let answer = pull(backend, "snapshot", from, None).await;
    assert_eq!(changes(&answer).len(), 1);
    assert_eq!(changes(&answer)[0]["data"]["todo"]["id"], "t3");
}

/// A client that is behind the trim is told so, and a snapshot still has everything.
pub async fn a_trimmed_log_answers_that_the_cursor_is_too_old<B: MizuBackend>(backend: &mut B) {
    let mut cursors = Vec::new();
    for n in 1..=4 {
        cursors.push(cursor(
            &push(backend, &[create("trim", &format!("m{n}"), &format!("t{n}"), "x")]).await[0],
        ));
    }
    backend.trim("trim", cursors[2]).await;
    let body = json!({ "scope": "trim", "cursor": cursors[0] }).to_string();
    let answer = backend.post("/_sync/pull", &body).await;
    assert_eq!(answer.status, 410, "{}", answer.body);
    assert_eq!(parse(&answer)["code"], "cursor_too_old");
    assert_eq!(changes(&pull(backend, "trim", cursors[2], None).await).len(), 1);
    assert_eq!(rows(&snapshot(backend, "trim").await).len(), 4);
}

/// A push that comes again after its change was trimmed is still known.
pub async fn a_trim_forgets_no_ids<B: MizuBackend>(backend: &mut B) {
    let first = create("trim ids", "m1", "t1", "one");
    push(backend, core::slice::from_ref(&first)).await;
    push(backend, &[mutation("trim ids", "m2", "todo.delete", &json!({ "id": "t1" }))]).await;
    let head = cursor(&push(backend, &[create("trim ids", "m3", "t3", "three")]).await[0]);
    backend.trim("trim ids", head).await;
    assert_eq!(push(backend, core::slice::from_ref(&first)).await[0]["ok"], true);
    assert_eq!(rows(&snapshot(backend, "trim ids").await).keys().collect::<Vec<_>>(), ["t3"]);
}

/// 400, with a code.
pub async fn a_push_without_mutations_is_malformed<B: MizuBackend>(backend: &mut B) {
    refused(&backend.post("/_sync/push", "{\"mutations\":[]}").await);
}

/// At most 100; of 101 none is applied.
pub async fn too_many_mutations_are_refused_as_a_whole<B: MizuBackend>(backend: &mut B) {
    let mutations: Vec<_> =
        (0..=PUSH_MAX_MUTATIONS).map(|n| create("batch", &format!("m{n}"), &format!("t{n}"), "x")).collect();
    refused(&backend.post("/_sync/push", &json!({ "mutations": mutations }).to_string()).await);
    assert!(rows(&snapshot(backend, "batch").await).is_empty());
    push(backend, &mutations[..PUSH_MAX_MUTATIONS]).await;
    assert_eq!(rows(&snapshot(backend, "batch").await).len(), PUSH_MAX_MUTATIONS);
}

/// At most 1 MiB. The published server answers 400; 413 says the same better.
pub async fn a_body_that_is_too_large_is_refused<B: MizuBackend>(backend: &mut B) {
    let body =
        json!({ "mutations": [create("large", "m1", "t1", &"x".repeat(REQUEST_MAX_BYTES))] }).to_string();
    let answer = backend.post("/_sync/push", &body).await;
    assert!([400, 413].contains(&answer.status), "{}", answer.status);
    assert!(rows(&snapshot(backend, "large").await).is_empty());
    let body = json!({ "mutations": [create("large", "m2", "t2", &"x".repeat(REQUEST_MAX_BYTES - 1_024))] })
        .to_string();
    assert_eq!(ok(&backend.post("/_sync/push", &body).await)["results"][0]["ok"], true);
}

/// A field of another dialect is an error, not a surprise.
pub async fn unknown_fields_are_refused<B: MizuBackend>(backend: &mut B) {
    for (path, body) in [
        (
            "/_sync/push",
            json!({ "mutations": [{ "id": "m1", "scope": "unknown", "name": "todo.create", "args": { "id": "t" }, "client_id": "c" }] }),
        ),
        ("/_sync/push", json!({ "mutations": [create("unknown", "m1", "t1", "x")], "client": "c" })),
        ("/_sync/pull", json!({ "scope": "unknown", "cursor": 0, "since": 1 })),
        ("/_sync/snapshot", json!({ "scope": "unknown", "cursor": 0 })),
    ] {
        refused(&backend.post(path, &body.to_string()).await);
    }
    assert!(rows(&snapshot(backend, "unknown").await).is_empty());
}

/// Half a body, text after it, a wrong type, a negative cursor.
pub async fn what_is_not_json_is_refused<B: MizuBackend>(backend: &mut B) {
    for (path, body) in [
        ("/_sync/push", "{"),
        ("/_sync/push", ""),
        (
            "/_sync/push",
            "{\"mutations\":[{\"id\":\"m1\",\"scope\":\"junk\",\"name\":\"todo.create\",\"args\":{\"id\":\"t\"}}]} trailing",
        ),
        ("/_sync/push", "{\"mutations\":{}}"),
        ("/_sync/pull", "{\"scope\":\"junk\",\"cursor\":-1}"),
        ("/_sync/pull", "{\"scope\":7}"),
        ("/_sync/snapshot", "[1"),
    ] {
        refused(&backend.post(path, body).await);
    }
    assert!(rows(&snapshot(backend, "junk").await).is_empty());
}

fn mutation(scope: &str, id: &str, name: &str, args: &Value) -> Value {
    json!({ "id": id, "scope": scope, "name": name, "args": args })
}

fn create(scope: &str, id: &str, row: &str, title: &str) -> Value {
    mutation(scope, id, "todo.create", &json!({ "id": row, "title": title }))
}

async fn push<B: MizuBackend>(backend: &mut B, mutations: &[Value]) -> Vec<Value> {
    let answer = ok(&backend.post("/_sync/push", &json!({ "mutations": mutations }).to_string()).await);
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    assert_eq!(results.len(), mutations.len(), "one result for each mutation: {answer}");
    results
}

async fn pull<B: MizuBackend>(backend: &mut B, scope: &str, cursor: u64, limit: Option<u32>) -> Value {
    let mut body = json!({ "scope": scope, "cursor": cursor });
    if let Some(limit) = limit {
        body["limit"] = limit.into();
    }
    ok(&backend.post("/_sync/pull", &body.to_string()).await)
}

async fn snapshot<B: MizuBackend>(backend: &mut B, scope: &str) -> Value {
    ok(&backend.post("/_sync/snapshot", &json!({ "scope": scope }).to_string()).await)
}

/// `null` and an absent field are none.
fn changes(answer: &Value) -> Vec<Value> {
    answer["changes"].as_array().cloned().unwrap_or_default()
}

fn rows(snapshot: &Value) -> serde_json::Map<String, Value> {
    snapshot["data"]["todos"].as_object().cloned().unwrap_or_default()
}

fn cursor(of: &Value) -> u64 {
    of["cursor"].as_u64().unwrap_or_else(|| panic!("a cursor is a whole number: {of}"))
}

fn ok(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    parse(answer)
}

fn refused(answer: &Answer) {
    assert_eq!(answer.status, 400, "{}", answer.body);
    let body = parse(answer);
    assert_eq!(body["code"], "invalid_mutation", "{body}");
    assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
}

fn parse(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}
