// What happened to the rows of all collections, step by step, for as long as somebody watches.
import type { Change, Collection, Driftline } from '../index.ts'

/** Some rows of a collection changed together. */
export interface Step {
  /** From 1; steps of all collections are counted together. */
  readonly number: number
  readonly at: number
  readonly collection: string
  readonly changes: readonly Change<unknown>[]
}

/** Records steps, and tells how the rows stood after any of those that it keeps. */
export class Steps {
  readonly #db: Driftline
  readonly #changed: () => void
  readonly #collections = new Map<string, Collection<unknown>>()
  readonly #leave: (() => void)[] = []
  readonly #steps: Step[] = []
  #last = 0

  constructor(db: Driftline, changed: () => void) {
    this.#db = db
    this.#changed = changed
    this.#leave.push(db.onCollection(collection => this.#watch(collection)))
  }

  /** The number of the last step. */
  get last(): number { return this.#last }

  /** How far back it goes: as the rows stood after this step; 0 is before the first. */
  get earliest(): number { return this.#last - this.#steps.length }

  get collections(): string[] { return [...this.#collections.keys()] }

  step(number: number): Step | undefined { return this.#steps[number - this.earliest - 1] }

  /** A collection's rows as they stood after a step. */
  rowsAfter(number: number, collection: string): Map<string, unknown> {
    const rows = new Map<string, unknown>(this.#collections.get(collection)?.entries() ?? [])
    for (let at = this.#last; at > number; at--) {
      const step = this.step(at)
      if (step?.collection !== collection) continue
      for (const { key, previous } of [...step.changes].reverse()) {
        if (previous === undefined) rows.delete(key)
        else rows.set(key, previous)
      }
    }
    return rows
  }

  stop(): void {
    for (const leave of this.#leave) leave()
  }

  #watch(collection: Collection<unknown>): void {
    this.#collections.set(collection.id, collection)
    this.#leave.push(collection.subscribe(changes => {
      this.#steps.push({ number: ++this.#last, at: this.#db.now, collection: collection.id, changes })
      if (this.#steps.length > STEPS_MAX) this.#steps.shift()
      this.#changed()
    }))
    this.#changed()
  }
}

/** How many steps are kept; the oldest go first. */
const STEPS_MAX = 1_000
