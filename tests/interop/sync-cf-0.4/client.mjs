// LiveStore's published client of sync-cf 0.4, in Node: pushes and pulls events as an app's LiveStore does.
import { makeWsSync } from '@livestore/sync-cf/client'
import { Cause, Chunk, Effect, Exit, FetchHttpClient, KeyValueStore, Layer, Option, Scope, Stream } from '@livestore/utils/effect'

/** A client of one store; `WebSocket` is what it connects with, since Node 20 has none. */
export class PublishedClient {
  #scope
  #backend

  static async open({ url, storeId, WebSocket }) {
    globalThis.WebSocket ??= WebSocket
    const client = new PublishedClient()
    client.#scope = await Effect.runPromise(Scope.make())
    client.#backend = await client.#run(makeWsSync({ url })({ storeId, clientId: 'published', payload: undefined }))
    await client.#run(client.#backend.connect)
    return client
  }

  /** All events behind `after`, oldest first. */
  async pull(after = undefined) {
    const cursor = after === undefined ? Option.none() : Option.some({ eventSequenceNumber: after, metadata: Option.none() })
    const pages = await this.#run(this.#backend.pull(cursor, { live: false }).pipe(Stream.runCollect))
    return Chunk.toReadonlyArray(pages).flatMap(page => page.batch.map(item => item.eventEncoded))
  }

  /** Hears of each event behind `after` from now on. */
  listen(onEvent) {
    const live = this.#backend.pull(Option.none(), { live: true })
    const told = Stream.runForEach(live, page => Effect.sync(() => { for (const item of page.batch) onEvent(item.eventEncoded) }))
    this.#run(Effect.forkIn(told, this.#scope))
  }

  /** Pushes events; gives the tag of the error that it was refused with, or nothing. */
  async push(batch) {
    const exit = await this.#exit(this.#backend.push(batch))
    if (Exit.isSuccess(exit)) return undefined
    const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
    if (error === undefined) throw new Error(Cause.pretty(exit.cause))
    return error._tag
  }

  async close() {
    await Effect.runPromise(Scope.close(this.#scope, Exit.void))
  }

  #provide(effect) {
    return effect.pipe(Effect.provideService(Scope.Scope, this.#scope), Effect.provide(Layer.mergeAll(FetchHttpClient.layer, KeyValueStore.layerMemory)))
  }

  #run(effect) {
    return Effect.runPromise(this.#provide(effect))
  }

  #exit(effect) {
    return Effect.runPromiseExit(this.#provide(effect))
  }
}
