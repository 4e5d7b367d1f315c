// Transactions as lanes on a time line: when each was made, when it waited and for what, and each of its attempts.
import type { Transaction } from '../index.ts'
import { clock, duration, make } from './dom.ts'

/** What the time line asks of the panel around it. */
export interface TimelineHost {
  now(): number
  select(id: string): void
  /** The window was moved or zoomed: draw again. */
  moved(): void
}

/** A part of a lane. */
interface Bar { kind: 'waiting' | 'queued' | 'backoff' | 'attempt' | 'refused' | 'awaiting'; from: number; to: number; title: string }

export class Timeline {
  readonly node: HTMLElement
  readonly #host: TimelineHost
  readonly #track = make('div', { class: 'track' })
  readonly #axis = make('div', { class: 'axis', 'aria-hidden': 'true' }, this.#track)
  readonly #list = make('div', { class: 'lanes', role: 'list', 'aria-label': 'Transactions' })
  readonly #empty = make('p', { class: 'empty' }, 'No transactions in this stretch of time. Write something, or look further back.')
  readonly #lanes = new Map<string, Lane>()
  #spanMs = 12_000
  /** The right edge, if it does not follow the clock. */
  #end: number | undefined

  constructor(host: TimelineHost) {
    this.#host = host
    this.node = make('div', { class: 'timeline' }, this.#axis, this.#list, this.#empty)
    this.node.addEventListener('wheel', event => this.#wheel(event), { passive: false })
  }

  get isLive(): boolean { return this.#end === undefined }
  get from(): number { return this.to - this.#spanMs }
  get to(): number { return this.#end ?? this.#host.now() + this.#spanMs * LEAD }

  /** Shows less or more time, around the right edge. */
  zoom(factor: number): void {
    this.#spanMs = Math.min(SPAN_MAX_MS, Math.max(SPAN_MIN_MS, this.#spanMs * factor))
    this.#host.moved()
  }

  /** Moves by a part of what is shown; the clock is not followed any more, until `live`. */
  move(share: number): void {
    this.#end = this.to + this.#spanMs * share
    this.#host.moved()
  }

  live(): void {
    this.#end = undefined
    this.#host.moved()
  }

  /** Draws transactions, the newest first, and a mark at a time. */
  draw(transactions: readonly Transaction[], selected: string | undefined, markAt: number | undefined): void {
    const { from, to } = this
    const place = (at: number) => ((at - from) / (to - from)) * 100
    this.#drawAxis(place, markAt)
    const shownIds = new Set<string>()
    const now = this.#host.now()
    for (const transaction of transactions) {
      const bars = barsOf(transaction, now)
      const begin = transaction.createdAt.getTime()
      const end = isOver(transaction) ? transaction.updatedAt.getTime() : now
      if (end < from || begin > to || shownIds.size >= LANES_MAX) continue
      shownIds.add(transaction.id)
      let lane = this.#lanes.get(transaction.id)
      if (lane === undefined) this.#lanes.set(transaction.id, lane = new Lane(() => this.#host.select(transaction.id)))
      lane.draw(transaction, bars, place, end, transaction.id === selected)
    }
    for (const [id, lane] of this.#lanes) {
      if (shownIds.has(id)) continue
      lane.node.remove()
      this.#lanes.delete(id)
    }
    const wanted = [...shownIds].map(id => (this.#lanes.get(id) as Lane).node)
    if (wanted.some((node, at) => this.#list.children[at] !== node)) this.#list.replaceChildren(...wanted)
    this.#empty.hidden = wanted.length > 0
  }

  #drawAxis(place: (at: number) => number, markAt: number | undefined): void {
    const { from, to } = this
    const ticksMax = Math.max(1, Math.floor(this.#track.clientWidth / TICK_PX))
    const step = STEPS_MS.find(ms => (to - from) / ms <= ticksMax) ?? (to - from) / ticksMax
    const ticks = []
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
      ticks.push(make('span', { class: 'tick', style: `left:${place(at)}%` }, step < 1_000 ? clock(at).slice(3) : clock(at).slice(0, 8)))
    }
    const lines = []
    const now = place(this.#host.now())
    if (now <= 100) lines.push(make('i', { class: 'now', style: `left:${now}%` }))
    if (markAt !== undefined && markAt >= from && markAt <= to) lines.push(make('i', { class: 'mark', style: `left:${place(markAt)}%` }))
    this.#track.replaceChildren(...ticks, ...lines)
  }

  #wheel(event: WheelEvent): void {
    if (!event.ctrlKey && !event.metaKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return
    event.preventDefault()
    if (event.ctrlKey || event.metaKey) this.zoom(event.deltaY > 0 ? 1.25 : 0.8)
    else this.move(event.deltaX / 500)
  }
}

/** One transaction's line; its element stays while it is shown, so that it keeps the focus. */
class Lane {
  readonly node: HTMLElement
  readonly #label = make('span', { class: 'label' })
  readonly #state = make('span', { class: 'state' })
  readonly #track = make('span', { class: 'track' })

  constructor(select: () => void) {
    const pressed = make('button', { type: 'button', class: 'lane' }, make('span', { class: 'head' }, this.#label, this.#state), this.#track)
    pressed.addEventListener('click', select)
    this.node = make('div', { role: 'listitem' }, pressed)
  }

  draw(transaction: Transaction, bars: Bar[], place: (at: number) => number, end: number, selected: boolean): void {
    const { state, currentAttempt } = transaction
    const lane = this.node.firstElementChild as HTMLElement
    lane.dataset['state'] = state
    lane.setAttribute('aria-pressed', String(selected))
    this.#label.textContent = title(transaction)
    this.#state.textContent = `${WORDS[state]}${currentAttempt > 1 ? ` ×${currentAttempt}` : ''}`
    const drawn = bars.map(({ kind, from, to, title }) => {
      const left = Math.max(0, place(from))
      const width = Math.min(100, place(to)) - left
      return width <= 0 && place(to) < 0 ? undefined : make('i', { class: `bar ${kind}`, style: `left:${left}%;width:${Math.max(0, width)}%`, title })
    })
    const last = place(end)
    if (isOver(transaction) && last >= 0 && last <= 100) drawn.push(make('i', { class: `end ${state}`, style: `left:${last}%`, title: `${WORDS[state]} ${clock(end)}` }))
    this.#track.replaceChildren(...drawn.filter(bar => bar !== undefined))
  }
}

/** What a transaction does, in a few words. */
export function title({ mutations }: Transaction): string {
  const [first] = mutations
  if (first === undefined) return 'nothing'
  return `${first.type} ${first.collection}/${first.key}${mutations.length > 1 ? ` +${mutations.length - 1}` : ''}`
}

function barsOf(transaction: Transaction, now: number): Bar[] {
  const { attempts, state, queuedBehind } = transaction
  const over = isOver(transaction)
  const end = over ? transaction.updatedAt.getTime() : now
  const bars: Bar[] = []
  const add = (kind: Bar['kind'], from: number, to: number, what: string) => bars.push({ kind, from, to, title: `${what}, ${duration(Math.max(0, to - from))}` })
  let at = transaction.createdAt.getTime()
  attempts.forEach(({ startedAt, completedAt, error }, index) => {
    const begun = startedAt.getTime()
    const done = completedAt?.getTime() ?? end
    if (begun > at) add(index === 0 ? 'waiting' : 'backoff', at, begun, index === 0 ? 'waited' : 'waited for the next attempt')
    add(error === undefined ? 'attempt' : 'refused', begun, done, `attempt ${index + 1}${error === undefined ? '' : `: ${error.message}`}`)
    at = done
  })
  if (state === 'persisted_awaiting_sync') add('awaiting', at, end, 'sent, waits for its rows to come back')
  else if (state === 'queued') add('queued', at, end, `queued behind ${queuedBehind ?? 'an earlier one'}`)
  else if (state === 'pending' && end > at) add(attempts.length === 0 ? 'waiting' : 'backoff', at, end, attempts.length === 0 ? 'waits' : 'waits for the next attempt')
  else if (over && attempts.length === 0) add('waiting', at, end, 'waited')
  else if (state === 'completed' && end > at) add('awaiting', at, end, 'waited for its rows to come back')
  return bars
}

function isOver({ state }: Transaction): boolean {
  return state === 'completed' || state === 'failed'
}

/** The states in words for people. */
export const WORDS: Record<Transaction['state'], string> = {
  pending: 'pending', queued: 'queued', persisting: 'sending', persisted_awaiting_sync: 'syncing', completed: 'completed', failed: 'failed',
}
/** How many lanes are drawn at once. */
const LANES_MAX = 100
/** The part of the window that is kept free right of the present. */
const LEAD = 0.04
const SPAN_MIN_MS = 200
const SPAN_MAX_MS = 24 * 3_600_000
/** What a tick's text needs. */
const TICK_PX = 90
const STEPS_MS = [50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000, 4 * 3_600_000]
