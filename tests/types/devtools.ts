// What the compiler must know of driftline/devtools: checked, never run.
import type { Driftline } from 'driftline'
import { DriftlineDevtools } from 'driftline/devtools'

export function devtoolsTypes(db: Driftline): void {
  const panel: DriftlineDevtools = document.createElement('driftline-devtools')
  panel.db = db
  panel.db = undefined
  // @ts-expect-error it shows a database, not a name
  panel.db = 'app'
}
