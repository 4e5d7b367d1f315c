// LiveStore's sync-s2 as a server: its published proxy helpers in front of s2-lite, put together as its documentation does.
import { ApiSchema, decodePullArgsFromSearchParams, makeS2StreamName } from '@livestore/sync-s2'
import * as helpers from '@livestore/sync-s2/s2-proxy-helpers'
import { Schema } from '@livestore/utils/effect'

/** The basin that a proxy keeps its stores in. */
export const BASIN = 'driftline-sync-s2'

/** Answers requests, as a function from a `Request` to a `Response`; `url` is s2-lite's, without `/v1`. */
export function proxy({ url }) {
  const config = { basin: BASIN, token: 'ignored', accountBase: `${url}/v1`, basinBase: `${url}/v1`, lite: true }
  const made = new Set()

  async function make(stream) {
    if (made.has(stream)) return
    await helpers.ensureBasin(config)
    await helpers.ensureStream(config, stream)
    made.add(stream)
  }

  async function pull(request) {
    const args = decodePullArgsFromSearchParams(new URL(request.url).searchParams)
    await make(makeS2StreamName(args.storeId))
    const asked = helpers.buildPullRequest({ config, args })
    const answer = await fetch(asked.url, { headers: asked.headers, signal: request.signal })
    if (!answer.ok) {
      // What was made is gone.
      made.clear()
      return args.live ? helpers.sseKeepAliveResponse() : helpers.emptyBatchResponse()
    }
    return new Response(answer.body, { status: 200, headers: { 'content-type': 'text/event-stream' } })
  }

  async function push(request) {
    const { storeId, batch } = Schema.decodeUnknownSync(ApiSchema.PushPayload)(await request.json())
    await make(makeS2StreamName(storeId))
    for (const { url, method, headers, body } of helpers.buildPushRequests({ config, storeId, batch })) {
      const answer = await fetch(url, { method, headers, body })
      if (!answer.ok) {
        made.clear()
        return helpers.errorResponse('Push failed', 500)
      }
    }
    return helpers.successResponse()
  }

  return async request => {
    if (request.method === 'HEAD') return new Response(null, { status: 200 })
    return request.method === 'GET' ? pull(request) : push(request)
  }
}
