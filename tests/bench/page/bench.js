// The benchmark's page: contenders by measure, called from outside. Each gives the values of its measure's lines; a result that is wrong throws.
import { drain, drainBatches } from './drain.js'
import { manyDurable, manyOneByOne, durable } from './durable.js'
import { growth, insert, update } from './insert.js'
import { memory } from './memory.js'
import { pullHttp, pullLivestore, pullMizu } from './pull.js'
import { reload } from './reload.js'
import { save } from './save.js'
import { serve } from './serve.js'

// The module's own memory is part of what is measured.
globalThis.wasmMemories = []
for (const call of ['instantiate', 'instantiateStreaming']) {
  const original = WebAssembly[call]
  WebAssembly[call] = async (...given) => {
    const made = await original.apply(WebAssembly, given)
    globalThis.wasmMemories.push((made.instance ?? made).exports.memory)
    return made
  }
}

globalThis.bench = { insert, update, growth, durable, manyDurable, manyOneByOne, reload, drain, drainBatches, memory, save, serve, pullMizu, pullLivestore, pullHttp }
