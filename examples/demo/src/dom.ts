// The few helpers that make DOM code short: find what the page holds, make an element, keep a list in step with data, say sizes and times.

/** Finds the one element that matches, of the type given; throws if the page lacks it. */
export function find<E extends Element>(selector: string, type: new () => E, within: ParentNode = document): E {
  const found = within.querySelector(selector)
  if (!(found instanceof type)) throw new Error(`the page has no ${selector}`)
  return found
}

/** Makes an element with properties, attributes (names with a dash, or `role`) and children. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, properties: Record<string, unknown> = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-') || name === 'role') element.setAttribute(name, String(value))
    else Object.assign(element, { [name]: value })
  }
  element.append(...children)
  return element
}

/** Sets a text only where it differs, so that a live region does not speak again of what has not changed. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/** Keeps `list`'s children in step with `items`: one element a key, made once, filled at each call, in the order of `items`. */
export function keyed<T, E extends HTMLElement>(list: Element, items: readonly T[], key: (item: T) => string, create: (item: T) => E, fill: (element: E, item: T) => void): void {
  const elements = elementsOf.get(list) ?? new Map<string, HTMLElement>()
  elementsOf.set(list, elements)
  const wanted = new Set(items.map(key))
  for (const [id, element] of elements) {
    if (wanted.has(id)) continue
    element.remove()
    elements.delete(id)
  }
  let place = list.firstElementChild
  for (const item of items) {
    let element = elements.get(key(item)) as E | undefined
    if (element === undefined) {
      element = create(item)
      elements.set(key(item), element)
    }
    fill(element, item)
    // Moving an element takes its focus away, so it is done only where the order has changed.
    if (element === place) place = place.nextElementSibling
    else list.insertBefore(element, place)
  }
}

/** Wraps what draws, so that it draws once a frame however often it is called. */
export function onceAFrame(draw: () => void): () => void {
  let asked = false
  return () => {
    if (asked) return
    asked = true
    requestAnimationFrame(() => { asked = false; draw() })
  }
}

/** A size as people read it: `1.0 MiB`. */
export function size(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB']
  let unit = 0
  let value = bytes
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit++ }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`
}

/** How long ago something was, in whole units: `2 minutes ago`. */
export function ago(since: Date, now: Date = new Date()): string {
  const seconds = Math.max(0, Math.round((now.getTime() - since.getTime()) / 1000))
  if (seconds < 10) return 'just now'
  if (seconds < 60) return `${plural(seconds, 'second')} ago`
  if (seconds < 3600) return `${plural(Math.floor(seconds / 60), 'minute')} ago`
  if (seconds < 86_400) return `${plural(Math.floor(seconds / 3600), 'hour')} ago`
  return `${plural(Math.floor(seconds / 86_400), 'day')} ago`
}

/** The time of day, as this browser's language writes it, not to be parted by a line's end. */
export function clock(at: Date): string {
  return at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }).replace(/\s/g, '\u00a0')
}

/** A count with its noun, not to be parted by a line's end: `1 change`, `3 changes`. */
export function plural(count: number, noun: string): string {
  return `${count}\u00a0${noun}${count === 1 ? '' : 's'}`
}

/** Shortens a text for a message: a title may be megabytes long. */
export function short(text: string, max = 60): string {
  return text.length <= max ? text : `${text.slice(0, max)}…`
}

const elementsOf = new WeakMap<Element, Map<string, HTMLElement>>()
