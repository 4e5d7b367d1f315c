// What the tabs of a test share besides the disk: locks and channels, as browsers have them.
import type { GivenChannel, GivenLocks } from '../scope.ts'

/** What locks and channels need of a tab. */
export interface Runner {
  readonly isDead: boolean
  /** Runs something in the tab: later if the tab is frozen, never if it is gone. */
  run(call: () => void): void
}

interface Request { tab: Runner; granted: (lock: object | null) => unknown; resolve(value: unknown): void; reject(error: unknown): void }

/** The locks of an origin. */
export class SharedLocks {
  readonly #held = new Map<string, Request>()
  readonly #lines = new Map<string, Request[]>()

  /** `navigator.locks` of one tab. */
  of(tab: Runner): GivenLocks {
    return {
      request: (name, { ifAvailable = false, steal = false, signal }, granted) => new Promise((resolve, reject) => {
        if (tab.isDead) return
        const request = { tab, granted, resolve, reject }
        const holder = this.#held.get(name)
        if (holder !== undefined && ifAvailable) return this.#answer(request, null, () => {})
        if (holder === undefined || steal) {
          // Whoever is robbed keeps running, and learns it from its promise.
          holder?.tab.run(() => holder.reject(new DOMException('The lock was stolen.', 'AbortError')))
          return this.#grant(name, request)
        }
        this.#line(name).push(request)
        signal?.addEventListener('abort', () => {
          const line = this.#line(name)
          const at = line.indexOf(request)
          if (at < 0) return
          line.splice(at, 1)
          reject(new DOMException('The request was aborted.', 'AbortError'))
        })
      }),
    }
  }

  /** Gives back everything that a tab holds or waits for: it is gone. */
  leave(tab: Runner): void {
    for (const [name, line] of this.#lines) this.#lines.set(name, line.filter(request => request.tab !== tab))
    for (const [name, holder] of [...this.#held]) if (holder.tab === tab) this.#release(name, holder)
  }

  #grant(name: string, request: Request): void {
    this.#held.set(name, request)
    this.#answer(request, { name, mode: 'exclusive' }, () => this.#release(name, request))
  }

  #answer(request: Request, lock: object | null, release: () => void): void {
    queueMicrotask(() => request.tab.run(() => {
      const ended = async () => request.granted(lock)
      void ended().then(request.resolve, request.reject).finally(release)
    }))
  }

  #release(name: string, request: Request): void {
    if (this.#held.get(name) !== request) return
    this.#held.delete(name)
    const next = this.#line(name).shift()
    if (next !== undefined) this.#grant(name, next)
  }

  #line(name: string): Request[] {
    const line = this.#lines.get(name) ?? []
    this.#lines.set(name, line)
    return line
  }
}

/** The broadcast channels of an origin. */
export class SharedChannels {
  readonly #open = new Map<string, Set<{ tab: Runner; channel: GivenChannel }>>()

  open(name: string, tab: Runner): GivenChannel {
    const members = this.#open.get(name) ?? new Set()
    this.#open.set(name, members)
    const channel: GivenChannel = {
      onmessage: null,
      postMessage: message => tab.run(() => {
        for (const other of members) {
          if (other === member) continue
          const data: unknown = structuredClone(message)
          queueMicrotask(() => other.tab.run(() => other.channel.onmessage?.({ data })))
        }
      }),
      close: () => { members.delete(member) },
    }
    const member = { tab, channel }
    members.add(member)
    return channel
  }
}
