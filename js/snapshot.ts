// The state of a value at the moment of a call: a copy that later changes by the app don't reach, checked and sized on the way.
import { DriftlineError } from './errors.ts'

/** A copy, and about how many bytes it takes when it is stored. */
export interface Snapshot<T> { value: T; sizeBytes: number }

/**
 * Copies a value as structured clone would, holes, cycles and shared references included; plain data, Maps and Sets by hand,
 * since that is several times faster. Objects and arrays of the copy are frozen, as it may show as a row.
 * Throws `not_cloneable` with the path of what can't be stored.
 */
export function snapshot<T>(value: T): Snapshot<T> {
  return copied(value, true)
}

/** A copy that may be changed freely. */
export function thawed<T>(value: T): T {
  return copied(value, false).value
}

/**
 * Freezes a value's objects and arrays, down through Maps and Sets, and gives it back. What is frozen already is taken to be so
 * all the way down. Map, Set, Date and binary data can't be frozen in themselves.
 */
export function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  const waiting: object[] = [value]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    // It was met twice before its turn came.
    if (Object.isFrozen(next)) continue
    if (Array.isArray(next) || isPlain(next)) {
      for (const field in next) addThawed(waiting, next[field as never])
    } else if (next instanceof Map || next instanceof Set) {
      for (const [key, item] of next.entries()) { addThawed(waiting, key); addThawed(waiting, item) }
    } else continue
    // A Map's or a Set's entries stay as free as they are; this marks it as seen.
    Object.freeze(next)
  }
  return value
}

function addThawed(waiting: object[], item: unknown): void {
  if (typeof item === 'object' && item !== null && !Object.isFrozen(item)) waiting.push(item)
}

function copied<T>(value: T, freeze: boolean): Snapshot<T> {
  const copying = new Copying(freeze)
  try {
    return { value: copy(value, copying) as T, sizeBytes: copying.sizeBytes }
  } catch (error) {
    if (error === TOO_DEEP) return whole(value, freeze)
    if (error instanceof NotCloneable) {
      const path = error.path.replace(/^\./, '')
      throw new DriftlineError('not_cloneable', `${path === '' ? 'The row' : `The field ${path}`} can’t be stored: ${error.what}. Nothing was written; leave it out, or store what it is made of.`, { path, cause: error.cause })
    }
    throw error
  }
}

class Copying {
  sizeBytes = 0
  depth = 0
  readonly freeze: boolean
  /** The objects so far and their copies, in pairs: most rows have few, and a list is quicker than a Map then. */
  readonly #few: object[] = []
  /** All of them, once there are many. */
  #many: Map<object, object> | undefined

  constructor(freeze: boolean) {
    this.freeze = freeze
  }

