// One tab of a test: what its database sees as the global object. A tab can be frozen, and it can be gone.
import type { GivenChannel, GivenJournal, GivenScope } from '../scope.ts'
import type { Capabilities } from '../types.ts'
import type { Clock } from './clock.ts'
import type { MemoryDisk } from './disk.ts'
import type { Runner, SharedChannels, SharedLocks } from './shared.ts'

/** Where a tab dies. */
export type CrashPoint =
  /** At once. */
  | 'now'
  /** In its next write to the journal: nothing of it is kept. */
  | 'beforeCommit'
  /** After its next write to the journal: all of it is kept, and nobody was told. */
  | 'afterCommit'
  /** After the backend has taken its next change, and before the tab knows. */
  | 'afterPersist'

/** What all tabs of a test share. */
export interface Surroundings {
  readonly clock: Clock
  readonly locks: SharedLocks
  readonly channels: SharedChannels
  /** Without one, IndexedDB is used. */
  readonly disk: MemoryDisk | undefined
  readonly network: { readonly online: boolean }
}

export class TabScope extends EventTarget implements GivenScope, Runner {
  readonly navigator: GivenScope['navigator']
  readonly journal?: GivenJournal
  readonly capabilities: Capabilities = {
    opfs: false, syncAccessHandle: false, locks: true, broadcastChannel: true, serviceWorker: false, backgroundSync: false, persisted: false,
  }
  readonly #around: Surroundings
  readonly #timers = new Set<number>()
  #held: (() => void)[] | undefined
  #crashAt: CrashPoint | undefined
  #died!: () => void
  /** Resolves when the tab is gone. */
  readonly dead: Promise<void> = new Promise(resolve => { this.#died = resolve })
  isDead = false
  #random: number

  constructor(around: Surroundings, number: number) {
    super()
    this.#around = around
    this.#random = number
    this.navigator = { get onLine() { return around.network.online }, locks: around.locks.of(this) }
    if (around.disk !== undefined) this.journal = this.#journalOf(around.disk)
  }

  get isFrozen(): boolean { return this.#held !== undefined }

  now(): number { return this.#around.clock.now }

  /** A sequence of its own for each tab, the same in each run (mulberry32). */
  random(): number {
    this.#random = (this.#random + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#random ^ (this.#random >>> 15), 1 | this.#random)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  setTimeout(call: () => void, waitMs: number): number { return this.#timer(call, waitMs, false) }
  setInterval(call: () => void, everyMs: number): number { return this.#timer(call, everyMs, true) }

  clearTimeout(timer: number): void {
    this.#timers.delete(timer)
    this.#around.clock.clear(timer)
  }

  channel(name: string): GivenChannel { return this.#around.channels.open(name, this) }

  run(call: () => void): void {
    if (this.isDead) return
    if (this.#held !== undefined) this.#held.push(call)
    else call()
  }

  /** An answer from outside: it is heard when the tab runs, and never if the tab is gone. */
  heard<R>(answer: Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => {
      answer.then(value => this.run(() => resolve(value)), error => this.run(() => reject(error)))
    })
  }

  freeze(): void { this.#held ??= [] }

  /** What was due while the tab was frozen happens now, in order. */
  thaw(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const call of held) this.run(call)
  }

  crash(at: CrashPoint): Promise<void> {
    if (at === 'now') this.die()
    else this.#crashAt = at
    return this.dead
  }

  /** Whether the tab dies at this point; it is gone then. */
  diesAt(point: CrashPoint): boolean {
    if (this.#crashAt === point) this.die()
    return this.isDead
  }

  die(): void {
    if (this.isDead) return
    this.isDead = true
    for (const timer of this.#timers) this.#around.clock.clear(timer)
    this.#around.locks.leave(this)
    this.#died()
  }

  #timer(call: () => void, waitMs: number, again: boolean): number {
    if (this.isDead) return 0
    const timer = this.#around.clock.set(() => {
      if (!again) this.#timers.delete(timer)
      // Browsers don't make up for the beats of an interval that were missed in a freeze.
      if (!again || !this.isFrozen) this.run(call)
    }, waitMs, again)
    this.#timers.add(timer)
    return timer
  }

  #journalOf(disk: MemoryDisk): GivenJournal {
    const read = <R>(look: () => R): Promise<R> => this.heard(new Promise((resolve, reject) => {
      this.run(() => { try { resolve(look()) } catch (error) { reject(error) } })
    }))
    const write = <R>(change: () => R): Promise<R> => read(() => {
      // A call that the tab does not live to see answered.
      if (this.diesAt('beforeCommit')) return undefined as R
      const result = change()
      this.diesAt('afterCommit')
      return result
    })
    return {
      load: () => read(() => disk.load()),
      readLog: after => read(() => disk.readLog(after)),
      append: (record, fences, mirror) => write(() => disk.append(record, fences, mirror)),
      checkpoint: (replaces, upto, puts, deletes) => write(() => disk.checkpoint(replaces, upto, puts, deletes)),
      raiseEpoch: lease => read(() => disk.raiseEpoch(lease)),
      epochs: leases => read(() => leases.map(lease => disk.epoch(lease))),
      putMeta: (name, value) => write(() => disk.putMeta(name, value)),
      destroy: () => disk.destroy(),
    }
  }
}
