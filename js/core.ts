// What the parts of one open database share: the wasm module's instance, what it tells, and the objects made of that.
import { DriftlineError, fromWire, isWireError, revived } from './errors.ts'
import { guarded } from './readable.ts'
import type { GivenScope, Scope } from './scope.ts'
import { Transaction } from './transaction.ts'
import type { TransactionFilter } from './types.ts'
import { client } from './wasm.ts'
import { Ended, Event, Told, type ClientModule, type WireErrorInfo, type WireTransaction } from './wire.ts'

/** What a collection does with what is told of it. */
export interface CollectionPart {
  readonly id: string
  readonly number: number
  apply(key: string, value: unknown, previous: unknown): void
  /** Calls subscribers with what was applied since the last time. */
  notify(): void
  syncedChanged(): void
  rekeyed(from: string, to: string): void
  becameReady(): void
  becameSynced(): void
  failedToLoad(error: DriftlineError): void
  startSync(): void
  stopSync(): void
  persist(op: number, transaction: Transaction, name: string | undefined, attempt: number): void
  awaitSync(op: number, transaction: Transaction, name: string | undefined): void
  cancel(op: number): void
}

/** What the database's face hears. */
export interface CoreEvents {
  statusChanged(): void
  transactionChanged(id: string): void
  failed(error: DriftlineError | Error, transaction?: Transaction): void
  pinged(remote: number, error: Error | undefined): void
}

/** How a database is opened. */
export interface CoreOptions { name: string; strict: boolean; maxPending: number; seed: Uint8Array; scope?: GivenScope | undefined }

export class Core {
  readonly client: ClientModule
  readonly scope: Scope
  readonly collections = new Map<number, CollectionPart>()
  readonly #events: CoreEvents
  /** Transactions that an app may hold and that are not finished. */
  readonly #live = new Map<string, Transaction>()
  /** What was thrown in this tab, by the numbers that the module hands back; the oldest go first. */
  readonly #originals = new Map<number, Error>()
  #lastOriginal = 0
  /** What calls the app: run in order, after the module has returned. */
  readonly #due: (() => void)[] = []
  readonly #notified = new Set<CollectionPart>()
  /** What was told while a part was registered. */
  #held: unknown[][] | undefined
  #depth = 0
  #flushing = false

