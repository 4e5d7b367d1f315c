// What the service worker asks of the pages: to fetch a blob, and for headers of the remote.
import type { HeadersMessage, WantedMessage } from '../../sw/messages.ts'
import type { RemoteStorage } from './remote.ts'

export interface Asked {
  database: string
  remote: RemoteStorage
  wanted(id: string): void
}

/** Answers until the returned function is called. */
export function answerServiceWorker({ database, remote, wanted }: Asked): () => void {
  const container = globalThis.navigator?.serviceWorker
  if (container === undefined) return () => {}
  const listen = (event: MessageEvent<WantedMessage | HeadersMessage | undefined>) => {
    const message = event.data
    if (message?.database !== database) return
    if (message.type === 'driftline:wanted') wanted(message.id)
    else if (message.type === 'driftline:headers') void tellHeaders(message, remote, event.ports[0])
  }
  container.addEventListener('message', listen)
  container.startMessages()
  return () => container.removeEventListener('message', listen)
}

async function tellHeaders({ hash }: HeadersMessage, { baseUrl, headers }: RemoteStorage, port: MessagePort | undefined): Promise<void> {
  if (headers === undefined) return
  try {
    const given = await headers({ method: 'GET', url: `${baseUrl}/${hash}` })
    port?.postMessage({ headers: Object.fromEntries(new Headers(given)) })
  } catch (error) {
    // The service worker asks the next page, and says 502 if none knows.
    console.warn('Driftline got no headers for the file server.', error)
  }
}
