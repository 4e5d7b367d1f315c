// A static server on loopback for the benchmark's pages: isolated, so that the page's clock counts in 5 µs and not in 100.
import { createServer } from 'node:http'
import { readFile } from 'node:fs/promises'
import { extname, join, normalize, sep } from 'node:path'

/** Serves `folder` on a free port; gives its address and what closes it. */
export async function serve(folder) {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, 'http://localhost').pathname
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

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.wasm': 'application/wasm' }
