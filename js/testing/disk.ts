// What a database has on disk, in memory: one record a batch, checkpoints in segments, fences. As in IndexedDB,
// values are structured clones, and a call is one transaction.
import { thawed } from '../snapshot.ts'
import type { CommitFault, FaultSource } from './faults.ts'
import type { GivenJournal, JournalRecord } from '../scope.ts'

/** A disk that outlives the tabs that use it. */
export class MemoryDisk {
  readonly #log = new Map<number, JournalRecord>()
  readonly #segments = new Map<string, JournalRecord>()
  readonly #epochs = new Map<string, number>()
  readonly #mirror = new Map<string, unknown>()
  readonly #meta = new Map<string, unknown>()
  /** A number that was given out is never given out again. */
  #last = 0
  #checkpoint = 0
  readonly #faults: FaultSource
  readonly #refusals: CommitFault[] = []

  constructor(faults: FaultSource) {
    this.#faults = faults
  }

  /** The next record is refused. */
  failNext(why: CommitFault): void {
    this.#refusals.push(why)
  }

  load(): Awaited<ReturnType<GivenJournal['load']>> {
    return cloned({ checkpoint: this.#checkpoint, segments: [...this.#segments].sort(([a], [b]) => (a < b ? -1 : 1)), log: [...this.#log] })
  }

  readLog(after: number): Awaited<ReturnType<GivenJournal['readLog']>> {
    return cloned({ checkpoint: this.#checkpoint, records: [...this.#log].filter(([number]) => number > after) })
  }

  append(record: JournalRecord, fences: [string, number][], mirror: [string, unknown][]): number {
    for (const [lease, epoch] of fences) if (this.epoch(lease) !== epoch) throw { kind: 'fenced', lease }
    const refusal = this.#refusals.shift() ?? (this.#faults.strikes('failCommit') ? 'unavailable' : undefined)
    if (refusal !== undefined) throw refusal === 'quota' ? { kind: 'quota', usage: QUOTA_BYTES, quota: QUOTA_BYTES } : { kind: 'unavailable', message: 'the test’s disk refuses this write' }
    const stored = cloned({ record, mirror })
    this.#log.set(++this.#last, stored.record)
    for (const [key, row] of stored.mirror) {
      if (row === undefined) this.#mirror.delete(key)
      else this.#mirror.set(key, row)
    }
    return this.#last
  }

  checkpoint(replaces: number, upto: number, puts: [string, JournalRecord][], deletes: string[]): boolean {
    const newest = [...this.#log.keys()].at(-1) ?? this.#checkpoint
    if (this.#checkpoint !== replaces || newest !== upto) return false
    const stored = cloned(puts)
    for (const name of deletes) this.#segments.delete(name)
    for (const [name, record] of stored) this.#segments.set(name, record)
    for (const number of [...this.#log.keys()]) if (number <= upto) this.#log.delete(number)
    this.#checkpoint = upto
    return true
  }

  raiseEpoch(lease: string): number {
    this.#epochs.set(lease, this.epoch(lease) + 1)
    return this.epoch(lease)
  }

  epoch(lease: string): number {
    return this.#epochs.get(lease) ?? 0
  }

  putMeta(name: string, value: unknown): void {
    this.#meta.set(name, cloned(value))
  }

  destroy(): void {
    for (const store of [this.#log, this.#segments, this.#epochs, this.#mirror, this.#meta]) store.clear()
    this.#checkpoint = this.#last
  }
}

/** What a disk says that it has when it is full. */
const QUOTA_BYTES = 1_000_000_000

function cloned<V>(value: V): V {
  try {
    // Not structuredClone: Node's makes a Blob of a File.
    return thawed(value)
  } catch (error) {
    throw { kind: 'notCloneable', message: (error as Error).message }
  }
}
