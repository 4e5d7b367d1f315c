// Making and changing elements.

type Child = Node | string | undefined

/** Makes an element; what is `undefined` among its children is left out. Styles are set so that a strict Content-Security-Policy lets them. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Record<string, string> = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'style') node.style.cssText = value
    else node.setAttribute(name, value)
  }
  node.append(...children.filter(child => child !== undefined))
  return node
}

/** Makes a button. */
export function button(text: string, label: string, pressed: () => void): HTMLButtonElement {
  const node = make('button', { type: 'button', title: label, 'aria-label': label }, text)
  node.addEventListener('click', pressed)
  return node
}

/** A value in a line of text, as a person reads it. */
export function shown(value: unknown, depth = 0): string {
  if (typeof value === 'string') return depth === 0 ? value : JSON.stringify(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value !== 'object' || value === null) return String(value)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
  if (typeof Blob !== 'undefined' && value instanceof Blob) return `Blob(${value.size} bytes)`
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `${value.constructor.name}(${value.byteLength} bytes)`
  if (depth >= DEPTH_MAX) return '…'
  if (value instanceof Map) return `Map {${[...value].slice(0, ITEMS_MAX).map(([key, item]) => `${shown(key, depth + 1)}: ${shown(item, depth + 1)}`).join(', ')}}`
  if (value instanceof Set) return `Set {${[...value].slice(0, ITEMS_MAX).map(item => shown(item, depth + 1)).join(', ')}}`
  if (Array.isArray(value)) return `[${value.slice(0, ITEMS_MAX).map(item => shown(item, depth + 1)).join(', ')}${value.length > ITEMS_MAX ? ', …' : ''}]`
  return `{ ${Object.entries(value).slice(0, ITEMS_MAX).map(([field, item]) => `${field}: ${shown(item, depth + 1)}`).join(', ')} }`
}

/** A span of time: `320 ms`, `4.2 s`, `3 min`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`
  return ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${(ms / 3_600_000).toFixed(1)} h`
}

/** The time of day, down to the millisecond. */
export function clock(at: number): string {
  const date = new Date(at)
  const two = (number: number) => String(number).padStart(2, '0')
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

const DEPTH_MAX = 4
const ITEMS_MAX = 20
