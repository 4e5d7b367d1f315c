// The published sync-cf 0.3, as its documentation sets it up, for workerd. `TOKEN` is what a payload must carry, if set.
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

export class WebSocketServer extends makeDurableObject({}) {}

const makeFetch = token => makeWorker({
  enableCORS: true,
  validatePayload: payload => {
    if (token !== '' && payload?.authToken !== token) throw new Error('Invalid auth token')
  },
}).fetch

export default {
  fetch: (request, env, context) => makeFetch(env.TOKEN)(request, env, context),
}
