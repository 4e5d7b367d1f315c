// The state of a value at the moment of a call: a copy that later changes by the app don't reach, checked and sized on the way.
import { DriftlineError } from './errors.ts'

/** A copy, and about how many bytes it takes when it is stored. */
export interface Snapshot<T> { value: T; sizeBytes: number }

/**
 * Copies a value as structured clone would, plain data by hand, since that is several times faster.
 * Throws `not_cloneable` with the path of what can't be stored.
 */
export function snapshot<T>(value: T): Snapshot<T> {
  const copying: Copying = { sizeBytes: 0, depth: 0 }
  try {
    return { value: copy(value, copying) as T, sizeBytes: copying.sizeBytes }
  } catch (error) {
    if (error === TOO_DEEP) return whole(value)
    if (error instanceof NotCloneable) {
      const path = error.path.replace(/^\./, '')
      throw new DriftlineError('not_cloneable', `${path === '' ? 'The row' : `The field ${path}`} can’t be stored: ${error.what}. Nothing was written.`, { path, cause: error.cause })
    }
    throw error
  }
}

interface Copying { sizeBytes: number; depth: number }

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
      return copyObject(value, copying)
    case 'function':
      throw new NotCloneable('it is a function')
    case 'symbol':
      throw new NotCloneable('it is a symbol')
    default:
  }
  copying.sizeBytes += PRIMITIVE_BYTES
  return value
}

function copyObject(value: object, copying: Copying): unknown {
  if (++copying.depth > PLAIN_DEPTH_MAX) throw TOO_DEEP
  let copied: unknown
  const prototype = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null || isInstance(value)) {
    copying.sizeBytes += PRIMITIVE_BYTES
    copied = copyFields(value as Record<string, unknown>, copying)
  } else if (Array.isArray(value)) {
    copying.sizeBytes += PRIMITIVE_BYTES
    copied = copyItems(value, copying)
  } else {
    try {
      copied = structuredClone(value)
    } catch (cause) {
      throw new NotCloneable(`structured clone refuses it (${Object.prototype.toString.call(value).slice(8, -1)})`, cause)
    }
    copying.sizeBytes += opaqueBytes(value)
  }
  copying.depth--
  return copied
}

function copyFields(from: Record<string, unknown>, copying: Copying): Record<string, unknown> {
  const to: Record<string, unknown> = {}
  for (const field of Object.keys(from)) {
    copying.sizeBytes += field.length + PRIMITIVE_BYTES
    try {
      const copied = copy(from[field], copying)
      if (field === '__proto__') Object.defineProperty(to, field, { value: copied, enumerable: true, configurable: true, writable: true })
      else to[field] = copied
    } catch (error) {
      throw error instanceof NotCloneable ? error.within(`.${field}`) : error
    }
  }
  return to
}

function copyItems(from: unknown[], copying: Copying): unknown[] {
  const to = new Array<unknown>(from.length)
  for (let index = 0; index < from.length; index++) {
    try {
      to[index] = copy(from[index], copying)
    } catch (error) {
      throw error instanceof NotCloneable ? error.within(`[${index}]`) : error
    }
  }
  return to
}

/** Whether it is an object of a class of the app's, of which structured clone keeps the fields. */
function isInstance(value: object): boolean {
  return !Array.isArray(value) && Object.prototype.toString.call(value) === '[object Object]'
}

/** What is nested deeper than is sensible, or without end, is left to the browser. */
function whole<T>(value: T): Snapshot<T> {
  try {
    return { value: structuredClone(value), sizeBytes: sizeOf(value, new Set()) }
  } catch (cause) {
    throw new DriftlineError('not_cloneable', `The row can’t be stored: structured clone refuses a part of it. Nothing was written. ${(cause as Error).message}`, { path: '', cause })
  }
}

function sizeOf(value: unknown, seen: Set<object>): number {
  let bytes = 0
  const waiting: unknown[] = [value]
  while (waiting.length > 0) {
    const next = waiting.pop()
    if (typeof next === 'string') bytes += textBytes(next)
    else if (typeof next !== 'object' || next === null) bytes += PRIMITIVE_BYTES
    else if (!seen.has(next)) {
      seen.add(next)
      bytes += opaqueBytes(next)
      if (Array.isArray(next) || isInstance(next)) for (const [field, item] of Object.entries(next)) { bytes += field.length; waiting.push(item) }
    }
  }
  return bytes
}

/** A text takes one byte a character, or two if it holds any beyond Latin-1. */
function textBytes(text: string): number {
  return text.length > SHORT_TEXT && BEYOND_LATIN_1.test(text) ? text.length * 2 : text.length
}

function opaqueBytes(value: object): number {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return value.byteLength
  if (typeof Blob !== 'undefined' && value instanceof Blob) return value.size
  if (value instanceof Map || value instanceof Set) {
    let bytes = 0
    const seen = new Set<object>([value])
    for (const [key, item] of value.entries()) bytes += sizeOf(key, seen) + (value instanceof Map ? sizeOf(item, seen) : 0)
    return bytes
  }
  return OPAQUE_BYTES
}

const TOO_DEEP = Symbol('too deep')
const PLAIN_DEPTH_MAX = 100
const PRIMITIVE_BYTES = 8
const OPAQUE_BYTES = 64
const SHORT_TEXT = 256
const BEYOND_LATIN_1 = /[^\u0000-\u00ff]/
