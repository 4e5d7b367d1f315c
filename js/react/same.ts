// Whether two values show the same, so that what has not changed stays the same object.

/** Whether two values are alike: plain objects and lists by what they hold, dates by their time, all else by identity. */
export function same(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true
  if (one instanceof Date) return other instanceof Date && one.getTime() === other.getTime()
  if (!isPlain(one) || !isPlain(other) || Array.isArray(one) !== Array.isArray(other)) return false
  const fields = Object.keys(one)
  return fields.length === Object.keys(other).length && fields.every(field => field in other && same(one[field], other[field]))
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
}
