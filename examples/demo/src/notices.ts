// What went wrong, in words, on the page. A notice stays until the reader closes it.
import { DriftlineError } from 'driftline'
import { find, make, size } from './dom.js'

/** Shows a message at the top of the page, once however often it is told; with something to do about it, it is news and no error. */
export function notify(message: string, action?: { label: string; run(): void }): void {
  const region = find('.notices', HTMLElement)
  for (const shown of region.querySelectorAll('.notice p')) if (shown.textContent === message) return
  const buttons = make('div', { className: 'acts' })
  const notice = make('div', { className: action === undefined ? 'notice' : 'notice news', 'data-testid': 'notice' }, make('p', {}, message), buttons)
  if (action !== undefined) buttons.append(make('button', { type: 'button', className: 'link', onclick: () => action.run() }, action.label))
  buttons.append(make('button', { type: 'button', className: 'link', onclick: () => notice.remove() }, 'Close'))
  region.append(notice)
}

/** Says an error in words that a reader can act on: what happened, what was kept, what to do. */
export function explain(error: unknown): string {
  if (!(error instanceof DriftlineError)) return error instanceof Error ? error.message : String(error)
  const { limitBytes, sizeBytes, usage, quota } = error
  switch (error.code) {
    case 'too_large':
      if (sizeBytes !== undefined && limitBytes !== undefined) return `It is too large: ${size(sizeBytes)}, where ${size(limitBytes)} is the most.`
      return `It is too large. ${error.message}`
    case 'quota_exceeded':
      if (usage !== undefined && quota !== undefined) return `This device has no room left: ${size(usage)} of ${size(quota)} are used. Remove some files and try again.`
      return 'This device has no room left. Remove some files and try again.'
    case 'queue_full': return 'Too much waits to be sent. Go online, or discard something, and try again.'
    case 'storage_unavailable': return `This browser gives the page no storage, so nothing would survive a reload. ${error.message}`
    default: return error.message
  }
}
