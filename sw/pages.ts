// Asks the pages for what only they have: a token for the remote, and an executor that fetches whole blobs.
import type { HeadersAnswer, HeadersMessage, WantedMessage } from './messages.ts'

declare const self: ServiceWorkerGlobalScope

/** Tells the pages that a blob is wanted. They join it with a transfer that is running already. */
export async function tellWanted(database: string, id: string, hash: string): Promise<void> {
  const now = Date.now()
  const key = `${database}/${hash}`
  if (now - (toldAt.get(key) ?? 0) < TELL_AGAIN_AFTER_MS) return
  if (toldAt.size >= MAX_TOLD) toldAt.clear()
  toldAt.set(key, now)
  const message: WantedMessage = { type: 'driftline:wanted', database, id, hash }
  for (const page of await pages()) page.postMessage(message)
}

/** Asks the pages for the headers that the remote wants; none if no page answers in time. */
export async function askHeaders(database: string, hash: string, refresh: boolean): Promise<Record<string, string>> {
  const message: HeadersMessage = { type: 'driftline:headers', database, hash, refresh }
  const asked = await pages()
  if (asked.length === 0) return {}
  const ports: MessagePort[] = []
  const answer = await new Promise<HeadersAnswer | undefined>(resolve => {
    const timer = setTimeout(() => resolve(undefined), HEADERS_TIMEOUT_MS)
    for (const page of asked) {
      const { port1, port2 } = new MessageChannel()
      ports.push(port1)
      port1.onmessage = event => {
        clearTimeout(timer)
        resolve(event.data as HeadersAnswer)
      }
      page.postMessage(message, [port2])
    }
  })
  for (const port of ports) port.close()
  return answer?.headers ?? {}
}

async function pages(): Promise<readonly WindowClient[]> {
  return (await self.clients.matchAll({ type: 'window', includeUncontrolled: true })).slice(0, MAX_PAGES)
}

const toldAt = new Map<string, number>()
const TELL_AGAIN_AFTER_MS = 5_000
const MAX_TOLD = 1_000
const HEADERS_TIMEOUT_MS = 5_000
const MAX_PAGES = 16
