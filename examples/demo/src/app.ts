// The demo's start: opens the database, connects it to the server that served this page, and shows its parts.
import { httpRemote, livestore, mizu, openDriftline, registerFileServiceWorker, s2 } from 'driftline'
import { AlbumSettings, savingCount, showAlbum } from './album.js'
import { offerDevtools } from './devtools.js'
import { showFailed } from './failed.js'
import { explain, notify } from './notices.js'
import { showStatus } from './status.js'
import { showTodos, type Todo } from './todos.js'

/** Which of these the build was made for: `cargo xtask demo --backend NAME`. */
declare const BACKEND: keyof typeof BACKENDS

async function start(): Promise<void> {
  // The page is usable before it is controlled; only offline reloads and /driftline-files/ wait for this.
  const onUpdate = ({ accept }: { accept(): void }) => notify('A new version of this page is ready.', { label: 'Load it', run: accept })
  registerFileServiceWorker({ url: '/sw.js', onUpdate }).catch(error => notify(`This browser runs no service worker here, so the page won’t load offline. ${explain(error)}`))

  const db = await openDriftline({ name: BACKEND === 'server' ? 'demo' : `demo-${BACKEND}` })
  db.addEventListener('error', event => {
    const { error, transaction } = (event as CustomEvent<{ error: unknown; transaction?: unknown }>).detail
    // A failed transaction is listed with its reason and its buttons; what belongs to none is told here.
    if (transaction === undefined) notify(explain(error))
  })

  const remote = db.connect(BACKENDS[BACKEND]())
  const todos = db.collection<Todo>({ sync: { id: 'todos', remote, entity: 'todo' } })
  const status = showStatus(db, remote)
  showTodos(todos, db.transactions)
  showFailed(db.transactions)
  offerDevtools(db)

  const settings = new AlbumSettings()
  const files = await db.files({ remote: httpRemote({ baseUrl: '/files' }), records: remote, autoDownload: () => settings.keepAll, retry: RETRY })
  // The sync session is the first to know that the server is back; transfers need not wait for their own next try.
  remote.status.subscribe(({ state }) => { if (state === 'live') files.resume() })
  status.addFiles(files, savingCount)
  showAlbum(files, settings)
  // For the curious, in the console: driftlineDemo.todos.insert({ … })
  Object.assign(globalThis, { driftlineDemo: { db, remote, todos, files } })
}

/** The demo's server is near and has few guests: it may be asked often, so that its return shows at once. */
const RETRY = { baseDelayMs: 250, maxDelayMs: 1_000 }

/** How the server that served this page is spoken to, or s2-lite, which stands at the port behind that server's. */
const BACKENDS = {
  server: () => mizu({ url: location.origin, scope: 'demo', retry: RETRY }),
  mizu: () => mizu({ url: location.origin, scope: 'demo', poke: 'ws', retry: RETRY }),
  livestore: () => livestore({ url: `${location.origin}/livestore`, storeId: 'demo', retry: RETRY }),
  s2: () => s2({ baseUrl: `${location.protocol}//${location.hostname}:${Number(location.port) + 1}`, basin: 'driftline-demo', stream: 'todos', create: true, retry: RETRY }),
}

start().catch(error => notify(`The demo could not start. ${explain(error)}`))
