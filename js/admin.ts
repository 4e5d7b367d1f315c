// Administration of LiveStore's sync-cf 0.3: one question over a WebSocket of its own, with the secret that the caller gives.
import { DriftlineError, IsOfflineError, UnexpectedError } from './errors.ts'
import type { RemoteAdmin } from './remote.ts'

/** What may be asked of a store at an address by `http`; `query` gives what the address carries besides. */
export function liveStoreAdmin(address: string, storeId: string, query: (() => string | undefined | Promise<string | undefined>) | undefined): RemoteAdmin {
  const ask = async (tag: string, adminSecret: string): Promise<{ info?: { durableObjectId: string } }> => {
    if (typeof adminSecret !== 'string' || adminSecret === '') throw new UnexpectedError('Administration needs the server’s secret, with each call. Nothing was asked.')
    const more = await query?.()
    const url = `${address.replace(/^http/, 'ws')}?storeId=${encodeURIComponent(storeId)}${more === undefined ? '' : `&${more}`}`
    const socket = new WebSocket(url)
    const requestId = crypto.randomUUID()
    let timer: ReturnType<typeof setTimeout> | undefined
    try {
      return await new Promise((resolve, reject) => {
        const gone = () => reject(new IsOfflineError('The server can’t be reached, refuses the payload, or did not answer in time. Whether it has done what was asked is not known.'))
        timer = setTimeout(gone, TIMEOUT_MS)
        socket.onopen = () => socket.send(JSON.stringify({ _tag: `WSMessage.${tag}`, requestId, adminSecret }))
        socket.onclose = gone
        socket.onmessage = ({ data }) => {
          const answer = readAnswer(data)
          // What others push meanwhile is told here, too.
          if (answer?.requestId !== requestId) return
          if (answer._tag !== 'WSMessage.Error') return resolve(answer)
          const code = /secret/i.test(answer.message ?? '') ? 'auth_required' : 'unexpected'
          reject(new DriftlineError(code, `The server refused it: ${answer.message}. Nothing was done.`))
        }
      })
    } finally {
      clearTimeout(timer)
      socket.onclose = socket.onmessage = null
      socket.close()
    }
  }
  return {
    info: async secret => {
      const { info } = await ask('AdminInfoReq', secret)
      return { durableObjectId: info?.durableObjectId ?? '' }
    },
    reset: async secret => { await ask('AdminResetRoomReq', secret) },
  }
}

interface Answer { _tag: string; requestId?: string; message?: string; info?: { durableObjectId: string } }

function readAnswer(data: unknown): Answer | undefined {
  try {
    return typeof data === 'string' ? JSON.parse(data) as Answer : undefined
  } catch {
    return undefined
  }
}

const TIMEOUT_MS = 30_000
