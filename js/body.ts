// A transaction in the making: what `db.transaction(body)` collects, shown to the body itself by the collections' own rows.
import { Kind } from './wire.ts'

/** The rows that a body reads and writes. */
export type BodyRows = Map<string, unknown>

/** The writes of one body, undone again when it ends: the module shows them then, all or none. */
export class Body {
  /** Kind, collection, key, value and size of each mutation, as the module takes them. */
  readonly flat: unknown[] = []
  readonly #undo: (() => void)[] = []

  insert(collection: number, rows: BodyRows, key: string, row: unknown, sizeBytes: number): void {
    this.flat.push(Kind.insert, collection, key, row, sizeBytes)
    this.#put(rows, key, row)
  }

  update(collection: number, rows: BodyRows, key: string, changes: Record<string, unknown>, sizeBytes: number): void {
    this.flat.push(Kind.update, collection, key, changes, sizeBytes)
    this.#put(rows, key, laidOver(rows.get(key), changes))
  }

  delete(collection: number, rows: BodyRows, key: string): void {
    this.flat.push(Kind.delete, collection, key, undefined, 0)
    this.#put(rows, key, undefined)
  }

  /** Takes everything back from the rows, newest first. */
  undo(): void {
    for (const undo of this.#undo.reverse()) undo()
    this.#undo.length = 0
  }

  #put(rows: BodyRows, key: string, row: unknown): void {
    const had = rows.has(key)
    const previous = rows.get(key)
    this.#undo.push(() => { if (had) rows.set(key, previous); else rows.delete(key) })
    if (row === undefined) rows.delete(key)
    else rows.set(key, row)
  }
}

/** A row with changes laid over it; a field that is there as `undefined` is removed. */
export function laidOver(row: unknown, changes: Record<string, unknown>): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...(row as Record<string, unknown>) }
  for (const [field, value] of Object.entries(changes)) {
    if (value === undefined) delete merged[field]
    else merged[field] = value
  }
  return Object.freeze(merged)
}
