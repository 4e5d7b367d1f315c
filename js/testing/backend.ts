// A backend that tests speak to: rows, what it was sent, a network in between that can be slow or gone.
import {
  NetworkError, type AwaitSyncParams, type MutationFn, type PendingMutation, type PersistParams, type Rows, type SyncUpdate,
} from '../index.ts'
import type { Clock } from './clock.ts'
import type { FaultSource } from './faults.ts'
import type { TabScope } from './tab.ts'

/** What the backend was sent, once for each time that it arrived. */
export interface Persisted<T> {
  readonly transactionId: string
  readonly idempotencyKey: string
  /** From 1. */
  readonly attempt: number
  readonly changes: Record<string, Partial<T>>
  readonly mutations: PendingMutation<T>[]
  /** By the test's clock. */
  readonly at: Date
  /** The backend had this idempotency key already, and did nothing. */
  readonly repeated: boolean
}

interface Feed<T> { readonly tab: TabScope; onUpdate(update: SyncUpdate<T>): void; missed: boolean }

export class FakeBackend<T> {
  readonly persisted: Persisted<T>[] = []
  readonly network = { online: true, delayMs: 0 }
  readonly #rows: Map<string, T>
  readonly #clock: Clock
  readonly #faults: FaultSource
  readonly #getKey: (row: T) => string
  /** Whether feeds hear by themselves what was persisted. */
  readonly #echoes: boolean
  readonly #feeds = new Set<Feed<T>>()
  readonly #failures: unknown[] = []
  readonly #keys = new Set<string>()

  constructor(o: { rows: Rows<T>; clock: Clock; faults: FaultSource; getKey: (row: T) => string; echoes: boolean }) {
    this.#clock = o.clock
    this.#faults = o.faults
    this.#getKey = o.getKey
    this.#echoes = o.echoes
    this.#rows = this.#keyed(o.rows)
  }

  failNext(error: unknown): void {
    this.#failures.push(error)
  }

  /** A feed of the backend's rows: the whole, and then what changes. */
  async feed(tab: TabScope, { onUpdate, signal }: { onUpdate(update: SyncUpdate<T>): void; signal: AbortSignal }): Promise<{ data: Rows<T> }> {
    const answer = this.#trip(tab).then(() => {
      this.#listen({ tab, onUpdate, missed: false }, signal)
      return { data: Object.fromEntries(this.#rows) }
    })
    return tab.heard(answer)
  }

