// The panel that shows what happens inside, for the curious.
import type { Driftline } from 'driftline'
import 'driftline/devtools'
import { find, make } from './dom.js'

/** Lets a button show and hide the panel. */
export function offerDevtools(db: Driftline): void {
  const button = find('#devtools-toggle', HTMLButtonElement)
  const panel = make('driftline-devtools', { className: 'devtools' })
  panel.db = db
  button.hidden = false
  button.addEventListener('click', () => {
    if (panel.isConnected) panel.remove()
    else document.body.append(panel)
    button.setAttribute('aria-expanded', String(panel.isConnected))
    button.textContent = panel.isConnected ? 'Hide the devtools' : 'Show the devtools'
  })
}
