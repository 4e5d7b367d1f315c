// One transaction: a live view of what the journal has of it, and promises for what is still to come.
import type { Core } from './core.ts'
import { DriftlineError } from './errors.ts'
import { guarded } from './readable.ts'
import { frozen } from './snapshot.ts'
import type { Attempt, PendingMutation, TransactionState } from './types.ts'
import { Event, type WireAttempt, type WireErrorInfo, type WireMutation, type WireTransaction } from './wire.ts'

type Milestone = 'durable' | 'persisted' | 'completed'

interface Deferred { promise: Promise<void>; resolve(): void; reject(error: Error): void }

/** A transaction. Its fields show how it stands when they are read. */
export class Transaction {
  readonly id: string
  readonly #core: Core
  #view: WireTransaction | undefined
  #stale = true
  /** What has been reached, as far as events have told: the last of the milestones, which come in order. */
  #reached = 0
  /** How it ended, if that is known without the journal's view: nothing changes it any more. */
  readonly #ended: 'completed' | 'failed' | undefined
  #failure: Error | undefined
  /** Whether all events since it was written were heard; otherwise the journal's view says what has been reached. */
  readonly #fresh: boolean
  // Made when they are needed: a list of a long history makes thousands of these.
  #promises: Map<Milestone, Deferred> | undefined
  #listeners: Set<(transaction: Transaction) => void> | undefined
  /** What `still` gave since the last change. */
  #still: Transaction | undefined
  /** The one that this is a still copy of. */
  #live: Transaction | undefined

  /** @internal */
  constructor(core: Core, id: string, fresh: boolean, view?: WireTransaction, ended?: 'completed' | 'failed') {
    this.#core = core
    this.id = id
    this.#fresh = fresh
    this.#view = view
    this.#stale = view === undefined
    this.#ended = ended
  }