  known(value: object): object | undefined {
    if (this.#many !== undefined) return this.#many.get(value)
    const few = this.#few
    for (let at = 0; at < few.length; at += 2) if (few[at] === value) return few[at + 1]
    return undefined
  }

  remember<C extends object>(value: object, copy: C): C {
    if (this.#many !== undefined) this.#many.set(value, copy)
    else if (this.#few.push(value, copy) > FEW_MAX) {
      this.#many = new Map()
      for (let at = 0; at < this.#few.length; at += 2) this.#many.set(this.#few[at] as object, this.#few[at + 1] as object)
    }
    return copy
  }
}

class NotCloneable {
  path = ''
  what: string
  cause: unknown
  constructor(what: string, cause?: unknown) {
    this.what = what
    this.cause = cause
  }

  within(step: string): this {
    this.path = step + this.path
    return this
  }
}

function copy(value: unknown, copying: Copying): unknown {
  switch (typeof value) {
    case 'string':
      copying.sizeBytes += textBytes(value)
      return value
    case 'object':
      if (value === null) break
      return copying.known(value) ?? copyObject(value, copying)
    case 'function':
      throw new NotCloneable('it is a function')
    case 'symbol':
      throw new NotCloneable('it is a symbol')
    default:
  }
  copying.sizeBytes += PRIMITIVE_BYTES
  return value
}

function copyObject(value: object, copying: Copying): object {
  if (++copying.depth > PLAIN_DEPTH_MAX) throw TOO_DEEP
  let made: object
  if (isPlain(value) || isInstance(value)) {
    copying.sizeBytes += PRIMITIVE_BYTES
    made = copyFields(value as Record<string, unknown>, copying.remember(value, {}), copying)
  } else if (Array.isArray(value)) {
    copying.sizeBytes += PRIMITIVE_BYTES
    made = copyItems(value, copying.remember(value, new Array<unknown>(value.length)), copying)
  } else if (value instanceof Map) {
    made = copyMap(value, copying.remember(value, new Map()), copying)
  } else if (value instanceof Set) {
    made = copySet(value, copying.remember(value, new Set()), copying)
  } else {
    made = copyOpaque(value, copying)
  }
  copying.depth--
  return made
}

function copyFields(from: Record<string, unknown>, to: Record<string, unknown>, copying: Copying): Record<string, unknown> {
  for (const field of Object.keys(from)) {
    copying.sizeBytes += field.length + PRIMITIVE_BYTES
    try {
      const item = copy(from[field], copying)
      if (field === '__proto__') Object.defineProperty(to, field, { value: item, enumerable: true, configurable: true, writable: true })
      else to[field] = item
    } catch (error) {
      throw within(error, `.${field}`)
    }
  }
  return copying.freeze ? Object.freeze(to) : to
}

function copyItems(from: unknown[], to: unknown[], copying: Copying): unknown[] {
  const { length } = from
  const keys = Object.keys(from)
  // Indexes come first and rise: with neither holes nor fields of its own, the last key is the last index.
  const isDense = keys.length === length && (length === 0 || keys[length - 1] === String(length - 1))
  for (let at = 0; at < keys.length; at++) {
    const key = isDense ? at : (keys[at] as unknown as number)
    try {
      to[key] = copy(from[key], copying)
    } catch (error) {
      throw within(error, `[${key}]`)
    }
  }
  return copying.freeze ? Object.freeze(to) as unknown[] : to
}

function copyMap(from: Map<unknown, unknown>, to: Map<unknown, unknown>, copying: Copying): Map<unknown, unknown> {
  for (const [key, item] of entriesOf(from)) {
    try {
      to.set(copy(key, copying), copy(item, copying))
    } catch (error) {
      throw within(error, `.get(${typeof key === 'string' ? JSON.stringify(key) : typeof key})`)
    }
  }
  return to
}

function copySet(from: Set<unknown>, to: Set<unknown>, copying: Copying): Set<unknown> {
  for (const [item] of entriesOf(from)) {
    try {
      to.add(copy(item, copying))
    } catch (error) {
      throw within(error, '.values()')
    }
  }
  return to
}

function entriesOf(of: Map<unknown, unknown> | Set<unknown>): Iterable<[unknown, unknown]> {
  try {
    return [...of.entries()]
  } catch (cause) {
    throw new NotCloneable(`its entries can’t be read (${(cause as Error).message})`, cause)
  }
}

function within(error: unknown, step: string): unknown {
  return error instanceof NotCloneable ? error.within(step) : error
}

/** What is no plain data: the browser copies it, save for what is never changed, and for views, which may share their bytes. */
function copyOpaque(value: object, copying: Copying): object {
  if (isOf(value, 'SharedArrayBuffer') || value instanceof WebAssembly.Module) throw new NotCloneable('it can be shared, and can’t be kept on disk')
  if (isOf(value, 'Blob')) {
    copying.sizeBytes += (value as Blob).size
    return copying.remember(value, value)
  }
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset } = value
    const bytes = copy(buffer, copying) as ArrayBuffer
    const length = value instanceof DataView ? value.byteLength : (value as Uint8Array).length
    return copying.remember(value, new (viewOf(value))(bytes, byteOffset, length))
  }
  let made: object
  try {
    made = structuredClone(value)
  } catch (cause) {
    throw new NotCloneable(`structured clone refuses it (${Object.prototype.toString.call(value).slice(8, -1)})`, cause)
  }
  copying.sizeBytes += value instanceof ArrayBuffer ? value.byteLength : OPAQUE_BYTES
  return copying.remember(value, made)
}

type View = new (buffer: ArrayBuffer, byteOffset: number, length: number) => ArrayBufferView

/** The built-in class of a view: structured clone does not keep an app's own, nor Node's Buffer. */
function viewOf(view: ArrayBufferView): View {
  const name = view instanceof DataView ? 'DataView' : (view as unknown as Record<symbol, string>)[Symbol.toStringTag]
  return (globalThis as unknown as Record<string, View>)[name as string] as View
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** Whether it is an object of a class of the app's, of which structured clone keeps the fields. */
function isInstance(value: object): boolean {
  return !Array.isArray(value) && Object.prototype.toString.call(value) === '[object Object]'
}

function isOf(value: object, name: string): boolean {
  const type = (globalThis as unknown as Record<string, (new () => object) | undefined>)[name]
  return type !== undefined && value instanceof type
}

/** What is nested deeper than is sensible is left to the browser. */
function whole<T>(value: T, freeze: boolean): Snapshot<T> {
  try {
    const clone = structuredClone(value)
    return { value: freeze ? frozen(clone) : clone, sizeBytes: sizeOf(value) }
  } catch (cause) {
    throw new DriftlineError('not_cloneable', `The row can’t be stored: structured clone refuses a part of it (${(cause as Error).message}). Nothing was written; leave that part out.`, { path: '', cause })
  }
}

function sizeOf(value: unknown): number {
  let bytes = 0
  const seen = new Set<object>()
  const waiting: unknown[] = [value]
  while (waiting.length > 0) {
    const next = waiting.pop()
    if (typeof next === 'string') bytes += textBytes(next)
    else if (typeof next !== 'object' || next === null) bytes += PRIMITIVE_BYTES
    else if (!seen.has(next)) {
      seen.add(next)
      if (Array.isArray(next) || isInstance(next)) {
        bytes += PRIMITIVE_BYTES
        for (const [field, item] of Object.entries(next)) { bytes += field.length; waiting.push(item) }
      } else if (next instanceof Map || next instanceof Set) {
        for (const [key, item] of next.entries()) waiting.push(key, item)
      } else if (ArrayBuffer.isView(next)) waiting.push(next.buffer)
      else bytes += next instanceof ArrayBuffer ? next.byteLength : isOf(next, 'Blob') ? (next as Blob).size : OPAQUE_BYTES
    }
  }
  return bytes
}

/** A text takes one byte a character, or two if it holds any beyond Latin-1. */
function textBytes(text: string): number {
  return text.length > SHORT_TEXT && BEYOND_LATIN_1.test(text) ? text.length * 2 : text.length
}

const TOO_DEEP = Symbol('too deep')
const PLAIN_DEPTH_MAX = 100
/** Objects and copies together. */
const FEW_MAX = 24
const PRIMITIVE_BYTES = 8
const OPAQUE_BYTES = 64
const SHORT_TEXT = 256
const BEYOND_LATIN_1 = /[^\u0000-\u00ff]/
