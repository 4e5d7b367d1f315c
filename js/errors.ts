// Every error that Driftline throws, told apart by `code`; and those that an app's own functions throw to say what to do.

/** The codes of Driftline's errors. */
export type ErrorCode = keyof typeof codes | AppErrorCode

/** The codes of the errors that are there for an app's functions to throw. */
export type AppErrorCode = 'non_retriable' | 'retry_after' | 'network'

/** What an error may carry besides its message. */
export interface ErrorDetails {
  cause?: unknown
  /** Whether the same call may succeed later without a change to it; by default as the code says. */
  retryable?: boolean
  /** Where in a row the refused value stands, as `list[2].name`. */
  path?: string
  /** What the schema says is wrong. */
  issues?: readonly { message: string; path?: readonly unknown[] }[]
  limitBytes?: number
  sizeBytes?: number
  /** What the site uses and may use, in bytes. */
  usage?: number
  quota?: number
  /** The transaction that failed first. */
  transactionId?: string
}

/** The base of all of Driftline's errors. */
export class DriftlineError extends Error {
  readonly code: ErrorCode
  readonly retryable: boolean
  declare readonly path?: string
  declare readonly issues?: ErrorDetails['issues']
  declare readonly limitBytes?: number
  declare readonly sizeBytes?: number
  declare readonly usage?: number
  declare readonly quota?: number
  declare readonly transactionId?: string

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    const { cause, retryable, ...rest } = details
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.retryable = retryable ?? (code in codes && codes[code as keyof typeof codes])
    this.name = new.target === DriftlineError ? 'DriftlineError' : new.target.name
    for (const [field, value] of Object.entries(rest)) if (value !== undefined) Object.assign(this, { [field]: value })
  }
}

/** Thrown by `persist`: trying again can't help. The transaction fails now, with those that wait on it. */
export class NonRetriableError extends DriftlineError {
  override readonly name = 'NonRetriableError'
  constructor(message: string, options: { cause?: unknown } = {}) {
    super('non_retriable', message, { ...options, retryable: false })
  }
}

/** Thrown by `persist`: try again, but not before so many milliseconds. */
export class RetryAfterError extends DriftlineError {
  override readonly name = 'RetryAfterError'
  readonly afterMs: number
  constructor(message: string, afterMs: number, options: { cause?: unknown } = {}) {
    super('retry_after', message, { ...options, retryable: true })
    this.afterMs = afterMs
  }
}

/** Thrown by `persist`: the backend wants credentials. The collection is held, no attempt is spent, until `db.resume()`. */
export class AuthRequiredError extends DriftlineError {
  override readonly name = 'AuthRequiredError'
  constructor(message = 'The backend asks for credentials. What is written is kept; sign in and call resume().', options: { cause?: unknown } = {}) {
    super('auth_required', message, { ...options, retryable: true })
  }
}

/** Nothing was reached: no attempt is spent. The `fetch` that `persist` is handed throws it. */
export class NetworkError extends DriftlineError {
  override readonly name = 'NetworkError'
  constructor(message = 'The network could not be reached.', options: { cause?: unknown } = {}) {
    super('network', message, { ...options, retryable: true })
  }
}

/** What the wasm module throws for bad input. */
export interface WireError { code: string; message: string; limit?: number; actual?: number }

/** Whether something thrown is the wasm module's. */
export function isWireError(thrown: unknown): thrown is WireError {
  return typeof thrown === 'object' && thrown !== null && !(thrown instanceof Error) && 'code' in thrown && 'message' in thrown
}

/** The error for a code of the wasm module's, with its figures under the names of the API. */
export function fromWire({ code, message, limit, actual }: WireError): DriftlineError {
  const known = code in codes ? (code as ErrorCode) : 'unexpected'
  const figures = known === 'quota_exceeded' ? { quota: limit, usage: actual } : known === 'too_large' ? { limitBytes: limit, sizeBytes: actual } : {}
  return new DriftlineError(known, message, figures as ErrorDetails)
}

/** The codes, and whether a call that failed so may succeed later. The core's are the same: `crates/core/src/error.rs`. */
export const codes = {
  duplicate_key: false,
  missing_key: false,
  invalid_key: false,
  not_cloneable: false,
  invalid_row: false,
  too_large: false,
  queue_full: true,
  quota_exceeded: true,
  storage_unavailable: true,
  closed: false,
  already_registered: false,
  mixed_persist: false,
  unknown_mutation: false,
  not_discardable: false,
  discarded: false,
  cascade: false,
  backend_reset: false,
  server_ahead: true,
  invalid_push: false,
  invalid_pull: false,
  offline: true,
  auth_required: true,
  not_found: false,
  unexpected: false,
  digest_mismatch: false,
  not_initialized: false,
} as const
