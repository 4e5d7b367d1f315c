// Made from the list in crates/core/src/error.rs by crates/core/tests/codes.rs. Don't edit: change the list there.

/** The codes of Driftline's own errors, and whether a call that failed so may succeed later. */
export const codes = {
  /** A row with this key is there already. */
  duplicate_key: false,
  /** There is no row with this key. */
  missing_key: false,
  /** A row's key is not a string, is empty, or has more than 1,024 bytes. */
  invalid_key: false,
  /** A value can't be stored: structured clone refuses it (a function, a symbol, a DOM node). */
  not_cloneable: false,
  /** The row or the change is no object, or the collection's schema refuses it or answers asynchronously. */
  invalid_row: false,
  /** A change, a push or a file is larger than what stores it takes. */
  too_large: false,
  /** As many transactions wait as `maxPending` allows. */
  queue_full: true,
  /** The browser has no room left for this site. */
  quota_exceeded: true,
  /** The browser's storage can't be opened, read or written. */
  storage_unavailable: true,
  /** The browser has lost or emptied the database that was here: all that was stored in it and not sent is gone. */
  storage_lost: false,
  /** The database was closed. */
  closed: false,
  /** The id of a collection or a backend is taken, with another config. */
  already_registered: false,
  /** A transaction spans collections that have no `persist` function or remote in common. */
  mixed_persist: false,
  /** A mutation function or a merge is named that the collection does not have. */
  unknown_mutation: false,
  /** The transaction is being sent, or the backend has it. */
  not_discardable: false,
  /** The transaction was discarded, alone or with one that it waited on. */
  discarded: false,
  /** An earlier transaction on the same row failed, and this one with it. */
  cascade: false,
  /** The backend was wiped or replaced: it does not know what it gave before. */
  backend_reset: false,
  /** The backend has events that this client has not seen. */
  server_ahead: true,
  /** The backend refused a change, or answered a push with what can't be understood. */
  invalid_push: false,
  /** The backend answered a pull with what can't be understood. */
  invalid_pull: false,
  /** The backend can't be reached. */
  offline: true,
  /** The backend asks for credentials. */
  auth_required: true,
  /** There is no transaction, file, collection or remote with this id. */
  not_found: false,
  /** The bytes of a file are not those that its hash names. */
  digest_mismatch: false,
  /** Something was used before the call that the message names. */
  not_initialized: false,
  /** A call was made in a way that is none of the above, or an app's function failed. */
  unexpected: false,
} as const
/** Those that are there for an app's functions to throw. */
export const appCodes = {
  /** `NonRetriableError`: trying again can't help. */
  non_retriable: false,
  /** `RetryAfterError`: try again, but not before `afterMs` have passed. */
  retry_after: true,
  /** `NetworkError`: nothing was reached, so no attempt is spent. */
  network: true,
} as const
