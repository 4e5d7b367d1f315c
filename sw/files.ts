// Serves stored files at plain URLs: from this device, else from the remote.
import { installLifecycle } from './lifecycle.ts'
import { openLocal } from './local.ts'
import { lookUp } from './lookup.ts'
import { tellWanted } from './pages.ts'
import { planner, refuse, respond, type Segment } from './planner.ts'
import { RemoteRefusal, checkRemote, openRemote } from './remote.ts'

declare const self: ServiceWorkerGlobalScope

/** How a file handler is set. */
export interface FileHandlerOptions {
  /** Where file URLs begin: a path, relative to the scope. `driftline-files/` by default. */
  prefix?: string
  /** Whether answers carry `Cross-Origin-Embedder-Policy`. By default as the service worker itself is isolated. */
  isolated?: boolean
}

/** Serves the files below a prefix. */
export interface FileHandler {
  /** Registers the listeners for requests and for the lifecycle. Call it while the script starts. */
  install(): void
  /** Answers the event if it is a GET or HEAD below the prefix, and says whether it did. For an app's own listener. */
  handle(event: FetchEvent): boolean
}

/** Makes a file handler for a service worker: Driftline's own, or an app's. */
export function createFileHandler(options: FileHandlerOptions = {}): FileHandler {
  const prefix = new URL(options.prefix ?? 'driftline-files/', self.registration.scope)
  const isolated = options.isolated ?? self.crossOriginIsolated

  const handle = (event: FetchEvent): boolean => {
    const { request } = event
    if (request.method !== 'GET' && request.method !== 'HEAD') return false
    const url = new URL(request.url)
    if (url.origin !== prefix.origin || !url.pathname.startsWith(prefix.pathname)) return false
    event.respondWith(answer(event, url.pathname, prefix.pathname, isolated))
    return true
  }

  return {
    handle,
    install() {
      // A request has one answer: a handler that is installed after this one is not asked about what this one answers.
      self.addEventListener('fetch', event => { if (handle(event)) event.stopImmediatePropagation() })
      installLifecycle()
    },
  }
}

async function answer(event: FetchEvent, path: string, prefix: string, isolated: boolean): Promise<Response> {
  const { method, headers, signal } = event.request
  const address = planner().readFileUrl(path, prefix)
  if (!address) return refuse(method, 'not_found')
  const file = await lookUp(address).catch(() => 'unreadable' as const)
  if (file === 'unreadable') return refuse(method, 'storage_unavailable')
  if (!file) return refuse(method, 'not_found')

  const plan = planner().planFile(
    method, headers, file.hash, file.size, file.type, file.name, file.lastModified, 'hash' in address, isolated,
  )
  const [status, , segments] = plan
  if (status !== 200 && status !== 206) return respond(plan, texts => texts.join(''))

  const local = await openLocal(file.database, file.hash, file.size)
  if (local) return respond(plan, parts => slices(local, parts))

  if (file.remote && segments) event.waitUntil(tellWanted(file.database, file.id, file.hash))
  try {
    const body = segments ? await openRemote(file, segments, signal) : await checkRemote(file, signal)
    return respond(plan, () => body ?? '')
  } catch (error) {
    if (error instanceof RemoteRefusal) return refuse(method, error.kind, error.status)
    if (signal.aborted) return Response.error()
    throw error
  }
}

/** Slices of the file, never a stream: such a body survives the end of the service worker. */
function slices(file: File, segments: Segment[]): Blob {
  const parts = segments.map(segment => (typeof segment === 'string' ? segment : file.slice(...segment)))
  const [first] = parts
  return parts.length === 1 && first instanceof Blob ? first : new Blob(parts)
}