  /** An app's own feed: what the test emits goes through it too. */
  async appFeed(tab: TabScope, setup: (given: { onUpdate(update: SyncUpdate<T>): void; signal: AbortSignal }) => Promise<{ data: Rows<T> }>, given: { onUpdate(update: SyncUpdate<T>): void; signal: AbortSignal }): Promise<{ data: Rows<T> }> {
    const onUpdate = (update: SyncUpdate<T>) => tab.run(() => given.onUpdate(update))
    this.#listen({ tab, onUpdate, missed: false }, given.signal)
    return tab.heard(this.#trip(tab).then(() => setup({ onUpdate, signal: given.signal })))
  }

  /** A change that comes from elsewhere. */
  emit(update: SyncUpdate<T>): void {
    if ('data' in update) {
      this.#rows.clear()
      for (const [key, row] of this.#keyed(update.data)) this.#rows.set(key, row)
    } else {
      for (const [key, row] of this.#keyed(update.upsert ?? [])) this.#rows.set(key, row)
      for (const key of update.delete ?? []) this.#rows.delete(key)
    }
    this.#deliver(update)
  }

  setOnline(online: boolean): void {
    this.network.online = online
    if (!online) return
    for (const feed of this.#feeds) {
      if (!feed.missed) continue
      feed.missed = false
      feed.tab.run(() => feed.onUpdate({ data: Object.fromEntries(this.#rows) }))
    }
  }

  /** A tab's mutation function: the app's, with this backend and its network in between. */
  sender(tab: TabScope, mutationFn: MutationFn<T> | undefined): MutationFn<T> {
    const awaitSync = mutationFn?.awaitSync
    return {
      persist: given => tab.heard(this.#persist(tab, mutationFn, given)),
      ...(awaitSync === undefined ? {} : { awaitSync: (given: AwaitSyncParams<T>) => tab.heard(Promise.resolve(awaitSync.call(mutationFn, given))) }),
    }
  }

  async #persist(tab: TabScope, mutationFn: MutationFn<T> | undefined, given: PersistParams<T>): Promise<void | { rekey?: Record<string, string> }> {
    await this.#trip(tab)
    if (this.#failures.length > 0) throw this.#failures.shift()
    if (this.#faults.strikes('loseRequest')) throw offline()
    if (this.#faults.strikes('refuse')) throw new Error('The fake backend failed, as its faults say.')
    const answer = await mutationFn?.persist({
      ...given,
      fetch: async (input, init) => {
        if (!this.network.online) throw offline()
        return given.fetch(input, init)
      },
    })
    // Whoever is gone by now has sent nothing.
    if (tab.isDead) return
    this.#take(given, answer?.rekey ?? {})
    if (this.#faults.strikes('repeatRequest')) this.#take(given, answer?.rekey ?? {})
    tab.diesAt('afterPersist')
    if (this.#faults.strikes('loseAnswer')) throw offline()
    return answer
  }

  #take({ transaction, attempt, changes, mutations }: PersistParams<T>, rekey: Record<string, string>): void {
    const { id, idempotencyKey } = transaction
    const repeated = this.#keys.has(idempotencyKey)
    this.#keys.add(idempotencyKey)
    this.persisted.push({ transactionId: id, idempotencyKey, attempt, changes, mutations, at: new Date(this.#clock.now), repeated })
    if (repeated) return
    const upsert: Record<string, T> = {}
    const gone: string[] = []
    for (const mutation of mutations) {
      const key = rekey[mutation.key] ?? mutation.key
      const row = this.#written(mutation, key)
      if (row === undefined) {
        this.#rows.delete(key)
        gone.push(key)
      } else {
        this.#rows.set(key, row)
        upsert[key] = row
      }
    }
    if (this.#echoes) this.#deliver({ upsert, delete: gone })
  }

  /** A backend takes a row as it is, and of an update the fields that changed: it leaves the others as they are there. */
  #written({ key: from, type, modified, changes }: PendingMutation<T>, key: string): T | undefined {
    if (type === 'delete') return undefined
    if (type === 'insert' && key === from) return modified ?? (changes as T)
    const fields: Record<string, unknown> = { ...(type === 'insert' ? modified : this.#rows.get(key)), ...changes }
    for (const field of Object.keys(changes)) if (type === 'update' && fields[field] === undefined) delete fields[field]
    if (key !== from && fields['id'] === from) fields['id'] = key
    return fields as T
  }

  #deliver(update: SyncUpdate<T>): void {
    for (const feed of this.#feeds) {
      const lost = this.#faults.strikes('loseUpdate')
      const arrive = () => {
        if (this.network.online && !lost) feed.tab.run(() => feed.onUpdate(update))
        else feed.missed = true
      }
      if (this.network.delayMs > 0) this.#clock.set(arrive, this.network.delayMs)
      else arrive()
    }
  }

  #listen(feed: Feed<T>, signal: AbortSignal): void {
    this.#feeds.add(feed)
    const leave = () => this.#feeds.delete(feed)
    signal.addEventListener('abort', leave)
    void feed.tab.dead.then(leave)
  }

  async #trip(tab: TabScope): Promise<void> {
    if (!this.network.online) throw offline()
    await this.#clock.wait(this.network.delayMs + this.#faults.delayMs())
    if (!this.network.online) throw offline()
    // A frozen tab's request goes out once it thaws.
    await new Promise<void>(resolve => tab.run(resolve))
  }

  #keyed(rows: Rows<T>): Map<string, T> {
    if (Symbol.iterator in rows) return new Map([...(rows as Iterable<T>)].map(row => [this.#getKey(row), row]))
    return new Map(Object.entries(rows))
  }
}

function offline(): NetworkError {
  return new NetworkError('The test’s network could not be reached. The change is kept and sent when it can be.')
}

/** What a test's `emitUpdate` was given, as an update: rows alone are added to what is there. */
export function asUpdate<T>(given: SyncUpdate<T> | Rows<T>): SyncUpdate<T> {
  if (Symbol.iterator in given) return { upsert: given as Iterable<T> }
  const { upsert, delete: gone, data } = given as { upsert?: unknown; delete?: unknown; data?: unknown }
  const known = Object.keys(given).every(name => name === 'upsert' || name === 'delete' || name === 'data')
  const isUpdate = known && (typeof upsert === 'object' || Array.isArray(gone) || typeof data === 'object')
  return isUpdate ? (given as SyncUpdate<T>) : { upsert: given as Record<string, T> }
}
