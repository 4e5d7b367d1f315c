// A server on loopback for the benchmark's pages, and for what they send. The pages are isolated, so that their clock counts in 5 µs and
// not in 100.
import { createServer } from 'node:http'
import { readFile } from 'node:fs/promises'
import { extname, join, normalize, sep } from 'node:path'
import { Endpoint } from './endpoint.mjs'

/** Serves `folder` on a free port; gives its address and what closes it. */
export async function serve(folder) {
  const endpoint = new Endpoint()
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, 'http://localhost').pathname
    if (path.startsWith(API)) return answer(endpoint, request, path.slice(API.length), response)
    const file = normalize(join(folder, path.endsWith('/') ? `${path}index.html` : path))
    const body = file.startsWith(folder + sep) ? await readFile(file).catch(() => undefined) : undefined
    response.writeHead(body === undefined ? 404 : 200, {
      'Content-Type': body === undefined ? 'text/plain' : TYPES[extname(file)] ?? 'application/octet-stream',
      'Cache-Control': 'no-store',
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
      'Cross-Origin-Resource-Policy': 'same-origin',
    })
    response.end(body)
  })
  await new Promise((resolve, reject) => server.listen(0, 'localhost', resolve).once('error', reject))
  const { port } = server.address()
  return {
    url: `http://localhost:${port}/`,
    close: () => new Promise(resolve => {
      server.close(resolve)
      server.closeAllConnections()
    }),
  }
}

async function answer(endpoint, request, path, response) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString()
  const { status, body } = endpoint.answer(request.method, path, text === '' ? undefined : JSON.parse(text)) ?? { status: 404, body: { error: `there is no ${path}` } }
  const out = JSON.stringify(body)
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(out), 'Cache-Control': 'no-store' })
  response.end(out)
}

const API = '/api/'
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.wasm': 'application/wasm' }
