// All transactions of a database, in order.
import type { Core } from './core.ts'
import { guarded } from './readable.ts'
import { Transaction } from './transaction.ts'
import type { TransactionFilter } from './types.ts'

/** The log of transactions. */
export class TransactionLog {
  readonly #core: Core
  readonly #listeners = new Set<(transaction: Transaction) => void>()
  /** What waits for a transaction to be gone. */
  readonly #checks = new Set<() => void>()

  /** @internal Raised with each change of a transaction. */
  version = 0

  /** @internal */
  constructor(core: Core) {
    this.#core = core
  }

  /** Those that match, in order. */
  list(filter: TransactionFilter = {}): Transaction[] {
    return this.#core.listed(filter)
  }

  /** The one with this id. */
  get(id: string): Transaction | undefined {
    return this.#core.transaction(id)
  }

  /** Calls back after each change of any transaction. */
  subscribe(listener: (transaction: Transaction) => void): () => void {
    const own = (transaction: Transaction) => listener(transaction)
    this.#listeners.add(own)
    return () => { this.#listeners.delete(own) }
  }

  /** Makes a new transaction of a failed one, on today's rows. */
  retry(id: string): Transaction {
    return this.#core.written(this.#core.call(() => this.#core.client.retry(id)), true)
  }

  /** Drops one that is failed or not being sent, with those that wait on it; resolves when that is in the journal. */
  async discard(id: string): Promise<void> {
    this.#core.call(() => this.#core.client.discard(id))
    await new Promise<void>(resolve => {
      const check = () => {
        if (this.#core.view(id) !== undefined) return
        this.#checks.delete(check)
        resolve()
      }
      this.#checks.add(check)
      check()
    })
  }

  /** Forgets finished transactions that ended before a time, by default completed ones of any age; gives how many. */
  async prune({ olderThan, states = ['completed'] }: { olderThan?: Date; states?: ('completed' | 'failed')[] }): Promise<number> {
    return this.#core.call(() => this.#core.client.prune(olderThan?.getTime(), states.includes('completed'), states.includes('failed')))
  }

  /** `<collection>/<key>` of each object that is locked. */
  lockedObjects(): Set<string> {
    return new Set(this.#core.call(() => this.#core.client.lockedObjects()))
  }

  /** @internal */
  changed(id: string): void {
    this.version++
    for (const check of [...this.#checks]) this.#core.later(check)
    if (this.#listeners.size === 0) return
    this.#core.later(() => {
      // One that was discarded is told of once more, as failed.
      const transaction = this.#core.transaction(id) ?? new Transaction(this.#core, id, false)
      for (const listener of [...this.#listeners]) guarded(() => listener(transaction))
    })
  }
}