  constructor(options: CoreOptions, events: CoreEvents) {
    this.#events = events
    const { name, strict, maxPending, seed, scope } = options
    this.scope = scope ?? globalThis
    this.client = this.call(() => new (client())(name, strict, seed, maxPending, told => this.#hear(told), scope))
  }

  /** Calls the module; what it throws becomes an error of ours, and what it told is passed on afterwards. */
  call<R>(body: () => R): R {
    this.#depth++
    try {
      return body()
    } catch (thrown) {
      throw isWireError(thrown) ? fromWire(thrown) : thrown
    } finally {
      if (--this.#depth === 0) this.#flush()
    }
  }

  /** Registers a part. What the module tells meanwhile, rows that it has already too, is heard once the part is there. */
  registering<P extends { readonly part: CollectionPart }>(make: () => P): P {
    return this.call(() => {
      const held: unknown[][] = []
      this.#held = held
      try {
        const made = make()
        this.collections.set(made.part.number, made.part)
        return made
      } finally {
        this.#held = undefined
        for (const told of held) this.#hear(told)
      }
    })
  }

  /** The object of a transaction that has just been written. */
  written(id: string, fresh: boolean): Transaction {
    const transaction = new Transaction(this, id, fresh)
    if (fresh) this.#live.set(id, transaction)
    return transaction
  }

  /** The object of a transaction that the journal has; the same one while it is unfinished. */
  transaction(id: string): Transaction | undefined {
    const live = this.#live.get(id)
    if (live !== undefined) return live
    const view = this.view(id)
    if (view === undefined) return undefined
    const transaction = new Transaction(this, id, false, view)
    if (view.state !== 'completed' && view.state !== 'failed') this.#live.set(id, transaction)
    return transaction
  }

  /** Those that match, in order, with as little said of each as will do: a history may be long. */
  listed({ state, collection, since }: TransactionFilter): Transaction[] {
    const [ids, ends] = this.call(() => this.client.transactions(state, collection, since?.getTime()))
    const length = ids.length / ends.length
    return Array.from(ends, (end, at) => {
      const id = ids.slice(at * length, (at + 1) * length)
      if (end !== Ended.not) return new Transaction(this, id, false, undefined, end === Ended.completed ? 'completed' : 'failed')
      let live = this.#live.get(id)
      if (live === undefined) this.#live.set(id, live = new Transaction(this, id, false))
      return live
    })
  }

  view(id: string): WireTransaction | undefined {
    return this.call(() => this.client.transaction(id))
  }

  /** Keeps an error for as long as the tab lives, within a bound, and gives what is journalled of it. */
  keep(thrown: unknown): WireErrorInfo {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    const original = ++this.#lastOriginal
    this.#originals.set(original, error)
    if (this.#originals.size > ORIGINALS_MAX) {
      const [oldest] = this.#originals.keys()
      this.#originals.delete(oldest as number)
    }
    const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
    return { name: error.name, code, message: error.message, original }
  }

  /** The error itself if this tab caught it, or one like it. */
  error(info: WireErrorInfo, cause?: string): Error {
    const original = info.original === undefined ? undefined : this.#originals.get(info.original)
    if (original !== undefined) return original
    return revived(info, cause)
  }

  /** Runs what calls the app, once the module has returned. */
  later(call: () => void): void {
    this.#due.push(call)
  }

  #hear(told: unknown[]): void {
    if (this.#held !== undefined) {
      this.#held.push(told)
      return
    }
    // Most often there is one, or none.
    let seen: string | undefined
    let more: Set<string> | undefined
    for (let at = 0; at < told.length;) {
      switch (told[at++]) {
        case Told.Row: {
          const part = this.#part(told[at])
          part?.apply(told[at + 1] as string, told[at + 2], told[at + 3])
          if (part !== undefined && !this.#notified.has(part)) {
            this.#notified.add(part)
            this.later(() => { this.#notified.delete(part); part.notify() })
          }
          at += 4
          break
        }
        case Told.SyncedRows: this.#tell(told[at++], part => part.syncedChanged()); break
        case Told.Transaction: {
          const id = told[at] as string
          this.#transactionEvent(id, told[at + 1] as number, told[at + 2] as WireErrorInfo | undefined, told[at + 3] as string | undefined)
          if (seen === undefined) seen = id
          else if (seen !== id) (more ??= new Set()).add(id)
          at += 4
          break
        }
        case Told.Ready: this.#tell(told[at++], part => part.becameReady()); break
        case Told.Synced: this.#tell(told[at++], part => part.becameSynced()); break
        case Told.Status: this.#events.statusChanged(); break
        case Told.Error: {
          this.#errorEvent(told[at] as string, told[at + 1] as WireErrorInfo, told[at + 2] as string | undefined)
          at += 3
          break
        }
        case Told.Persist: {
          const [op, id, number, name, attempt] = told.slice(at, at + 5) as [number, string, number, string | undefined, number]
          this.#run(number, id, (part, transaction) => part.persist(op, transaction, name, attempt))
          at += 5
          break
        }
        case Told.AwaitSync: {
          const [op, id, number, name] = told.slice(at, at + 4) as [number, string, number, string | undefined]
          this.#run(number, id, (part, transaction) => part.awaitSync(op, transaction, name))
          at += 4
          break
        }
        case Told.Cancel: {
          const op = told[at++] as number
          for (const part of this.collections.values()) this.later(() => part.cancel(op))
          break
        }
        case Told.StartSync: this.#tell(told[at++], part => part.startSync()); break
        case Told.StopSync: this.#tell(told[at++], part => part.stopSync()); break
        case Told.Rekeyed: {
          const [number, from, to] = told.slice(at, at + 3) as [number, string, string]
          this.#tell(number, part => part.rekeyed(from, to))
          at += 3
          break
        }
        case Told.Pinged: {
          const [remote, info] = told.slice(at, at + 2) as [number, WireErrorInfo | undefined]
          this.later(() => this.#events.pinged(remote, info === undefined ? undefined : this.error(info)))
          at += 2
          break
        }
        default: throw new DriftlineError('unexpected', 'The wasm module and its TypeScript face are of different versions. What is stored is kept; build or install the app anew.')
      }
    }
    if (seen !== undefined) this.#events.transactionChanged(seen)
    if (more !== undefined) for (const id of more) if (id !== seen) this.#events.transactionChanged(id)
    if (this.#depth === 0) this.#flush()
  }

  #transactionEvent(id: string, event: number, info: WireErrorInfo | undefined, cause: string | undefined): void {
    const live = this.#live.get(id)
    live?.happened(event, info, cause)
    const ended = event === Event.Completed || event === Event.Failed || event === Event.NotDurable || event === Event.Discarded
    if (ended) this.#live.delete(id)
    if (info === undefined || (event !== Event.Failed && event !== Event.NotDurable)) return
    const error = this.error(info, cause)
    this.later(() => {
      // Whoever asked for one of the promises has it from there.
      if (live?.isWatched !== true) this.#events.failed(error, live ?? this.transaction(id))
    })
  }

  #errorEvent(code: string, info: WireErrorInfo, id: string | undefined): void {
    const error = this.error(info)
    if (code === 'storage_unavailable' && error instanceof DriftlineError) for (const part of this.collections.values()) part.failedToLoad(error)
    this.later(() => this.#events.failed(error, id === undefined ? undefined : this.transaction(id)))
  }

  #run(number: number, id: string, run: (part: CollectionPart, transaction: Transaction) => void): void {
    this.later(() => {
      const part = this.collections.get(number)
      const transaction = this.transaction(id)
      if (part !== undefined && transaction !== undefined) run(part, transaction)
    })
  }

  #tell(number: unknown, tell: (part: CollectionPart) => void): void {
    this.later(() => {
      const part = this.#part(number)
      if (part !== undefined) tell(part)
    })
  }

  #part(number: unknown): CollectionPart | undefined {
    return this.collections.get(number as number)
  }

  #flush(): void {
    if (this.#flushing) return
    this.#flushing = true
    try {
      for (let call = this.#due.shift(); call !== undefined; call = this.#due.shift()) guarded(call)
    } finally {
      this.#flushing = false
    }
  }
}

/** How many errors are kept as the objects that they were; older ones are shown by name, code and message. */
const ORIGINALS_MAX = 1_000
