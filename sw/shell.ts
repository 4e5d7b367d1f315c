// A small precache for an app's shell: the page loads without a network, and all of one version or none of it.
import { installLifecycle } from './lifecycle.ts'

declare const self: ServiceWorkerGlobalScope

/** How a shell handler is set. */
export interface ShellHandlerOptions {
  /** The shell's URLs, relative to the scope, or the URL of a JSON list of them. */
  precache: string[] | string
  /** Names what is in them. A new version is fetched whole beside the old one, which goes when the new one starts. */
  version: string
  /** What a navigation gets that the network can't answer: one of `precache`. The scope's root by default. */
  fallback?: string
}

/** Serves an app's shell from a precache. */
export interface ShellHandler {
  /** Registers the listeners for installing, for requests and for the lifecycle. Call it while the script starts. */
  install(): void
  /** Answers the event if it is for the shell, and says whether it did. For an app's own listener. */
  handle(event: FetchEvent): boolean
}

/**
 * Makes a shell handler. Precached URLs are served from the cache alone. A navigation to any other URL goes to the
 * network, and gets the fallback where there is none. Everything else is left alone.
 */
export function createShellHandler(options: ShellHandlerOptions): ShellHandler {
  const scope = self.registration.scope
  const family = `driftline-shell:${scope}:`
  const cacheName = `${family}${options.version}`
  const fallback = absolute(options.fallback ?? '', scope)
  let known = Array.isArray(options.precache) ? new Set(options.precache.map(url => absolute(url, scope))) : undefined

  const handle = (event: FetchEvent): boolean => {
    const { request } = event
    const url = absolute(request.url, scope)
    if (request.method !== 'GET' || !url.startsWith(`${new URL(scope).origin}/`)) return false
    if (request.mode === 'navigate') {
      event.respondWith(navigate(request, url))
      return true
    }
    // A list by URL is not there yet when the service worker has just been started again: then ask the cache itself.
    if (known ? !known.has(url) : request.headers.get('accept') === 'text/event-stream') return false
    event.respondWith(fromCache(url).then(cached => cached ?? fetch(request)))
    return true
  }

  async function navigate(request: Request, url: string): Promise<Response> {
    const cached = await fromCache(url)
    if (cached) return cached
    try {
      return await fetch(request)
    } catch (error) {
      const shell = await fromCache(fallback)
      if (shell) return shell
      throw error
    }
  }

  async function fromCache(url: string): Promise<Response | undefined> {
    const cache = await caches.open(cacheName)
    known ??= new Set((await cache.keys()).map(request => request.url))
    return cache.match(url, { ignoreVary: true })
  }

  async function precache(): Promise<void> {
    const urls = (await list(options.precache, scope)).map(url => absolute(url, scope))
    if (!urls.includes(fallback)) urls.push(fallback)
    // All are here before the first is put, so that a version that can't be had whole leaves nothing behind.
    const responses = await Promise.all(urls.map(async url => [url, await fetchWhole(url)] as const))
    await caches.delete(cacheName)
    const cache = await caches.open(cacheName)
    try {
      await Promise.all(responses.map(([url, response]) => cache.put(url, response)))
    } catch (error) {
      await caches.delete(cacheName)
      throw error
    }
    known = new Set(urls)
  }

  async function dropOthers(): Promise<void> {
    const names = await caches.keys()
    await Promise.all(names.filter(name => name.startsWith(family) && name !== cacheName).map(name => caches.delete(name)))
  }

  return {
    handle,
    install() {
      self.addEventListener('install', event => event.waitUntil(precache()))
      self.addEventListener('activate', event => event.waitUntil(dropOthers()))
      // A request has one answer: a handler that is installed after this one is not asked about what this one answers.
      self.addEventListener('fetch', event => { if (handle(event)) event.stopImmediatePropagation() })
      installLifecycle()
    },
  }
}

async function list(precache: string[] | string, scope: string): Promise<string[]> {
  if (Array.isArray(precache)) return precache
  const urls: unknown = await (await fetchWhole(absolute(precache, scope))).json()
  if (Array.isArray(urls) && urls.every(url => typeof url === 'string')) return urls
  throw new TypeError(`${precache} must be a JSON list of URLs. The version before it stays; correct the list and deploy again.`)
}

/** Fetches past the HTTP cache, which may hold another version's file. */
async function fetchWhole(url: string): Promise<Response> {
  const response = await fetch(url, { cache: 'reload' })
  if (response.status !== 200) {
    throw new TypeError(`${url} answered ${response.status}, so this version of the app was not installed. The version before it stays.`)
  }
  if (!response.redirected) return response
  // A navigation may not be answered with a response that was redirected.
  return new Response(response.body, { headers: response.headers })
}

function absolute(url: string, scope: string): string {
  const parsed = new URL(url, scope)
  parsed.hash = ''
  return parsed.href
}
