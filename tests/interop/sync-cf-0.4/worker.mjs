// The published sync-cf 0.4, as its documentation sets it up, for workerd. `TOKEN` is what a payload must carry, if set.
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

export class SyncBackendDO extends makeDurableObject({
  http: { responseHeaders: { 'Access-Control-Allow-Origin': '*' } },
  onPush: async message => {
    const refused = message.batch.find(event => event.name === 'test.refused')
    if (refused !== undefined) throw new Error(`onPush refuses ${refused.name}`)
  },
}) {}

const makeFetch = token => makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  enableCORS: true,
  validatePayload: payload => {
    if (token !== '' && payload?.authToken !== token) throw new Error('Invalid auth token')
  },
}).fetch

export default {
  fetch: (request, env, context) => makeFetch(env.TOKEN)(request, env, context),
}
