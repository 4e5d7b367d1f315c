// Serves from the remote what is not on this device: checked against the record, streamed through, never stored.
import type { KnownFile, RemoteFacts } from './lookup.ts'
import { askHeaders } from './pages.ts'
import type { RefusalKind, Segment } from './planner.ts'
import { planner } from './planner.ts'

/** An answer of the remote that can't be used. */
export class RemoteRefusal extends Error {
  /** @param status The remote's, for `remote_status`. */
  constructor(readonly kind: RefusalKind, readonly status = 0) {
    super(kind)
  }
}

/**
 * Opens a plan's body on the remote. The first answer is here and checked when it resolves; a fault after that breaks
 * the body off.
 * @throws RemoteRefusal if the remote can't be reached or its answer can't be used.
 */
export async function openRemote(file: KnownFile, segments: Segment[], client: AbortSignal): Promise<BodyInit> {
  const abort = follow(client)
  const firstAt = segments.findIndex(isRange)
  const first = await openRange(file, segments[firstAt] as Range, abort.signal)
  // The browser's own pipe, where it is sure to bring just these bytes.
  if (segments.length === 1 && first.exact) return first.response.body ?? ''
  const chunks = copy(file, segments, { at: firstAt, opened: first }, abort.signal)
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      cancel(reason) {
        abort.abort(reason)
      },
    },
    { highWaterMark: 0 },
  )
}

/**
 * Asks the remote whether it has a file, without its bytes.
 * @throws RemoteRefusal as above.
 */
export async function checkRemote(file: KnownFile, client: AbortSignal): Promise<void> {
  const response = await request(file, 'HEAD', undefined, follow(client).signal)
  judge(file, response, [0, file.size])
}

type Range = [start: number, end: number]

interface Opened {
  response: Response
  skip: number
  take: number
  /** Whether the answer holds just the bytes that were asked for, by a length that the network layer holds it to. */
  exact: boolean
}

async function openRange(file: KnownFile, range: Range, signal: AbortSignal): Promise<Opened> {
  const isWhole = range[0] === 0 && range[1] === file.size
  const response = await request(file, 'GET', isWhole ? undefined : range, signal)
  try {
    const [skip, take] = judge(file, response, range)
    const exact = lengthIsPlain(response) && response.headers.get('content-length') === String(take)
    return { response, skip, take, exact }
  } catch (error) {
    void response.body?.cancel()
    throw error
  }
}

function judge(file: KnownFile, response: Response, [start, end]: Range): [skip: number, take: number] {
  const verdict = planner().judgeRemote(
    response.status, response.headers, lengthIsPlain(response), file.hash, file.size, start, end,
  )
  if (typeof verdict === 'string') throw new RemoteRefusal(verdict, response.status)
  return verdict
}

/** A coding is seen only on this origin; a range is never coded, as browsers then ask for `identity`. */
function lengthIsPlain(response: Response): boolean {
  return response.status === 206 || (response.type === 'basic' && !response.headers.has('content-encoding'))
}

async function request(file: KnownFile, method: string, range: Range | undefined, signal: AbortSignal): Promise<Response> {
  const remote = file.remote
  if (!remote) throw new RemoteRefusal('not_uploaded')
  const url = blobUrl(remote, file.hash)
  const headers = new Headers(remote.auth ? await askHeaders(file.database, file.hash, false) : {})
  if (range) {
    headers.set('range', `bytes=${range[0]}-${range[1] - 1}`)
    // Another origin would have to allow it by a preflight; the bytes under a hash's URL can't change anyway.
    if (url.origin === self.location.origin) headers.set('if-range', `"${file.hash}"`)
  }
  let response = await send(url, { method, headers, signal })
  if (response.status === 401 && remote.auth) {
    void response.body?.cancel()
    for (const [name, value] of Object.entries(await askHeaders(file.database, file.hash, true))) headers.set(name, value)
    response = await send(url, { method, headers, signal })
  }
  return response
}

async function send(url: URL, init: RequestInit): Promise<Response> {
  try {
    // `no-store`: the executor keeps the blob itself, and a cache of parts would hold it twice.
    return await fetch(url, { ...init, mode: 'cors', cache: 'no-store' })
  } catch (error) {
    if (init.signal?.aborted) throw error
    throw new RemoteRefusal('offline')
  }
}

function blobUrl({ baseUrl }: RemoteFacts, hash: string): URL {
  return new URL(`${baseUrl.replace(/\/+$/, '')}/${hash}`, self.location.href)
}

/** Yields a body's bytes, opening the later ranges as they are come to. */
async function* copy(
  file: KnownFile, segments: Segment[], first: { at: number; opened: Opened }, signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  for (const [at, segment] of segments.entries()) {
    if (!isRange(segment)) yield new TextEncoder().encode(segment)
    else yield* bytes(at === first.at ? first.opened : await openRange(file, segment, signal))
  }
}

/** Yields just the bytes that were asked for. @throws RangeError if the remote sends fewer. */
async function* bytes({ response, skip, take }: Opened): AsyncGenerator<Uint8Array, void> {
  const reader = response.body?.getReader()
  while (take > 0) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
    if (done || !value) throw new RangeError(`The remote's answer ended ${take} bytes early.`)
    const chunk = value.subarray(Math.min(skip, value.length)).subarray(0, take)
    skip -= Math.min(skip, value.length)
    take -= chunk.length
    if (chunk.length > 0) yield chunk
  }
  void reader?.cancel()
}

function isRange(segment: Segment): segment is Range {
  return typeof segment !== 'string'
}

/** A controller that aborts with the client's request, and on its own when the client stops reading. */
function follow(client: AbortSignal): AbortController {
  const controller = new AbortController()
  if (client.aborted) controller.abort(client.reason)
  else client.addEventListener('abort', () => controller.abort(client.reason), { once: true })
  return controller
}
