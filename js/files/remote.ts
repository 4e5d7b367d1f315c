// Where uploaded bytes are.
import { AuthRequiredError, DriftlineError, NetworkError } from '../errors.ts'

type HeadersLike = HeadersInit | Record<string, string> | undefined

/** A place for blobs, by their SHA-256 in hex. */
export interface RemoteStorage {
  readonly kind: 'http'
  readonly baseUrl: string
  /** Asked for each request; what it answers is kept nowhere. */
  readonly headers?: (request: { method: string; url: string }) => HeadersLike | Promise<HeadersLike>
  readonly can: { resume: boolean; ranges: boolean; checksum: boolean; parts: boolean }
  upload(hash: string, data: Blob, o?: { signal?: AbortSignal }): Promise<void>
  download(hash: string, o?: { start?: number; end?: number; signal?: AbortSignal }): Promise<Response>
  delete(hash: string): Promise<void>
  checkHealth(): Promise<boolean>
}

export interface HttpRemoteOptions {
  /** Absolute, or a path of this origin: blobs are at `<baseUrl>/<sha256>`. */
  baseUrl: string
  /** Headers, or a function that is asked for them before each request; a token given here is never stored. */
  headers?: HeadersInit | NonNullable<RemoteStorage['headers']>
}

/** Blobs over HTTP: `PUT`, `GET`, `HEAD` and `DELETE` on `<baseUrl>/<sha256>`, in parts where the server says that it resumes. */
export function httpRemote({ baseUrl, headers }: HttpRemoteOptions): RemoteStorage {
  const base = new URL(baseUrl, globalThis.location?.href).href.replace(/\/+$/, '')
  const ask = typeof headers === 'function' ? headers : headers === undefined ? undefined : () => headers
  const send = async (method: string, hash: string, init: RequestInit = {}) => {
    const url = `${base}/${hash}`
    const all = new Headers(await ask?.({ method, url }))
    for (const [name, value] of new Headers(init.headers)) all.set(name, value)
    try {
      return await fetch(url, { ...init, method, headers: all })
    } catch (cause) {
      if (init.signal?.aborted) throw cause
      throw new NetworkError(undefined, { cause })
    }
  }
  return {
    kind: 'http',
    baseUrl: base,
    ...(ask === undefined ? {} : { headers: ask }),
    can: { resume: true, ranges: true, checksum: true, parts: true },
    async upload(hash, data, o = {}) {
      const response = await send('PUT', hash, { body: data, headers: { 'If-None-Match': '*', 'Content-Type': 'application/octet-stream' }, ...o })
      if (!response.ok && response.status !== 412) throw await refusal(response)
    },
    async download(hash, { start, end, signal } = {}) {
      const range = start === undefined && end === undefined ? undefined : { Range: `bytes=${start ?? 0}-${end === undefined ? '' : end - 1}` }
      const response = await send('GET', hash, { ...(range === undefined ? {} : { headers: range }), ...(signal === undefined ? {} : { signal }) })
      if (!response.ok) throw await refusal(response)
      return response
    },
    async delete(hash) {
      const response = await send('DELETE', hash)
      if (!response.ok && response.status !== 404) throw await refusal(response)
    },
    async checkHealth() {
      try {
        return (await send('HEAD', NOTHING)).status < 500
      } catch {
        return false
      }
    },
  }
}

async function refusal(response: Response): Promise<Error> {
  const { code, message, limitBytes, sizeBytes } = await response.json().catch(() => ({})) as { code?: string; message?: string; limitBytes?: number; sizeBytes?: number }
  const text = message || `The file server answered ${response.status}.`
  if (response.status === 401) return new AuthRequiredError(text)
  if (response.status === 413) return new DriftlineError('too_large', text, { ...(limitBytes === undefined ? {} : { limitBytes }), ...(sizeBytes === undefined ? {} : { sizeBytes }) })
  if (response.status === 404) return new DriftlineError('not_found', text)
  if (response.status === 422 && code === 'digest_mismatch') return new DriftlineError('digest_mismatch', text)
  return new DriftlineError('unexpected', text, { retryable: response.status >= 500 || response.status === 429 })
}

/** The SHA-256 of no bytes at all. */
const NOTHING = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
