// LiveStore's published client of sync-s2, in Node: pushes and pulls events as an app's LiveStore does.
import { makeSyncBackend } from '@livestore/sync-s2'
import { Chunk, Effect, Exit, FetchHttpClient, KeyValueStore, Layer, Option, Scope, Stream } from '@livestore/utils/effect'

/** A client of one store. */
export class PublishedClient {
  #scope
  #backend

  static async open({ url, storeId }) {
    const client = new PublishedClient()
    client.#scope = await Effect.runPromise(Scope.make())
    client.#backend = await client.#run(makeSyncBackend({ endpoint: url, ping: { enabled: false } })({ storeId, clientId: 'published', payload: undefined }))
    await client.#run(client.#backend.connect)
    return client
  }

  /** All events, oldest first. */
  async pull() {
    const pages = await this.#run(this.#backend.pull(Option.none(), { live: false }).pipe(Stream.runCollect))
    return Chunk.toReadonlyArray(pages).flatMap(page => page.batch.map(item => item.eventEncoded))
  }

  /** Hears of each event from the first on. */
  listen(onEvent) {
    const live = this.#backend.pull(Option.none(), { live: true })
    const told = Stream.runForEach(live, page => Effect.sync(() => { for (const item of page.batch) onEvent(item.eventEncoded) }))
    this.#run(Effect.forkIn(told, this.#scope))
  }

  /** Pushes events. */
  push(batch) {
    return this.#run(this.#backend.push(batch))
  }

  async close() {
    await Effect.runPromise(Scope.close(this.#scope, Exit.void))
  }

  #run(effect) {
    return Effect.runPromise(effect.pipe(Effect.provideService(Scope.Scope, this.#scope), Effect.provide(Layer.mergeAll(FetchHttpClient.layer, KeyValueStore.layerMemory))))
  }
}
