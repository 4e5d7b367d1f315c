// <driftline-devtools>: a panel that draws an open database's transactions as lanes on a time line, with their attempts, and steps
// its collections back and forth through what happened to them. It only looks, save for the retry and discard of a transaction.
// Importing it defines the element where there are elements, and does nothing elsewhere.
import type { Driftline, Transaction } from './index.ts'
import { button, clock, duration, make, shown } from './devtools/dom.ts'
import { RowsPanel } from './devtools/rows.ts'
import { Steps } from './devtools/steps.ts'
import { STYLE } from './devtools/style.ts'
import { Timeline, WORDS, title } from './devtools/timeline.ts'

/** Without a DOM the class can be named, and not be used. */
const Base = (globalThis.HTMLElement ?? class {}) as typeof HTMLElement

/** The element; it shows nothing until its `db` is set. */
export class DriftlineDevtools extends Base {
  #db: Driftline | undefined
  #steps: Steps | undefined
  #parts: Parts | undefined
  #leave: (() => void)[] = []
  #selected: string | undefined
  #due = false
  #timer: ReturnType<typeof setInterval> | undefined
  /** Ended transactions that were drawn before: they stay as they are. */
  #ended = new Map<string, Transaction>()

  /** The database that is shown. Rows are recorded from when it is set, while the element is in a document. */
  get db(): Driftline | undefined { return this.#db }
  set db(db: Driftline | undefined) {
    if (db === this.#db) return
    this.#db = db
    this.#selected = undefined
    this.#ended.clear()
    if (this.isConnected) this.#start()
  }

  connectedCallback(): void { this.#start() }
  disconnectedCallback(): void { this.#stop() }

  #start(): void {
    this.#stop()
    const root = this.shadowRoot ?? this.attachShadow({ mode: 'open' })
    // Unlike a style element, it passes a strict Content-Security-Policy.
    const sheet = new CSSStyleSheet()
    sheet.replaceSync(STYLE)
    root.adoptedStyleSheets = [sheet]
    const db = this.#db
    if (db === undefined) {
      root.replaceChildren(make('p', { class: 'empty' }, 'No database: set the element’s db to what openDriftline() gave.'))
      return
    }
    const soon = () => this.#drawSoon()
    this.#steps = new Steps(db, soon)
    this.#parts = this.#build(db, this.#steps)
    root.replaceChildren(this.#parts.frame)
    this.#leave = [db.transactions.subscribe(soon), db.status.subscribe(soon), () => this.#steps?.stop()]
    this.#timer = setInterval(() => { if (this.#parts?.timeline.isLive === true && !document.hidden) soon() }, REDRAW_MS)
    this.#draw()
  }

  #stop(): void {
    for (const leave of this.#leave) leave()
    this.#leave = []
    clearInterval(this.#timer)
    this.#steps = this.#parts = undefined
  }

  #build(db: Driftline, steps: Steps): Parts {
    const soon = () => this.#drawSoon()
    const timeline = new Timeline({ now: () => db.now, moved: soon, select: id => { this.#selected = id === this.#selected ? undefined : id; soon() } })
    const rows = new RowsPanel(steps, soon)
    const status = make('span', { class: 'status', role: 'status' })
    const details = make('aside', { 'aria-label': 'Transaction' })
    const live = button('Live', 'Follow the clock', () => timeline.live())
    const tools = make('span', { class: 'tools' },
      button('⟨', 'Earlier', () => timeline.move(-0.5)), button('⟩', 'Later', () => timeline.move(0.5)),
      button('−', 'Show more time', () => timeline.zoom(2)), button('+', 'Show less time', () => timeline.zoom(0.5)), live)
    const frame = make('div', { class: 'frame' },
      make('header', {}, make('strong', {}, db.name), status, tools),
      make('section', { class: 'transactions', 'aria-label': 'Time line' }, timeline.node, details),
      rows.node)
    return { frame, status, details, live, timeline, rows }
  }

  #drawSoon(): void {
    if (this.#due) return
    this.#due = true
    // A hidden page draws nothing, and need not.
    requestAnimationFrame(() => { this.#due = false; this.#draw() })
  }

  #draw(): void {
    const db = this.#db
    const parts = this.#parts
    if (db === undefined || parts === undefined) return
    const transactions = this.#newest(db)
    parts.rows.draw()
    parts.timeline.draw(transactions, this.#selected, parts.rows.markAt)
    parts.live.setAttribute('aria-pressed', String(parts.timeline.isLive))
    this.#drawStatus(db, parts.status)
    this.#drawDetails(db, parts.details)
  }

  /** The newest first, as many as may be drawn. */
  #newest(db: Driftline): Transaction[] {
    const kept = new Map<string, Transaction>()
    const newest = db.transactions.list().slice(-TRANSACTIONS_MAX).reverse().map(transaction => {
      if (!transaction.isHistory) return transaction
      const known = this.#ended.get(transaction.id) ?? transaction
      kept.set(known.id, known)
      return known
    })
    this.#ended = kept
    return newest
  }

  #drawStatus(db: Driftline, node: HTMLElement): void {
    const { online, pending, failed, oldestWaiting, paused } = db.status.value
    const leads = Object.values(db.status.value.leader).some(leads => leads)
    const facts = [
      [online ? 'online' : 'offline', online ? 'good' : 'bad'],
      [leads ? 'this tab sends' : 'another tab sends', ''],
      [`${pending} waiting`, pending > 0 ? 'busy' : ''],
      [`${failed} failed`, failed > 0 ? 'bad' : ''],
      ...(paused === undefined ? [] : [[`held: ${paused.reason}`, 'bad']]),
      ...(oldestWaiting === undefined ? [] : [[`oldest for ${duration(db.now - oldestWaiting.since.getTime())}: ${oldestWaiting.why}`, 'why']]),
    ] as [string, string][]
    node.replaceChildren(...facts.map(([text, kind]) => make('span', { class: `fact ${kind}` }, text)))
  }

  #drawDetails(db: Driftline, node: HTMLElement): void {
    const transaction = this.#selected === undefined ? undefined : db.transactions.get(this.#selected)
    node.hidden = transaction === undefined
    if (transaction === undefined) return
    const { id, state, createdAt, updatedAt, attempts, mutations, error, queuedBehind, metadata } = transaction
    // Drawn again only when it changed, so that a text in it can be selected.
    const mark = `${id} ${state} ${updatedAt.getTime()} ${attempts.length}`
    if (node.dataset['mark'] === mark) return
    node.dataset['mark'] = mark
    const entry = (name: string, value: string | undefined, kind = '') => (value === undefined ? [] : [make('dt', {}, name), make('dd', { class: kind }, value)])
    node.replaceChildren(
      make('p', { class: 'tools' },
        state === 'failed' ? button('Retry', 'Make a new transaction of it', () => this.#does(() => { db.transactions.retry(id) })) : undefined,
        state === 'failed' || state === 'pending' || state === 'queued' ? button('Discard', 'Drop it, with what waits on it', () => this.#does(() => db.transactions.discard(id))) : undefined,
        button('×', 'Close', () => { this.#selected = undefined; this.#drawSoon() })),
      make('h3', {}, title(transaction)),
      make('dl', {},
        ...entry('state', WORDS[state], state),
        ...entry('error', error?.message, 'failed'),
        ...entry('made', clock(createdAt.getTime())),
        ...entry('queued behind', queuedBehind),
        ...attempts.flatMap(({ startedAt, completedAt, error: refused }, at) => entry(
          `attempt ${at + 1}`,
          `${clock(startedAt.getTime())}${completedAt === undefined ? '' : `, ${duration(completedAt.getTime() - startedAt.getTime())}`}${refused === undefined ? '' : `: ${refused.message}`}`,
          refused === undefined ? '' : 'failed',
        )),
        ...mutations.flatMap(({ type, collection, key, changes }) => entry(`${type} ${collection}/${key}`, type === 'delete' ? '' : shown(changes))),
        ...entry('metadata', metadata === undefined ? undefined : shown(metadata)),
        ...entry('id', id)),
    )
  }

  /** What is refused is said where it was asked for. */
  #does(call: () => void | Promise<void>): void {
    const say = (error: unknown) => this.#parts?.details.append(make('p', { class: 'failed', role: 'alert' }, (error as Error).message))
    try {
      Promise.resolve(call()).catch(say)
    } catch (error) {
      say(error)
    }
  }
}

interface Parts { frame: HTMLElement; status: HTMLElement; details: HTMLElement; live: HTMLElement; timeline: Timeline; rows: RowsPanel }

/** How often the time line moves on, in milliseconds. */
const REDRAW_MS = 250
/** The newest so many are looked at. */
const TRANSACTIONS_MAX = 300

declare global {
  interface HTMLElementTagNameMap { 'driftline-devtools': DriftlineDevtools }
}

const elements = globalThis.customElements as CustomElementRegistry | undefined
if (elements !== undefined && elements.get('driftline-devtools') === undefined) elements.define('driftline-devtools', DriftlineDevtools)
