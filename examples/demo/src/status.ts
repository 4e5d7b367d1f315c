// The line at the top: whether the server is reached, what waits to be sent and since when. It says what the sync session
// knows from the server itself; navigator.onLine is not asked, as it only knows whether there is a cable.
import type { Driftline, FileStore, Remote } from 'driftline'
import { ago, clock, find, onceAFrame, plural, say } from './dom.js'

type RemoteState = Remote['status']['value']['state']

/** What the line is made from. */
export interface StatusFacts {
  state: RemoteState
  /** Since when the state is what it is, as far as this page has seen. */
  since: Date
  /** Changes that the server has not confirmed. */
  pending: number
  oldest: Date | undefined
  failed: number
  files: FileCounts
  now: Date
}

/** Files by what is going on with them. */
export interface FileCounts {
  /** Being written to this device. */
  saving: number
  /** Bytes that wait to go up, that move now, and that the server refused. */
  uploadsWaiting: number
  moving: number
  refused: number
}

/** Says the facts in words: a headline for everyone, a detail for those who read on, a tone for the colour. */
export function describeStatus(facts: StatusFacts): { headline: string; detail: string; tone: 'good' | 'busy' | 'warn' | 'bad' } {
  const { state, files, failed, pending } = facts
  const offline = state === 'offline' || state === 'auth'
  const details = [
    state === 'offline' ? 'The server can’t be reached.' : '',
    pending > 0 ? waiting(facts, offline) : '',
    files.saving > 0 ? `Saving ${plural(files.saving, 'file')} on this device.` : '',
    files.uploadsWaiting > 0 ? `${plural(files.uploadsWaiting, 'file')} ${files.uploadsWaiting === 1 ? 'waits' : 'wait'} to be uploaded.` : '',
    files.moving > 0 && !offline ? `${plural(files.moving, 'file')} on the way.` : '',
    failed > 0 ? `${plural(failed, 'change')} not accepted, see below.` : '',
    files.refused > 0 ? `${plural(files.refused, 'file')} not uploaded, see the album.` : '',
  ]
  const unsent = pending + files.saving + files.uploadsWaiting + files.moving
  if (unsent + failed + files.refused === 0) {
    if (offline) details.push('Nothing waits to be sent.')
    else if (state === 'live' || state === 'polling') details.push('The server has everything.')
  }
  const tone = failed + files.refused > 0 ? 'bad' : offline || state === 'reset' ? 'warn' : state === 'connecting' || unsent > 0 ? 'busy' : 'good'
  return { headline: headline(facts), detail: details.filter(text => text !== '').join(' '), tone }
}

/** Shows the line and keeps it true; files may come later, or never where the browser has no place for them. */
export function showStatus(db: Driftline, remote: Remote): { addFiles(files: FileStore, saving: SavingCount): void } {
  const box = find('.status', HTMLElement)
  const head = find('.headline', HTMLElement, box)
  const detail = find('.detail', HTMLElement, box)
  let count = (): FileCounts => ({ saving: 0, uploadsWaiting: 0, moving: 0, refused: 0 })
  let state = remote.status.value.state
  let since = new Date()
  const render = () => {
    const { pending, failed, oldestWaiting } = db.status.value
    const words = describeStatus({ state, since, pending, failed, oldest: oldestWaiting?.since, files: count(), now: new Date() })
    box.dataset['state'] = state
    box.dataset['tone'] = words.tone
    box.dataset['pending'] = String(pending)
    box.dataset['failed'] = String(failed)
    say(head, words.headline)
    say(detail, words.detail)
  }
  remote.status.subscribe(value => {
    if (value.state !== state) { state = value.state; since = new Date() }
    render()
  })
  db.status.subscribe(render)
  setInterval(render, REFRESH_MS)
  return {
    addFiles(files, saving) {
      count = () => countFiles(files, saving.value)
      files.subscribe(onceAFrame(render))
      saving.subscribe(render)
    },
  }
}

/** How many files are being saved, and word of each change. */
export interface SavingCount { readonly value: number; subscribe(listener: () => void): void }

function waiting({ pending, oldest, now }: StatusFacts, offline: boolean): string {
  // What was written a moment ago and is on its way is not worth a time.
  if (!offline && (oldest === undefined || now.getTime() - oldest.getTime() < SOON_MS)) return `Sending ${plural(pending, 'change')}…`
  const since = oldest === undefined ? '' : `since ${clock(oldest)} (${ago(oldest, now)})`
  return pending === 1 ? `${plural(pending, 'change')} waits to be sent ${since}.` : `${plural(pending, 'change')} wait to be sent, the oldest ${since}.`
}

function headline({ state, since }: StatusFacts): string {
  switch (state) {
    case 'connecting': return 'Connecting…'
    case 'live': return 'Online'
    case 'polling': return 'Online, asking the server now and then'
    case 'offline': return `Offline since ${clock(since)}`
    case 'auth': return 'Signed out: sign in again to send'
    case 'reset': return 'The server was set back; loading anew'
  }
}

function countFiles(files: FileStore, saving: number): FileCounts {
  const counts = { saving, uploadsWaiting: 0, moving: 0, refused: 0 }
  for (const { id } of files.listFiles()) {
    const { uploadStatus, downloadStatus } = files.state(id) ?? {}
    if (uploadStatus === 'inProgress' || downloadStatus === 'inProgress') counts.moving++
    else if (uploadStatus === 'pending' || uploadStatus === 'queued') counts.uploadsWaiting++
    else if (uploadStatus === 'error') counts.refused++
  }
  return counts
}

/** How often the relative time is said anew, ms. */
const REFRESH_MS = 10_000
/** How long a change is on its way before the line says since when, ms. */
const SOON_MS = 5_000
