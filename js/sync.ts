// An app's own sync feed, and what awaitSync sees of what was delivered.
import { DriftlineError } from './errors.ts'
import { guarded } from './readable.ts'
import { keyedRows, type KeyedRows } from './rows.ts'
import type { Scope } from './scope.ts'
import type { Rows, SyncInstance, SyncUpdate } from './types.ts'

type Setup<T> = (given: { onUpdate(update: SyncUpdate<T>): void; signal: AbortSignal }) => Promise<{ data: Rows<T> }>

/** Runs a feed while this tab leads its collection. */
export class SyncFeed<T> {
  readonly #setup: Setup<T>
  readonly #getKey: (row: T) => string
  readonly #to: { deliver(rows: KeyedRows, full: boolean): void; failed(error: Error): void }
  #running: AbortController | undefined

  constructor(setup: Setup<T>, getKey: (row: T) => string, to: { deliver(rows: KeyedRows, full: boolean): void; failed(error: Error): void }) {
    this.#setup = setup
    this.#getKey = getKey
    this.#to = to
  }

  start(): void {
    this.stop()
    const running = new AbortController()
    this.#running = running
    void this.#run(running)
  }

  stop(): void {
    this.#running?.abort()
    this.#running = undefined
  }

  async #run(running: AbortController): Promise<void> {
    // What comes before the first full data is laid over it.
    let early: SyncUpdate<T>[] | undefined = []
    const onUpdate = (update: SyncUpdate<T>) => {
      if (running.signal.aborted) return
      if (early === undefined) this.#update(update)
      else early.push(update)
    }
    try {
      const { data } = await this.#setup({ onUpdate, signal: running.signal })
      if (running.signal.aborted) return
      this.#update({ data })
      const waiting = early
      early = undefined
      for (const update of waiting) this.#update(update)
    } catch (thrown) {
      if (running.signal.aborted) return
      running.abort()
      this.#to.failed(thrown instanceof Error ? thrown : new Error(String(thrown)))
    }
  }

  #update(update: SyncUpdate<T>): void {
    if ('data' in update) return this.#to.deliver(keyedRows(update.data, this.#getKey), true)
    const rows = keyedRows(update.upsert ?? [], this.#getKey)
    for (const key of update.delete ?? []) {
      rows.keys.push(key)
      rows.values.push(undefined)
    }
    this.#to.deliver(rows, false)
  }
}

/** What sync has delivered, read from the module when somebody looks. */
export class Synced<T> implements SyncInstance<T> {
  readonly #read: () => unknown[]
  readonly #scope: Scope
  #rows: ReadonlyMap<string, T> | undefined
  readonly #checks = new Set<() => void>()

  constructor(read: () => unknown[], scope: Scope) {
    this.#read = read
    this.#scope = scope
  }

  get rows(): ReadonlyMap<string, T> {
    if (this.#rows === undefined) {
      const rows = new Map<string, T>()
      const flat = this.#read()
      for (let at = 0; at < flat.length; at += 2) rows.set(flat[at] as string, flat[at + 1] as T)
      this.#rows = rows
    }
    return this.#rows
  }

  waitFor(predicate: (rows: ReadonlyMap<string, T>) => boolean, options: { timeoutMs?: number } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      let timer: unknown
      const end = (settle: () => void) => {
        this.#scope.clearTimeout(timer as never)
        this.#checks.delete(check)
        settle()
      }
      const check = () => {
        try {
          if (predicate(this.rows)) end(resolve)
        } catch (error) {
          end(() => reject(error))
        }
      }
      this.#checks.add(check)
      const { timeoutMs } = options
      if (timeoutMs !== undefined) {
        timer = this.#scope.setTimeout(() => end(() => reject(new DriftlineError('unexpected', `What waitFor() waited for did not come within ${timeoutMs} ms. What sync has delivered is kept; look at its rows.`))), timeoutMs)
      }
      check()
    })
  }

  changed(): void {
    this.#rows = undefined
    for (const check of [...this.#checks]) guarded(check)
  }
}
