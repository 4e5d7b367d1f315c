// The page's side: registers the service worker and waits until it controls the page.
import type { LifecycleMessage } from './messages.ts'

/** How the service worker is registered. */
export interface RegisterOptions {
  /** The script, on this origin. `/driftline-sw.js` by default. */
  url?: string | URL
  /** What it controls. By default the script's folder. */
  scope?: string
  /** The script's kind. `classic` by default; Driftline's own works as either. */
  type?: WorkerType
  /**
   * Called when a new version waits. `accept()` lets it take over; then every page that is registered reloads once, so
   * that no two tabs run different versions.
   */
  onUpdate?(update: { accept(): void }): void
}

/** A registered service worker. */
export interface FileServiceWorker {
  /** Whether it controls this page, so that file URLs work in it. */
  controlled: boolean
  /** Takes it away; resolves to whether there was one. Pages that it controls keep it until they are left. */
  unregister(): Promise<boolean>
}

/**
 * Registers the service worker; resolves when the page is controlled. Where it can't be (no service workers here, or
 * the page lies outside the scope) `controlled` is false, and `files.url(id)` gives object URLs.
 * @throws TypeError if the script can't be loaded or run.
 */
export async function registerFileServiceWorker(options: RegisterOptions = {}): Promise<FileServiceWorker> {
  const container = globalThis.navigator?.serviceWorker as ServiceWorkerContainer | undefined
  if (!container) return { controlled: false, unregister: () => Promise.resolve(false) }

  const { url = '/driftline-sw.js', scope, type, onUpdate } = options
  const registration = await container.register(url, { scope, type, updateViaCache: 'none' })
  reloadOnTakeover(container)
  if (onUpdate) watch(registration, onUpdate)
  const controlled = location.href.startsWith(registration.scope) && (await control(registration, container))
  return { controlled, unregister: () => registration.unregister() }
}

/** Waits for control. A page that was loaded around an active service worker (shift-reload) asks it to claim the page. */
async function control(registration: ServiceWorkerRegistration, container: ServiceWorkerContainer): Promise<boolean> {
  if (container.controller) return true
  return new Promise(resolve => {
    const settle = (controlled: boolean) => {
      clearTimeout(timer)
      container.removeEventListener('controllerchange', taken)
      resolve(controlled)
    }
    const taken = () => settle(true)
    const timer = setTimeout(() => settle(container.controller !== null), CONTROL_TIMEOUT_MS)
    container.addEventListener('controllerchange', taken)
    void active(registration).then(worker => {
      if (!worker) settle(false)
      else if (container.controller) settle(true)
      else send(worker, { type: 'driftline:claim' })
    })
  })
}

/** The active worker, once there is one; undefined if the first one fails to install. */
async function active(registration: ServiceWorkerRegistration): Promise<ServiceWorker | undefined> {
  const starting = registration.installing ?? registration.waiting
  if (registration.active) return registration.active
  if (!starting) return undefined
  await new Promise<void>(resolve => {
    const check = () => {
      if (starting.state !== 'activated' && starting.state !== 'redundant') return
      starting.removeEventListener('statechange', check)
      resolve()
    }
    starting.addEventListener('statechange', check)
    check()
  })
  return registration.active ?? undefined
}

/** Reports a version that waits now, and each that comes to wait. */
function watch(registration: ServiceWorkerRegistration, onUpdate: (update: { accept(): void }) => void): void {
  const report = (worker: ServiceWorker) => onUpdate({ accept: () => send(worker, { type: 'driftline:accept' }) })
  const follow = (worker: ServiceWorker) =>
    worker.addEventListener('statechange', () => {
      // Without a version before it, it is no update and goes on by itself.
      if (worker.state === 'installed' && registration.active) report(worker)
    })
  if (registration.waiting && registration.active) report(registration.waiting)
  if (registration.installing) follow(registration.installing)
  registration.addEventListener('updatefound', () => {
    if (registration.installing) follow(registration.installing)
  })
}

/** Reloads the page, once, when another version takes it over; not when it is first controlled. */
function reloadOnTakeover(container: ServiceWorkerContainer): void {
  if (reloads) return
  reloads = true
  let before = container.controller
  container.addEventListener('controllerchange', () => {
    const isTakeover = before !== null && container.controller !== null && container.controller !== before
    before = container.controller
    if (isTakeover) location.reload()
  })
}

function send(worker: ServiceWorker, message: LifecycleMessage): void {
  worker.postMessage(message)
}

let reloads = false
/** After this the page goes on without control; it comes with the next load. */
const CONTROL_TIMEOUT_MS = 10_000
