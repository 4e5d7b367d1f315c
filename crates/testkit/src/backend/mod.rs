//! A conformance suite for servers of mizu's wire, dialect `v0.3` (tags v0.3.10 to v0.5.26), given as a
//! request function: the server's engine in process, the server over HTTP, the simulator's model.

pub mod suite;

use core::future::Future;

/// A server under test.
pub trait MizuBackend {
    /// Sends `body` by POST with `Content-Type: application/json` to `path`, such as `/_sync/push`.
    fn post(&mut self, path: &str, body: &str) -> impl Future<Output = Answer>;

    /// Drops the scope's log entries with cursors below `before`; its rows stay.
    fn trim(&mut self, scope: &str, before: u64) -> impl Future<Output = ()>;
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body's text.
    pub body: String,
}

/// Hands the names of all checks in [`suite`] to a macro. Each uses scopes of its own, named after it, so
/// that one server can take them all.
#[macro_export]
macro_rules! for_each_backend_check {
    ($callback:ident) => {
        $callback! {
            an_unknown_scope_is_empty
            a_push_answers_each_mutation_with_its_cursor_and_changes
            an_update_merges_fields_and_answers_the_whole_row
            a_delete_takes_the_row_away
            pulling_gives_every_change_in_order
            pulling_pages_by_the_limit
            a_limit_that_is_too_large_is_lowered
            pulling_from_the_head_gives_nothing
            scopes_are_apart
            a_missing_scope_is_the_default_one
            a_repeated_mutation_changes_nothing
            a_repeated_mutation_in_one_push_is_applied_once
            ids_are_remembered_for_each_scope_on_its_own
            mutations_without_an_id_are_not_recognised_again
            a_refused_mutation_leaves_its_neighbours_alone
            a_refused_mutation_is_tried_again_when_it_comes_again
            a_snapshot_has_the_rows_and_the_cursor_to_pull_from
            a_trimmed_log_answers_that_the_cursor_is_too_old
            a_trim_forgets_no_ids
            a_push_without_mutations_is_malformed
            too_many_mutations_are_refused_as_a_whole
            a_body_that_is_too_large_is_refused
            unknown_fields_are_refused
            what_is_not_json_is_refused
        }
    };
}
