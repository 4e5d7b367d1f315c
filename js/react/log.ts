// Transactions and the status as components draw them.
import type { Driftline, Status, Transaction, TransactionFilter } from '../index.ts'
import { same } from './same.ts'

/** What `useTransactions` draws from. */
export interface TransactionsView {
  subscribe(changed: () => void): () => void
  /** A number that differs when a transaction does. */
  token(): number
  /** The same array until one of them changes. */
  list(filter: TransactionFilter): readonly Transaction[]
}

export interface StatusView {
  subscribe(changed: () => void): () => void
  value(): Status
}

/** The view of a database's transactions that all components share. */
export function transactionsView(db: Driftline): TransactionsView {
  let view = transactions.get(db)
  if (view === undefined) transactions.set(db, view = new Transactions(db))
  return view
}

/** The view of a database's status that all components share. */
export function statusView(db: Driftline): StatusView {
  let view = statuses.get(db)
  if (view === undefined) {
    let shown: Status | undefined
    statuses.set(db, view = {
      subscribe: changed => db.status.subscribe(changed),
      value: () => {
        const { value } = db.status
        if (shown === undefined || !same(shown, value)) shown = value
        return shown
      },
    })
  }
  return view
}

class Transactions implements TransactionsView {
  readonly #db: Driftline
  /** By filter, those that were not asked for longest first. */
  readonly #lists = new Map<string, { token: number; list: readonly Transaction[] }>()

  constructor(db: Driftline) {
    this.#db = db
  }

  readonly subscribe = (changed: () => void): (() => void) => this.#db.transactions.subscribe(changed)
  readonly token = (): number => this.#db.transactions.version

  list(filter: TransactionFilter): readonly Transaction[] {
    const { state, collection, since } = filter
    const key = JSON.stringify([state, collection, since?.getTime()])
    const token = this.token()
    const known = this.#lists.get(key)
    const list = known?.token === token ? known.list : this.#fresh(filter, known?.list ?? [])
    this.#lists.delete(key)
    this.#lists.set(key, { token, list })
    if (this.#lists.size > LISTS_MAX) {
      const [oldest] = this.#lists.keys()
      this.#lists.delete(oldest as string)
    }
    return list
  }

  #fresh(filter: TransactionFilter, before: readonly Transaction[]): readonly Transaction[] {
    const history = new Map(before.filter(({ isHistory }) => isHistory).map(transaction => [transaction.id, transaction]))
    const list = this.#db.transactions.list(filter).map(transaction => {
      // One that has ended is another object at each listing.
      const known = transaction.isHistory ? history.get(transaction.id) : undefined
      return known?.state === transaction.state ? known : transaction.still()
    })
    return list.length === before.length && list.every((transaction, at) => transaction === before[at]) ? before : list
  }
}

/** How many filters' lists are kept. */
const LISTS_MAX = 32
const transactions = new WeakMap<Driftline, TransactionsView>()
const statuses = new WeakMap<Driftline, StatusView>()
