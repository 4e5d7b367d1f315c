//! `/plan/_sync/push`, `/pull`, `/snapshot`: mizu's wire as first planned, on the same log and rows as `/_sync`.
//!
//! A mutation `<entity>/create` is the engine's `<entity>.create`, known again by `(client_id, client_seq)` in its scope,
//! which the first published server did not do. A change that the default mutator did not write, and so names no row,
//! stands with an empty entity and id, and with its data as it is.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use driftline_protocol::mizu::{self, EntityChange, Op, PullRequest, SnapshotRequest, plan};
use serde::Deserialize;

use super::App;
use super::respond::json;
use super::sync::{answer, parse, read_engine};
use crate::error::{Error, ErrorKind, Result};

pub(super) async fn push(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let apply = async {
        let push: plan::PushRequest = parse(&headers, body).await?;
        let mutations = push.mutations.into_iter().map(to_engine).collect::<Result<_>>()?;
        let response = app.writer.push(mizu::PushRequest { mutations }).await?;
        app.metrics.count_push(&response);
        let cursor = response.results.iter().filter_map(|result| result.cursor).max().unwrap_or_default();
        let results = response.results.into_iter().map(result).collect();
        Ok(json(&plan::PushResponse { results, cursor }))
    };
    answer(apply.await)
}

pub(super) async fn pull(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let read = async {
        let request: PullRequest = parse(&headers, body).await?;
        read_engine(&app, move |engine| {
            let page = engine.pull(&request)?;
            let cursor = page.next_cursor.unwrap_or(request.cursor);
            let changes = page.changes.map(|changes| changes.into_iter().map(change).collect());
            Ok(json(&plan::PullResponse { changes, cursor, has_more: page.has_more }))
        })
        .await
    };
    answer(read.await)
}

pub(super) async fn snapshot(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let read = async {
        let request: SnapshotRequest = parse(&headers, body).await?;
        if request.scope.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "scope is required"));
        }
        read_engine(&app, move |engine| {
            let snapshot = engine.snapshot(&request)?;
            let entity = |plural: String| plural.strip_suffix('s').map(str::to_owned).unwrap_or(plural);
            let data = snapshot.data.into_iter().map(|(plural, rows)| (entity(plural), rows)).collect();
            Ok(json(&plan::SnapshotResponse { data, cursor: snapshot.cursor }))
        })
        .await
    };
    answer(read.await)
}

fn to_engine(mutation: plan::Mutation) -> Result<mizu::Mutation> {
    if mutation.client_id.len() > plan::MAX_CLIENT_ID_BYTES {
        let text = format!(
            "client_id has {} bytes, the limit is {}: nothing was applied",
            mutation.client_id.len(),
            plan::MAX_CLIENT_ID_BYTES
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    // Told apart from the ids of the other dialect, which share the scope.
    let id = plan::idempotency_key(&mutation).map(|key| format!("plan {key}")).unwrap_or_default();
    let name = match mutation.name.rsplit_once('/') {
        Some((entity, op)) => format!("{entity}.{op}"),
        None => mutation.name,
    };
    Ok(mizu::Mutation { id, scope: mutation.scope, name, args: mutation.args })
}

fn result(result: mizu::MutationResult) -> plan::MutationResult {
    let error = match result.failure() {
        None => None,
        Some(mizu::Failure::Invalid) => {
            Some(retold(&result, mizu::failure::INVALID_MUTATION, plan::failure::UNKNOWN_MUTATION))
        }
        Some(mizu::Failure::NotFound) => {
            Some(retold(&result, mizu::failure::NOT_FOUND, plan::failure::ENTITY_NOT_FOUND))
        }
        Some(_) => result.error.clone(),
    };
    plan::MutationResult {
        ok: result.ok,
        cursor: result.cursor.unwrap_or_default(),
        changes: result.changes.into_iter().map(change).collect(),
        error,
    }
}

/// The text of a refusal with the beginning that this dialect has.
fn retold(result: &mizu::MutationResult, ours: &str, theirs: &str) -> String {
    let text = result.error.as_deref().unwrap_or_default();
    format!("{theirs}{}", text.strip_prefix(ours).unwrap_or_default())
}

fn change(change: mizu::Change) -> plan::Change {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let row = serde_json::from_str::<EntityChange>(change.data.get()).ok().and_then(|data| {
        let Named { id } = serde_json::from_str(data.row.get()).ok()?;
        Some((data.entity, id, data.op, data.row))
    });
    let (entity, id, op, data) =
        row.unwrap_or_else(|| (String::new(), String::new(), Op::Update, change.data));
    plan::Change { cursor: change.cursor, scope: change.scope, entity, id, op, data, ts: change.time }
}
