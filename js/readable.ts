// A value that can be watched: a Svelte store, among other things.

/** A value and its changes. A listener is called at once with the present value. */
export interface Readable<T> {
  readonly value: T
  subscribe(listener: (value: T) => void): () => void
}

/** A readable value that is made anew when it is asked for after a change, and told once a turn. */
export class Computed<T> implements Readable<T> {
  #compute: () => T
  #value: T | undefined
  #fresh = false
  #due = false
  #listeners = new Set<(value: T) => void>()

  constructor(compute: () => T) {
    this.#compute = compute
  }

  get value(): T {
    if (!this.#fresh) {
      this.#value = this.#compute()
      this.#fresh = true
    }
    return this.#value as T
  }

  subscribe(listener: (value: T) => void): () => void {
    // One that is given twice is told twice, and leaves twice.
    const own = (value: T) => listener(value)
    this.#listeners.add(own)
    own(this.value)
    return () => { this.#listeners.delete(own) }
  }

  /** Notes that the value may have changed. */
  changed(): void {
    this.#fresh = false
    if (this.#due || this.#listeners.size === 0) return
    this.#due = true
    queueMicrotask(() => {
      this.#due = false
      for (const listener of [...this.#listeners]) guarded(() => listener(this.value))
    })
  }
}

/** Calls an app's listener; what it throws is reported as uncaught and disturbs nobody else. */
export function guarded(call: () => void): void {
  try {
    call()
  } catch (error) {
    if (typeof reportError === 'function') reportError(error)
    // Node has none, and takes this the same way.
    else queueMicrotask(() => { throw error })
  }
}
