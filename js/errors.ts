// Every error that Driftline throws, told apart by `code`; and those that an app's own functions throw to say what to do.
import { appCodes, codes } from './codes.ts'

/** The codes of Driftline's errors: `js/errors.md` says what each means and what to do. */
export type ErrorCode = keyof typeof codes | AppErrorCode

/** The codes of the errors that are there for an app's functions to throw. */
export type AppErrorCode = keyof typeof appCodes

/** What an error may carry besides its message. */
export interface ErrorDetails {
  cause?: unknown
  /** Whether the same call may succeed later without a change to it; by default as the code says. */
  retryable?: boolean
  /** Where in a row the refused value stands, as `list[2].name`. */
  path?: string
  /** What the schema says is wrong. */
  issues?: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[]
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
    this.retryable = retryable ?? (isCode(code) ? codes[code] : appCodes[code])
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
  constructor(message = 'The network could not be reached. What is written is kept, and sent when it can be.', options: { cause?: unknown } = {}) {
    super('network', message, { ...options, retryable: true })
  }
}

/** The backend answered a pull with what can't be understood, or refused it. */
export class InvalidPullError extends DriftlineError {
  override readonly name = 'InvalidPullError'
  constructor(message: string, details: ErrorDetails = {}) {
    super('invalid_pull', message, details)
  }
}

/** The backend refused what was pushed, or answered with what can't be understood. */
export class InvalidPushError extends DriftlineError {
  override readonly name = 'InvalidPushError'
  constructor(message: string, details: ErrorDetails = {}) {
    super('invalid_push', message, details)
  }
}

/** The backend can't be reached, or does not answer in time. What waits is kept, and sent when it can be. */
export class IsOfflineError extends DriftlineError {
  override readonly name = 'IsOfflineError'
  constructor(message = 'The backend can’t be reached. What waits is kept, and sent when it can be.', details: ErrorDetails = {}) {
    super('offline', message, details)
  }
}

/** The log does not end where events were meant for: others wrote first. It is read, and they are sent again behind it. */
export class ServerAheadError extends DriftlineError {
  override readonly name = 'ServerAheadError'
  readonly head: number | undefined
  /** `head` is the last position, if it is known. */
  constructor(head?: number, { message = 'Others wrote first. What they wrote is read, and this is sent again behind it.', ...details }: ErrorDetails & { message?: string } = {}) {
    super('server_ahead', message, details)
    this.head = head
  }
}

/** It is not the log that the cursor is of: the backend was wiped or replaced. Rows are fetched anew, and what waits is kept. */
export class BackendResetError extends DriftlineError {
  override readonly name = 'BackendResetError'
  constructor(message = 'The backend is not the one that it was. Rows are fetched anew; what waits to be sent is kept.', details: ErrorDetails = {}) {
    super('backend_reset', message, details)
  }
}

/** A call was made in a way that none of the other errors names, or an app's function failed. */
export class UnexpectedError extends DriftlineError {
  override readonly name = 'UnexpectedError'
  constructor(message: string, details: ErrorDetails = {}) {
    super('unexpected', message, details)
  }
}

/** The error of a code, as the class that the code has, if it has one. */
export function errorOf(code: ErrorCode, message: string, details: ErrorDetails = {}): DriftlineError {
  switch (code) {
    case 'invalid_pull': return new InvalidPullError(message, details)
    case 'invalid_push': return new InvalidPushError(message, details)
    case 'offline': return new IsOfflineError(message, details)
    case 'server_ahead': return new ServerAheadError(undefined, { message, ...details })
    case 'backend_reset': return new BackendResetError(message, details)
    case 'unexpected': return new UnexpectedError(message, details)
    case 'auth_required': return new AuthRequiredError(message, details)
    default: return new DriftlineError(code, message, details)
  }
}

/** What the wasm module throws for bad input. */
export interface WireError { code: string; message: string; limit?: number; actual?: number }

/** Whether something thrown is the wasm module's. */
export function isWireError(thrown: unknown): thrown is WireError {
  return typeof thrown === 'object' && thrown !== null && !(thrown instanceof Error) && 'code' in thrown && 'message' in thrown
}

/** The error for a code of the wasm module's, with its figures under the names of the API. */
export function fromWire({ code, message, ...figures }: WireError): DriftlineError {
  const known = isCode(code) ? code : 'unexpected'
  return errorOf(known, message, named(known, figures))
}

/** An error that was kept as words, by an earlier session or another tab, as much like itself as those allow. */
export function revived(known: { name: string; code: string; message: string; limit?: number; actual?: number }, transactionId: string | undefined): Error {
  const { name, code, message } = known
  if (name === 'NonRetriableError') return new NonRetriableError(message)
  if (name === 'AuthRequiredError') return new AuthRequiredError(message)
  if (name === 'NetworkError') return new NetworkError(message)
  if (isCode(code)) return errorOf(code, message, { ...named(code, known), ...(transactionId === undefined ? {} : { transactionId }) })
  const error = new Error(message)
  error.name = name
  return Object.assign(error, code === '' ? {} : { code })
}

function named(code: ErrorCode, { limit, actual }: { limit?: number; actual?: number }): ErrorDetails {
  if (limit === undefined || actual === undefined) return {}
  if (code === 'quota_exceeded') return { quota: limit, usage: actual }
  return code === 'too_large' ? { limitBytes: limit, sizeBytes: actual } : {}
}

function isCode(code: string): code is keyof typeof codes {
  return Object.hasOwn(codes, code)
}
