// Rows and what changed in them, as keys and values.
import { create } from 'mutative'
import { DriftlineError } from './errors.ts'
import type { Rows, StandardSchemaV1 } from './types.ts'

/** Keys and values, in two arrays of one length. */
export interface KeyedRows { keys: string[]; values: unknown[] }

/** The key of a row: a string that is not empty; its length is checked by the core. */
export function keyOf<T>(row: T, getKey: (row: T) => string): string {
  const key: unknown = row === null || typeof row !== 'object' ? undefined : getKey(row)
  if (typeof key !== 'string' || key === '') {
    throw new DriftlineError('invalid_key', `A row’s key is a string that is not empty; this one is ${key === '' ? 'empty' : typeof key}. Nothing was written; give the row an id, or say where the key is with getKey.`)
  }
  return key
}

/** The rows that a sync feed delivers. */
export function keyedRows<T>(rows: Rows<T>, getKey: (row: T) => string): KeyedRows {
  const keyed: KeyedRows = { keys: [], values: [] }
  if (Symbol.iterator in rows) {
    for (const row of rows as Iterable<T>) {
      keyed.keys.push(keyOf(row, getKey))
      keyed.values.push(row)
    }
  } else {
    for (const [key, row] of Object.entries(rows)) {
      keyed.keys.push(key)
      keyed.values.push(row)
    }
  }
  return keyed
}

/** The top-level fields that a function changes in a draft of a row; one that it removes is there as `undefined`. */
export function drafted<T>(row: T, change: (draft: T) => void): Record<string, unknown> {
  // The function's value is none of the draft's: `draft => draft.count++` is meant as a change.
  const changed = create(row as object, draft => { change(draft as T) }) as Record<string, unknown>
  const before = row as Record<string, unknown>
  const changes: Record<string, unknown> = {}
  for (const field of Object.keys(changed)) if (changed[field] !== before[field]) changes[field] = changed[field]
  for (const field of Object.keys(before)) if (!(field in changed)) changes[field] = undefined
  return changes
}

/** What a schema makes of a row; throws `invalid_row` with what is wrong. */
export function validated<T>(schema: StandardSchemaV1<unknown, T>, row: unknown): T {
  const result = schema['~standard'].validate(row)
  if (result instanceof Promise) {
    throw new DriftlineError('invalid_row', 'The schema checks rows asynchronously, and a write shows at once. Nothing was written; use a schema that answers synchronously.', { issues: [] })
  }
  if (result.issues !== undefined) {
    const issues = result.issues.map(({ message, path }) => ({ message, ...(path === undefined ? {} : { path }) }))
    throw new DriftlineError('invalid_row', `The row does not fit its schema: ${issues.map(({ message }) => message).join('; ')}. Nothing was written.`, { issues })
  }
  return result.value
}
