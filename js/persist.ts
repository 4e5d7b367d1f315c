// Calls of an app's `persist` and `awaitSync`, and what their failures mean. Classified here, once, by type.
import type { Core } from './core.ts'
import { AuthRequiredError, DriftlineError, NetworkError, NonRetriableError, RetryAfterError } from './errors.ts'
import type { Transaction } from './transaction.ts'
import type { CollectionConfig, MutationFn, PendingMutation, SyncInstance, Verdict } from './types.ts'

/** Runs the functions of one collection. */
export class Sender<T> {
  readonly #core: Core
  readonly #config: CollectionConfig<T>
  readonly #sync: SyncInstance<T>
  readonly #running = new Map<number, AbortController>()

  constructor(core: Core, config: CollectionConfig<T>, sync: SyncInstance<T>) {
    this.#core = core
    this.#config = config
    this.#sync = sync
  }

  async persist(op: number, transaction: Transaction, name: string | undefined, attempt: number): Promise<void> {
    const abort = this.#start(op)
    const { client } = this.#core
    try {
      const { persist } = this.#function(name)
      const mutations = transaction.mutations as PendingMutation<T>[]
      const answer = await persist({ changes: this.#changes(mutations), mutations, attempt, transaction, signal: abort.signal, fetch: fetchFor(abort.signal) })
      const rekey = Object.entries(answer?.rekey ?? {}).flat()
      this.#core.call(() => client.persistAnswered(op, undefined, rekey))
    } catch (thrown) {
      const verdict = this.#config.retry?.classify?.(thrown)
      const failure = { ...meaning(thrown, verdict, this.#core.scope.navigator?.onLine !== false), ...this.#core.keep(thrown) }
      this.#core.call(() => client.persistAnswered(op, failure))
    } finally {
      this.#running.delete(op)
    }
  }

  async awaitSync(op: number, transaction: Transaction, name: string | undefined): Promise<void> {
    const abort = this.#start(op)
    const { client, scope } = this.#core
    const limitMs = this.#config.awaitSyncTimeoutMs ?? AWAIT_SYNC_TIMEOUT_MS
    let timer: unknown
    try {
      const { awaitSync } = this.#function(name)
      const mutations = transaction.mutations as PendingMutation<T>[]
      const given = { changes: this.#changes(mutations), mutations, transaction, sync: this.#sync, signal: abort.signal }
      const late = new Promise<never>((_, reject) => {
        timer = scope.setTimeout(() => reject(new DriftlineError('unexpected', `awaitSync did not resolve within ${limitMs} ms. The change itself was sent, and stays; see to what awaitSync waits for.`)), limitMs)
      })
      await Promise.race([awaitSync?.(given), late])
      this.#core.call(() => client.awaitSyncAnswered(op, undefined))
    } catch (thrown) {
      this.#core.call(() => client.awaitSyncAnswered(op, this.#core.keep(thrown)))
      abort.abort()
    } finally {
      scope.clearTimeout(timer as never)
      this.#running.delete(op)
    }
  }

  cancel(op: number): void {
    this.#running.get(op)?.abort()
  }

  #start(op: number): AbortController {
    const abort = new AbortController()
    this.#running.set(op, abort)
    return abort
  }

  #function(name: string | undefined): MutationFn<T> {
    const found = name === undefined ? this.#config.mutationFn : this.#config.mutationFns?.[name]
    if (found === undefined) throw new NonRetriableError(`The collection ${this.#config.sync.id} has no function to send this change with, so it was taken back. Give the collection a mutationFn, and retry the transaction.`)
    return found
  }

  #changes(mutations: PendingMutation<T>[]): Record<string, Partial<T>> {
    const { id } = this.#config.sync
    return Object.fromEntries(mutations.map(({ collection, key, changes }) => [collection === id ? key : `${collection}/${key}`, changes]))
  }
}

/** A `fetch` that says by the type of its error when nothing was reached, and that ends with the attempt. */
export function fetchFor(signal: AbortSignal): typeof fetch {
  return async (input, init) => {
    // Made first, so that a malformed address or body is a programming error and no network's.
    const own = init?.signal ?? (input instanceof Request ? input.signal : undefined)
    const request = new Request(input, { ...init, signal: own == null ? signal : AbortSignal.any([own, signal]) })
    try {
      return await fetch(request)
    } catch (cause) {
      if (cause instanceof TypeError) throw new NetworkError(`${new URL(request.url).origin} could not be reached. The change is kept, and sent when it can be.`, { cause })
      throw cause
    }
  }
}

interface Meaning { kind: 'permanent' | 'temporary' | 'unreachable' | 'auth'; afterMs?: number; countsAttempt?: boolean }

function meaning(thrown: unknown, verdict: Verdict | undefined, online: boolean): Meaning {
  if (verdict !== undefined) {
    if (!verdict.retry) return { kind: 'permanent' }
    return { kind: 'temporary', ...(verdict.afterMs === undefined ? {} : { afterMs: verdict.afterMs }), countsAttempt: verdict.countsAttempt ?? true }
  }
  if (thrown instanceof NonRetriableError) return { kind: 'permanent' }
  if (thrown instanceof RetryAfterError) return { kind: 'temporary', afterMs: thrown.afterMs, countsAttempt: true }
  if (thrown instanceof AuthRequiredError) return { kind: 'auth' }
  if (thrown instanceof NetworkError) return { kind: 'unreachable' }
  // A bare TypeError is the network's only while the browser itself says that there is none.
  if (thrown instanceof TypeError && !online) return { kind: 'unreachable' }
  return { kind: 'temporary', countsAttempt: true }
}

const AWAIT_SYNC_TIMEOUT_MS = 30_000
