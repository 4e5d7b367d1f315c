// Faults that come at random, from a seed: the same test with the same seed meets the same ones at the same places.

/** How often what goes wrong; each a share from 0 to 1 of the times that it could. What is left out never happens. */
export interface Faults {
  /** What the faults are drawn from; 1. */
  seed?: number
  /** A change does not reach the backend, and the tab is told that nothing was reached. */
  loseRequest?: number
  /** The backend has a change, and the tab is told that nothing was reached: it is sent again under its key. */
  loseAnswer?: number
  /** The backend gets a change twice. */
  repeatRequest?: number
  /** The backend fails, in a way that is worth another try. */
  refuse?: number
  /** A sync update gets lost, with all rows that it had, until `goOnline()` or `heal()` makes the connection anew. */
  loseUpdate?: number
  /** The disk refuses a write of the journal: what the app wrote is taken back, and its `durable` rejects. In memory only. */
  failCommit?: number
  /** What is sent and what is synced takes up to so much longer, in milliseconds of the test's clock. */
  delayMs?: number
}

/** Why the disk refuses a write. */
export type CommitFault = 'quota' | 'unavailable'

/** Draws faults. */
export class FaultSource {
  #faults: Faults = {}
  #state = 0

  set(faults: Faults): void {
    this.#faults = faults
    this.#state = (faults.seed ?? 1) | 0
  }

  /** Whether it happens now. What never happens draws nothing. */
  strikes(fault: Exclude<keyof Faults, 'seed' | 'delayMs'>): boolean {
    const share = this.#faults[fault] ?? 0
    return share > 0 && this.#draw() < share
  }

  /** How much longer something takes. */
  delayMs(): number {
    const { delayMs = 0 } = this.#faults
    return delayMs > 0 ? Math.floor(this.#draw() * delayMs) : 0
  }

  /** From zero up to one, evenly; nearby seeds are far apart after the first steps (a counter, hashed as murmur3 ends). */
  #draw(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 16), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32
  }
}
