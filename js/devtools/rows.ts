// A collection's rows as they stood after a step, with what that step changed, and the way back and forth.
import { button, clock, make, shown } from './dom.ts'
import type { Steps } from './steps.ts'

export class RowsPanel {
  readonly node: HTMLElement
  readonly #steps: Steps
  readonly #moved: () => void
  readonly #choice = make('select', { 'aria-label': 'Collection' })
  readonly #slider = make('input', { type: 'range', min: '0', max: '0', value: '0', 'aria-label': 'Step' })
  readonly #where = make('output', {})
  readonly #table = make('table')
  readonly #back = button('◀', 'One step back', () => this.#go(this.#number - 1))
  readonly #forth = button('▶', 'One step forth', () => this.#go(this.#number + 1))
  readonly #newest = button('Live', 'The rows as they are now', () => this.#go(undefined))
  /** The step that is shown; `undefined` follows the newest. */
  #at: number | undefined

  constructor(steps: Steps, moved: () => void) {
    this.#steps = steps
    this.#moved = moved
    this.#choice.addEventListener('change', () => this.#moved())
    this.#slider.addEventListener('input', () => this.#go(Number(this.#slider.value)))
    this.node = make('section', { class: 'rows', 'aria-label': 'Rows' },
      make('div', { class: 'bar' }, this.#choice, this.#back, this.#slider, this.#forth, this.#newest),
      make('div', { class: 'where' }, this.#where),
      make('div', { class: 'scroll' }, this.#table))
  }

  /** When the step that is shown was made, unless that is the newest. */
  get markAt(): number | undefined { return this.#at === undefined ? undefined : this.#steps.step(this.#number)?.at }

  draw(): void {
    this.#drawChoice()
    const { earliest, last } = this.#steps
    const number = this.#number
    this.#slider.min = String(earliest)
    this.#slider.max = String(last)
    this.#slider.value = String(number)
    this.#slider.disabled = last === earliest
    this.#back.disabled = number <= earliest
    this.#forth.disabled = number >= last
    this.#newest.setAttribute('aria-pressed', String(this.#at === undefined))
    const step = this.#steps.step(number)
    this.#where.textContent = step === undefined
      ? (last === 0 ? 'Nothing has changed since this panel opened' : 'Before the first step')
      : `Step ${number} of ${last}, ${clock(step.at)}: ${step.collection}, ${counts(step.changes.map(({ type }) => type))}`
    this.#drawRows(number)
  }

  get #number(): number { return Math.max(this.#steps.earliest, this.#at ?? this.#steps.last) }

  #go(number: number | undefined): void {
    const { earliest, last } = this.#steps
    this.#at = number === undefined || number >= last ? undefined : Math.max(earliest, number)
    const step = this.#steps.step(this.#number)
    // What a step changed is shown where it changed it.
    if (step !== undefined && number !== undefined) this.#choice.value = step.collection
    this.#moved()
  }

  #drawChoice(): void {
    const names = this.#steps.collections
    if (names.length === this.#choice.options.length) return
    const chosen = this.#choice.value
    this.#choice.replaceChildren(...names.map(name => make('option', { value: name }, name)))
    if (names.includes(chosen)) this.#choice.value = chosen
  }

  #drawRows(number: number): void {
    const collection = this.#choice.value
    const rows = this.#steps.rowsAfter(number, collection)
    const step = this.#steps.step(number)
    const changed = new Map(step?.collection === collection ? step.changes.map(change => [change.key, change]) : [])
    for (const { key, type, previous } of changed.values()) if (type === 'delete') rows.set(key, previous)
    // What changed comes first: it may be one row of many thousands.
    const keys = [...new Set([...changed.keys(), ...rows.keys()])]
    const fields = fieldsOf(rows, keys.slice(0, ROWS_MAX))
    const body = keys.slice(0, ROWS_MAX).map(key => {
      const row = rows.get(key) as Record<string, unknown> | undefined
      const change = changed.get(key)
      const before = change?.type === 'update' ? (change.previous as Record<string, unknown>) : undefined
      const cells = fields.map(field => {
        const cell = make('td', {}, row !== undefined && Object.hasOwn(row, field) ? shown(row[field]) : '')
        if (before !== undefined && !Object.is(before[field], row?.[field])) {
          cell.className = 'changed'
          cell.title = `before: ${Object.hasOwn(before, field) ? shown(before[field]) : 'not there'}`
        }
        return cell
      })
      return make('tr', { 'data-key': key, ...(change === undefined ? {} : { class: change.type }) }, make('th', { scope: 'row' }, key), ...cells)
    })
    const rest = keys.length - body.length
    this.#table.replaceChildren(
      make('thead', {}, make('tr', {}, make('th', { scope: 'col' }, 'key'), ...fields.map(field => make('th', { scope: 'col' }, field)))),
      make('tbody', {}, ...body),
      ...(rest > 0 ? [make('caption', {}, `and ${rest} more rows`)] : []),
    )
  }
}

/** The fields of some rows, save one that only says the key again. */
function fieldsOf(rows: Map<string, unknown>, keys: string[]): string[] {
  const fields = new Map<string, boolean>()
  for (const key of keys) {
    for (const [field, value] of Object.entries((rows.get(key) as object | undefined) ?? {})) fields.set(field, (fields.get(field) ?? false) || value !== key)
  }
  return [...fields].filter(([, tells]) => tells).map(([field]) => field).slice(0, FIELDS_MAX)
}

function counts(types: string[]): string {
  const verbs = { insert: 'inserted', update: 'updated', delete: 'deleted' }
  return Object.entries(verbs).flatMap(([type, verb]) => {
    const count = types.filter(one => one === type).length
    return count === 0 ? [] : [`${count} ${verb}`]
  }).join(', ')
}

const ROWS_MAX = 200
const FIELDS_MAX = 12