  get idempotencyKey(): string { return this.#now().idempotencyKey }
  get state(): TransactionState { return this.#ended ?? this.#now().state }
  get createdAt(): Date { return new Date(this.#now().createdAt) }
  get updatedAt(): Date { return new Date(this.#now().updatedAt) }
  get currentAttempt(): number { return this.#now().currentAttempt }
  get queuedBehind(): string | undefined { return this.#now().queuedBehind }
  get metadata(): unknown { return this.#now().metadata }
  get mutations(): PendingMutation[] { const view = this.#now(); return view.mutations.map(mutation => pendingMutation(mutation, view)) }
  get attempts(): Attempt[] { return this.#now().attempts.map(attempt => this.#attempt(attempt)) }

  get error(): { transactionId?: string; message: string; error: Error } | undefined {
    const { error: info, cause } = this.#now()
    if (info === undefined) return undefined
    const error = this.#failure ?? this.#core.error(info, cause)
    return { ...(cause === undefined ? {} : { transactionId: cause }), message: error.message, error }
  }

  /** In the journal: survives a crash from here on. */
  get durable(): Promise<void> { return this.#promise('durable') }
  /** The backend has it. */
  get persisted(): Promise<void> { return this.#promise('persisted') }
  /** The backend has it, and its rows have come back. */
  get completed(): Promise<void> { return this.#promise('completed') }

  /** Calls back after each change. */
  subscribe(listener: (transaction: Transaction) => void): () => void {
    if (this.#live !== undefined) return this.#live.subscribe(listener)
    const own = (transaction: Transaction) => listener(transaction)
    const listeners = this.#listeners ??= new Set()
    listeners.add(own)
    return () => { listeners.delete(own) }
  }

  /** @internal A copy that stays as this is now, the same until this changes; promises and subscriptions are those of this. */
  still(): Transaction {
    if (this.#ended !== undefined) return this
    const view = this.#now()
    if (this.#still === undefined) {
      this.#still = new Transaction(this.#core, this.id, false, view)
      this.#still.#failure = this.#failure
      this.#still.#live = this
    }
    return this.#still
  }

  /** @internal Whether someone waits for one of its promises. */
  get isWatched(): boolean { return this.#promises !== undefined }

  /** @internal Whether it has ended and is known to have without a look: it stays the same. */
  get isHistory(): boolean { return this.#ended !== undefined }

  /** @internal */
  happened(event: number, info: WireErrorInfo | undefined, cause: string | undefined): void {
    this.#stale = true
    this.#still = undefined
    switch (event) {
      case Event.Durable: this.#reach('durable'); break
      case Event.Persisted: this.#reach('persisted'); break
      case Event.Completed: this.#reach('completed'); break
      case Event.Failed:
      case Event.NotDurable: this.#fail(this.#core.error(info as WireErrorInfo, cause)); break
      case Event.Discarded: this.#fail(discardedError(this.id)); break
      default:
    }
    const listeners = this.#listeners
    if (listeners !== undefined && listeners.size > 0) this.#core.later(() => { for (const listener of [...listeners]) guarded(() => listener(this)) })
  }

  #now(): WireTransaction {
    if (this.#stale) {
      this.#view = this.#core.view(this.id) ?? this.#gone()
      this.#stale = false
    }
    return this.#view as WireTransaction
  }

  /** What is shown of a transaction that the journal does not have any more. */
  #gone(): WireTransaction {
    const error = this.#failure ?? discardedError(this.id)
    const last = this.#view ?? { id: this.id, idempotencyKey: this.id, createdAt: 0, updatedAt: 0, mutations: [], attempts: [], currentAttempt: 0, durable: false }
    return { ...last, state: 'failed', error: { name: error.name, code: 'discarded', message: error.message } }
  }

  #promise(milestone: Milestone): Promise<void> {
    if (this.#live !== undefined) return this.#live.#promise(milestone)
    const promises = this.#promises ??= new Map()
    const known = promises.get(milestone)
    if (known !== undefined) return known.promise
    const deferred = withResolvers()
    promises.set(milestone, deferred)
    // An error that nobody looks at reaches the status and the error event, not the console.
    deferred.promise.catch(() => {})
    if (!this.#fresh) this.#catchUp()
    if (this.#reached >= MILESTONES[milestone]) deferred.resolve()
    else if (this.#failure !== undefined) deferred.reject(this.#failure)
    return deferred.promise
  }

  /** Takes from the journal's view what was told before this object was made. */
  #catchUp(): void {
    const view = this.#now()
    const reached = view.state === 'completed' ? MILESTONES.completed : view.state === 'persisted_awaiting_sync' ? MILESTONES.persisted : view.durable ? MILESTONES.durable : 0
    this.#reached = Math.max(this.#reached, reached)
    if (view.state === 'failed' && view.error !== undefined) this.#failure ??= this.#core.error(view.error, view.cause)
  }

  #reach(milestone: Milestone): void {
    this.#reached = Math.max(this.#reached, MILESTONES[milestone])
    this.#promises?.get(milestone)?.resolve()
  }

  #fail(error: Error): void {
    this.#failure = error
    for (const [milestone, deferred] of this.#promises ?? []) if (this.#reached < MILESTONES[milestone]) deferred.reject(error)
  }

  #attempt({ id, startedAt, completedAt, error, retryScheduledFor }: WireAttempt): Attempt {
    return {
      id,
      startedAt: new Date(startedAt),
      ...(completedAt === undefined ? {} : { completedAt: new Date(completedAt) }),
      ...(error === undefined ? {} : { error: this.#core.error(error) }),
      ...(retryScheduledFor === undefined ? {} : { retryScheduledFor: new Date(retryScheduledFor) }),
    }
  }
}

/** In the order in which they are reached. */
const MILESTONES: Record<Milestone, number> = { durable: 1, persisted: 2, completed: 3 }

/** A mutation as apps see it, with what it shares with its transaction. Its rows are frozen; its changes are a copy of their own. */
export function pendingMutation<T>(mutation: WireMutation, view?: WireTransaction): PendingMutation<T> {
  const { mutationId, collection, key, type, changes, original, modified, metadata } = mutation
  const made: PendingMutation<T> = {
    mutationId,
    collection,
    key,
    type,
    changes: { ...(changes as object | undefined) } as Partial<T>,
    metadata: metadata ?? view?.metadata,
    createdAt: new Date(view?.createdAt ?? 0),
    updatedAt: new Date(view?.updatedAt ?? 0),
    state: view?.state === 'persisting' ? 'persisting' : view?.state === 'completed' || view?.state === 'persisted_awaiting_sync' ? 'synced' : 'created',
  }
  if (original !== undefined) made.original = frozen(original as T)
  if (modified !== undefined) made.modified = frozen(modified as T)
  return made
}

function discardedError(id: string): DriftlineError {
  return new DriftlineError('discarded', `Transaction ${id} was discarded. Its changes were taken back; write them anew if they are wanted.`)
}

function withResolvers(): Deferred {
  let resolve!: () => void
  let reject!: (error: Error) => void
  const promise = new Promise<void>((onResolve, onReject) => { resolve = onResolve; reject = onReject })
  return { promise, resolve, reject }
}
