// The benchmark's page: one function a measure, called from outside. A result that is wrong throws.
import { insert } from './insert.js'
import { durable } from './durable.js'
import { reload } from './reload.js'
import { save } from './save.js'
import { serve } from './serve.js'

globalThis.bench = { insert, durable, save, serve, reload }
