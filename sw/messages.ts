// What the service worker and the pages say to each other. Types only, so that both sides may import it.

/** To the pages: these bytes were asked for and are not on this device; their executor is to fetch the whole blob. */
export interface WantedMessage {
  type: 'driftline:wanted'
  database: string
  /** The file record's id. */
  id: string
  /** SHA-256 of the bytes, in hex. */
  hash: string
}

/** To the pages, with a port: which headers does the remote want? The first page that knows answers on the port. */
export interface HeadersMessage {
  type: 'driftline:headers'
  database: string
  /** SHA-256 of the bytes that are to be fetched, in hex. */
  hash: string
  /** Whether the last headers were refused (401), so that a token must be got anew. */
  refresh: boolean
}

/** The answer to it. */
export interface HeadersAnswer {
  headers: Record<string, string>
}

/** To the service worker: take over from the version before you, or control this page. */
export type LifecycleMessage = { type: 'driftline:accept' } | { type: 'driftline:claim' }
