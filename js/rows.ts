// Rows and what changed in them, as keys and values.
import { create } from 'mutative'
import { alike } from './alike.ts'
import { laidOver } from './body.ts'
import { DriftlineError, type ErrorDetails } from './errors.ts'
import { snapshot, thawed } from './snapshot.ts'
import type { Rows, StandardSchemaV1 } from './types.ts'

/** Keys and values, in two arrays of one length. */
export interface KeyedRows { keys: string[]; values: unknown[] }

/** The key of a row: a string that is not empty; its length is checked by the core. */
export function keyOf<T>(row: T, getKey: (row: T) => string): string {
  if (row === null || typeof row !== 'object') {
    throw new DriftlineError('invalid_row', `A row is an object; this one is ${row === null ? 'null' : typeof row}. Nothing was written; hand over an object with an id.`, { issues: [{ message: 'a row is an object' }] })
  }
  const key: unknown = getKey(row)
  if (typeof key !== 'string' || key === '') {
    throw new DriftlineError('invalid_key', `A row’s key is a string that is not empty; this one is ${key === '' ? 'empty' : typeof key}. Nothing was written; give the row an id, or say where the key is with getKey.`)
  }
  return key
}

/** The rows that a sync feed delivers, copied: the app may go on using its own. */
export function keyedRows<T>(rows: Rows<T>, getKey: (row: T) => string): KeyedRows {
  const keyed: KeyedRows = { keys: [], values: [] }
  if (Symbol.iterator in rows) {
    for (const row of rows as Iterable<T>) {
      keyed.keys.push(keyOf(row, getKey))
      keyed.values.push(snapshot(row).value)
    }
  } else {
    for (const [key, row] of Object.entries(rows)) {
      keyed.keys.push(key)
      keyed.values.push(snapshot(row).value)
    }
  }
  return keyed
}

/** The top-level fields that a function changes in a draft of a row; one that it removes is there as `undefined`. */
export function drafted<T>(row: T, change: (draft: T) => void): Record<string, unknown> {
  const before = row as Record<string, unknown>
  let changed: Record<string, unknown>
  let differs: (one: unknown, other: unknown) => boolean
  if (isTree(before)) {
    // The function's value is none of the draft's: `draft => draft.count++` is meant as a change.
    changed = create(before, draft => { refuseAsync(change(draft as T)) })
    differs = (one, other) => one !== other
  } else {
    // A draft follows neither a Date that is set in place nor an object that is in two places: here it is a copy.
    changed = thawed(before)
    refuseAsync(change(changed as T))
    differs = (one, other) => !alike(one, other)
  }
  const changes: Record<string, unknown> = {}
  for (const field of Object.keys(changed)) if (differs(changed[field], before[field]) || !Object.hasOwn(before, field)) changes[field] = changed[field]
  for (const field of Object.keys(before)) if (!Object.hasOwn(changed, field)) changes[field] = undefined
  return changes
}

/** What a schema makes of a row; throws `invalid_row` with what is wrong. */
export function validated<T>(schema: StandardSchemaV1<unknown, T>, row: unknown): T {
  const result = schema['~standard'].validate(row)
  if (typeof (result as PromiseLike<unknown>).then === 'function') {
    // Nobody waits for it.
    Promise.resolve(result).catch(() => {})
    throw new DriftlineError('invalid_row', 'The schema checks rows asynchronously, and a write shows at once. Nothing was written; use a schema that answers synchronously.', { issues: [] })
  }
  const { issues, value } = result as { issues?: ErrorDetails['issues']; value: T }
  if (issues !== undefined) {
    throw new DriftlineError('invalid_row', `The row does not fit its schema: ${issues.map(described).join('; ')}. Nothing was written; correct these and write again.`, { issues })
  }
  return value
}

/**
 * The changes to a row, as a schema lets them pass: what it makes of each field that is changed, and what it changes besides.
 * The schema sees the whole row as it would be, so it must take what it gave. Fields that it leaves out stay as they are.
 */
export function validatedChanges<T>(schema: StandardSchemaV1<unknown, T>, row: T, changes: Record<string, unknown>): Record<string, unknown> {
  const before = row as Record<string, unknown>
  const after = validated(schema, laidOver(before, changes)) as Record<string, unknown>
  const passed: Record<string, unknown> = {}
  for (const field of Object.keys(after)) if (field in changes || !alike(after[field], before[field])) passed[field] = after[field]
  for (const field of Object.keys(changes)) if (changes[field] === undefined && !(field in after)) passed[field] = undefined
  return passed
}

/** Whether each object in it is in one place, and a proxy can stand for it: plain objects, arrays, Maps and Sets, and what never changes. */
function isTree(row: object): boolean {
  let seen: Set<object> | undefined
  const waiting: object[] = [row]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const items = next instanceof Map ? [...next.keys(), ...next.values()] : next instanceof Set ? next : Object.values(next)
    for (const item of items) {
      if (typeof item !== 'object' || item === null) continue
      seen ??= new Set([row])
      if (seen.has(item)) return false
      seen.add(item)
      if (Array.isArray(item) || item instanceof Map || item instanceof Set || isRecord(item)) waiting.push(item)
      else if (typeof Blob === 'undefined' || !(item instanceof Blob)) return false
    }
  }
  return true
}

function isRecord(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function refuseAsync(returned: unknown): void {
  if (typeof (returned as PromiseLike<unknown> | undefined)?.then !== 'function') return
  Promise.resolve(returned).catch(() => {})
  throw new DriftlineError('unexpected', 'A draft is changed by a synchronous function, and this one gave a promise. Nothing was written; await first, and update then.')
}

/** An issue with the field that it is about; a schema's path has keys, or objects that hold them. */
function described({ message, path }: { message: string; path?: readonly unknown[] | undefined }): string {
  if (path === undefined || path.length === 0) return message
  const keys = path.map(step => String(typeof step === 'object' && step !== null ? (step as { key: unknown }).key : step))
  return `${keys.join('.')}: ${message}`
}
