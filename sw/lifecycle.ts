// How a version of the service worker comes to work: it waits until a page accepts it, then claims all pages.
import type { LifecycleMessage } from './messages.ts'

declare const self: ServiceWorkerGlobalScope

let installed = false

/** Registers the listeners of the lifecycle, once however many handlers ask for it. Call it while the script starts. */
export function installLifecycle(): void {
  if (installed) return
  installed = true
  self.addEventListener('activate', event => event.waitUntil(self.clients.claim()))
  self.addEventListener('message', event => {
    const message = event.data as LifecycleMessage | undefined
    if (message?.type === 'driftline:accept') event.waitUntil(self.skipWaiting())
    // A page that was loaded around the service worker (shift-reload) asks to be controlled again.
    if (message?.type === 'driftline:claim') event.waitUntil(self.clients.claim())
  })
}
