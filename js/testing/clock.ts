// A clock that stands still until a test moves it, and the turns of the event loop that work without it takes.

interface Due { at: number; order: number; everyMs: number | undefined; call: () => void }

/** Timers and time of all tabs of a test. */
export class Clock {
  #now: number
  #last = 0
  readonly #due = new Map<number, Due>()
  readonly #settle: () => Promise<void>
  #moving: Promise<void> = Promise.resolve()

  /** `settle` waits until nothing happens any more without the clock. */
  constructor(startMs: number, settle: () => Promise<void>) {
    this.#now = startMs
    this.#settle = settle
  }

  get now(): number { return this.#now }

  /** Calls back after a time; with `again`, again and again. */
  set(call: () => void, waitMs: number, again = false): number {
    const number = ++this.#last
    const wait = Math.max(0, waitMs)
    this.#due.set(number, { at: this.#now + wait, order: number, everyMs: again ? Math.max(1, wait) : undefined, call })
    // What is due now takes no moving of the clock.
    if (wait === 0) void turn().then(() => { if (this.#due.get(number)?.at === this.#now) this.#fire(number) })
    return number
  }

  clear(number: number): void {
    this.#due.delete(number)
  }

  wait(waitMs: number): Promise<void> {
    return waitMs <= 0 ? Promise.resolve() : new Promise(resolve => { this.set(resolve, waitMs) })
  }

  /** Moves on, calling what becomes due in order, and lets each call's consequences happen before the next. */
  advance(ms: number): Promise<void> {
    this.#moving = this.#moving.then(async () => {
      const until = this.#now + ms
      await this.#settle()
      for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
        this.#now = Math.max(this.#now, (this.#due.get(next) as Due).at)
        this.#fire(next)
        await this.#settle()
      }
      this.#now = until
    })
    return this.#moving
  }

  #next(until: number): number | undefined {
    let first: [number, Due] | undefined
    for (const [number, due] of this.#due) {
      if (due.at <= until && (first === undefined || due.at < first[1].at || (due.at === first[1].at && due.order < first[1].order))) first = [number, due]
    }
    return first?.[0]
  }

  #fire(number: number): void {
    const due = this.#due.get(number)
    if (due === undefined) return
    if (due.everyMs === undefined) this.#due.delete(number)
    else this.#due.set(number, { ...due, at: due.at + due.everyMs })
    due.call()
  }
}

/** Lets everything run that is under way, down to the last microtask. */
export function turn(): Promise<void> {
  return new Promise(resolve => {
    if (immediately !== undefined) immediately(resolve)
    else {
      waiting.push(resolve)
      port?.postMessage(undefined)
    }
  })
}

// As they are now: a test runner may put its own timers in their place.
const immediately = (globalThis as { setImmediate?: (call: () => void) => unknown }).setImmediate
const waiting: (() => void)[] = []
/** One for all turns: a channel that nothing refers to may be collected with its message. */
const port = immediately === undefined ? openPort() : undefined

function openPort(): MessagePort {
  const { port1, port2 } = new MessageChannel()
  port1.onmessage = () => waiting.shift()?.()
  return port2
}
