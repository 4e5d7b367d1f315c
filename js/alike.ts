// Whether two values hold the same, by what structured clone keeps of them.

/** Compares two values, cycles included. What can't be looked into (a Blob, an Error) is alike only to itself. */
export function alike(one: unknown, other: unknown): boolean {
  return compared(one, other, undefined)
}

/** Pairs that are being compared count as alike: a cycle comes back to one of them. */
type Under = Map<object, object> | undefined

function compared(one: unknown, other: unknown, under: Under): boolean {
  if (Object.is(one, other)) return true
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false
  if (under?.get(one) === other) return true
  const within = (under ?? new Map<object, object>()).set(one, other)
  const prototype = Object.getPrototypeOf(one)
  if (prototype !== Object.getPrototypeOf(other)) return false
  if (Array.isArray(one)) return one.length === (other as unknown[]).length && sameFields(one, other, within)
  if (prototype === Object.prototype || prototype === null) return sameFields(one, other, within)
  if (one instanceof Date) return Object.is(one.getTime(), (other as Date).getTime())
  if (one instanceof Map || one instanceof Set) return sameEntries(one, other as typeof one, within)
  if (one instanceof ArrayBuffer) return sameBytes(new Uint8Array(one), new Uint8Array(other as ArrayBuffer))
  if (ArrayBuffer.isView(one)) return sameBytes(bytesOf(one), bytesOf(other as ArrayBufferView))
  if (one instanceof RegExp) return String(one) === String(other)
  return false
}

function sameFields(one: object, other: object, under: Under): boolean {
  const fields = Object.keys(one)
  if (fields.length !== Object.keys(other).length) return false
  return fields.every(field => Object.hasOwn(other, field) && compared(one[field as never], other[field as never], under))
}

/** In order, since that is a part of what they hold. */
function sameEntries(one: Map<unknown, unknown> | Set<unknown>, other: Map<unknown, unknown> | Set<unknown>, under: Under): boolean {
  if (one.size !== other.size) return false
  const others = other.entries()
  for (const [key, item] of one.entries()) {
    const [otherKey, otherItem] = others.next().value as [unknown, unknown]
    if (!compared(key, otherKey, under) || !compared(item, otherItem, under)) return false
  }
  return true
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}
