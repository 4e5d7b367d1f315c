// The wasm file, inlined in this bundle and instantiated at the first file request: nothing is fetched,
// nothing is awaited, and a start for another request's sake does not pay for it.
import { initSync, judgeRemote, planFile, planRefusal, readFileUrl } from '#wasm/sw/sw.js'
import type { RefusalKind, ResponsePlan, Segment } from '#wasm/sw/sw.js'
import wasm from '#wasm/sw/sw_bg.wasm'

export type { FileAddress, RefusalKind, RemoteVerdict, ResponsePlan, Segment } from '#wasm/sw/sw.js'

let ready = false

/** The exports of the wasm file. */
export function planner() {
  if (!ready) {
    initSync({ module: new WebAssembly.Module(wasm) })
    ready = true
  }
  return { judgeRemote, planFile, planRefusal, readFileUrl }
}

/** Makes the answer that a plan describes, with the segments of its body turned into what a Response takes. */
export function respond([status, headers, segments]: ResponsePlan, body: (segments: Segment[]) => BodyInit): Response {
  return new Response(segments === null ? null : body(segments), { status, headers })
}

/** An error's answer: JSON, `{ code, message }`. */
export function refuse(method: string, kind: RefusalKind, status = 0): Response {
  return respond(planner().planRefusal(method, kind, status), texts => texts.join(''))
}
