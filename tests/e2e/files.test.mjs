// Transfers that are cut off: an upload goes on at the byte where the server is, a download at the byte where the disk is, wrong bytes are
// never kept, and a file that the server does not take is a typed error.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { Browser } from './support/browser.mjs'
import { opened, until, world } from './support/demo.mjs'
import { writeLarge } from './support/media.mjs'

const MIB = 1024 * 1024

test('an upload whose browser is killed goes on at the byte where the server is', { timeout: 300_000 }, async test => {
  const { folder, server } = await world(test)
  const large = { name: 'film.bin', ...await writeLarge(join(folder, 'film.bin'), 200) }
  const gate = await Gate.open(test, server.port)
  const first = await visit(test, gate, join(folder, 'first'))
  gate.cutUploadAt(90 * MIB)
  await first.page.getByTestId('photo-input').setInputFiles(join(folder, large.name))
  await gate.cut
  const stored = await first.page.evaluate(() => globalThis.driftlineDemo.files.listFiles()[0]?.contentHash)
  assert.equal(stored, large.sha256)
  await first.kill()
  gate.breakAll()
  await until(async () => await offsetOf(server, large.sha256) >= 80 * MIB, 'the server kept what it was sent')
  assert.ok(await offsetOf(server, large.sha256) < large.size)

  gate.letAll()
  await first.launch()
  await first.page.goto(gate.url)
  await opened(first.page)
  await until(() => isOnServer(server, large.sha256), 'the file is on the server')
  assert.ok(gate.offsets[0] >= 80 * MIB && gate.offsets[0] < large.size, `the server said that it had ${gate.offsets[0]} bytes`)
  assert.equal(gate.parts[0], gate.offsets[0], 'the first part after the crash begins where the server was')
  assert.ok(gate.uploaded < large.size + 8 * MIB, `${gate.uploaded} bytes were sent in all`)
  await until(() => first.page.evaluate(hash => globalThis.driftlineDemo.files.listFiles()[0]?.remoteKey === hash, large.sha256), 'the record says so')
})

test('a download whose browser is killed goes on at the byte where the disk is, and is verified', { timeout: 300_000 }, async test => {
  const { folder, server } = await world(test)
  const large = { name: 'film.bin', ...await writeLarge(join(folder, 'film.bin'), 64) }
  const gate = await Gate.open(test, server.port)
  const first = await visit(test, gate, join(folder, 'first'))
  await first.page.getByTestId('photo-input').setInputFiles(join(folder, large.name))
  await until(() => isOnServer(server, large.sha256), 'the file is on the server')

  gate.cutDownloadAt(40 * MIB)
  const second = await visit(test, gate, join(folder, 'second'))
  await gate.cut
  await until(async () => (await stateOf(second.page)).loaded >= 36 * MIB, 'what came has been written')
  await second.kill()

  gate.letAll()
  await second.launch()
  await second.page.goto(gate.url)
  await opened(second.page)
  await until(async () => (await stateOf(second.page))?.local === true, 'the file is on this device')
  const start = Number(/^bytes=(\d+)-$/.exec(gate.ranges[0] ?? '')?.[1])
  assert.ok(start >= 32 * MIB && start <= 41 * MIB, `it went on at ${gate.ranges[0]}`)
  assert.equal(await digestOf(second.page), large.sha256)
})

test('bytes that are not the file are thrown away and told', { timeout: 120_000 }, async test => {
  const { folder, server } = await world(test)
  const small = { name: 'note.bin', ...await writeLarge(join(folder, 'note.bin'), 1) }
  const gate = await Gate.open(test, server.port)
  const first = await visit(test, gate, join(folder, 'first'))
  await first.page.getByTestId('photo-input').setInputFiles(join(folder, small.name))
  await until(() => isOnServer(server, small.sha256), 'the file is on the server')

  gate.serveInstead(small.sha256, Buffer.alloc(MIB, 'wrong'))
  const second = await visit(test, gate, join(folder, 'second'))
  await until(async () => (await stateOf(second.page))?.downloadStatus === 'error', 'it is given up')
  const { name, code, retryable, local } = await stateOf(second.page)
  assert.deepEqual({ name, code, retryable, local }, { name: 'DriftlineError', code: 'digest_mismatch', retryable: false, local: false })
  const read = await second.page.evaluate(() => {
    const { files } = globalThis.driftlineDemo
    return files.readFile(files.listFiles()[0].id).then(() => 'read', error => error.code)
  })
  assert.equal(read, 'not_found')

  gate.serveInstead(small.sha256, undefined)
  await second.page.evaluate(() => {
    const { files } = globalThis.driftlineDemo
    files.enqueueDownload(files.listFiles()[0].id)
  })
  await until(async () => (await stateOf(second.page))?.local === true, 'asked for again, it comes')
  assert.equal(await digestOf(second.page), small.sha256)
})

test('a file that the server does not take is a typed error, and stays on the device', { timeout: 120_000 }, async test => {
  const { folder, server } = await world(test, ['--max-file-bytes', String(MIB)])
  const large = { name: 'large.bin', ...await writeLarge(join(folder, 'large.bin'), 2) }
  const gate = await Gate.open(test, server.port)
  const first = await visit(test, gate, join(folder, 'first'))
  await first.page.getByTestId('photo-input').setInputFiles(join(folder, large.name))
  await until(async () => (await stateOf(first.page))?.uploadStatus === 'error', 'it is given up')
  const { code, limitBytes, sizeBytes, retryable, local } = await stateOf(first.page)
  assert.deepEqual({ code, limitBytes, sizeBytes, retryable, local }, { code: 'too_large', limitBytes: MIB, sizeBytes: 2 * MIB, retryable: false, local: true })
  assert.equal(await digestOf(first.page), large.sha256)
  assert.deepEqual(gate.parts, [], 'it was not sent to hear that')
})

/** A proxy before the server that counts what goes to and from `/files`, and cuts it. */
class Gate {
  uploaded = 0
  /** Where the server said that an upload stands. */
  offsets = []
  /** Where the parts that were sent begin. */
  parts = []
  ranges = []
  #uploadLimit = Infinity
  #downloadLimit = Infinity
  #downloaded = 0
  #instead = new Map()
  #tellCut
  #proxy

  static async open(test, port) {
    const gate = new Gate()
    gate.letAll()
    const proxy = createServer((incoming, outgoing) => gate.#pass(incoming, outgoing, port))
    gate.#proxy = proxy
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    test.after(() => { proxy.closeAllConnections(); proxy.close() })
    gate.url = `http://localhost:${proxy.address().port}`
    return gate
  }

  /** Lets so many bytes of uploads through, and then nothing. */
  cutUploadAt(bytes) { this.#uploadLimit = bytes }
  /** The same for downloads. */
  cutDownloadAt(bytes) { this.#downloadLimit = bytes }
  /** Answers other bytes for a blob, or with `undefined` its own again. */
  serveInstead(hash, body) { this.#instead.set(hash, body) }

  /** Ends all connections. One that is paused does not see by itself that its other end is gone. */
  breakAll() { this.#proxy.closeAllConnections() }

  letAll() {
    this.#uploadLimit = this.#downloadLimit = Infinity
    this.offsets.length = this.parts.length = this.ranges.length = 0
    this.cut = new Promise(resolve => { this.#tellCut = resolve })
  }

  #pass(incoming, outgoing, port) {
    const ofFiles = incoming.url.startsWith('/files/')
    const instead = this.#instead.get(incoming.url.split('/').at(-1))
    if (instead !== undefined && incoming.method === 'GET') return outgoing.writeHead(200).end(instead)
    const { headers } = incoming
    if (ofFiles && headers.range !== undefined) this.ranges.push(headers.range)
    if (ofFiles && incoming.method === 'PUT') this.parts.push(Number(/^bytes (\d+)-/.exec(headers['content-range'] ?? '')?.[1] ?? 0))
    const onward = httpRequest({ port, host: '127.0.0.1', method: incoming.method, path: incoming.url, headers }, answer => {
      const offset = answer.headers['upload-offset']
      if (ofFiles && offset !== undefined) this.offsets.push(Number(offset))
      outgoing.writeHead(answer.statusCode, answer.headers)
      answer.on('data', chunk => {
        if (ofFiles && this.#downloaded >= this.#downloadLimit) {
          // The connection hangs, as one does whose network is gone.
          answer.pause()
          return this.#tellCut()
        }
        if (ofFiles) this.#downloaded += chunk.length
        if (!outgoing.write(chunk)) {
          answer.pause()
          outgoing.once('drain', () => answer.resume())
        }
      })
      answer.on('end', () => outgoing.end())
    })
    onward.on('error', () => outgoing.destroy())
    outgoing.on('close', () => onward.destroy())
    incoming.on('data', chunk => {
      if (ofFiles && this.uploaded >= this.#uploadLimit) {
        incoming.pause()
        return this.#tellCut()
      }
      if (ofFiles) this.uploaded += chunk.length
      if (!onward.write(chunk)) {
        incoming.pause()
        onward.once('drain', () => incoming.resume())
      }
    })
    incoming.on('end', () => onward.end())
  }
}

/** A browser whose every request goes through the gate. */
async function visit(test, gate, folder) {
  const browser = await Browser.launch(folder)
  test.after(() => browser.close())
  await browser.page.goto(gate.url)
  await opened(browser.page)
  return browser
}

async function offsetOf(server, sha256) {
  const { headers } = await server.get(`/files/${sha256}`, { method: 'HEAD' })
  return Number(headers.get('upload-offset') ?? 0)
}

async function isOnServer(server, sha256) {
  return (await server.get(`/files/${sha256}`, { method: 'HEAD' })).status === 200
}

/** The state of the one file that there is, with its error's fields beside it. */
async function stateOf(page) {
  return page.evaluate(() => {
    const { files } = globalThis.driftlineDemo
    const record = files.listFiles()[0]
    const state = record === undefined ? undefined : files.state(record.id)
    if (state === undefined) return undefined
    const { lastError, local, uploadStatus, downloadStatus, loaded } = state
    const { name, code, retryable, limitBytes, sizeBytes } = lastError ?? {}
    return { local, uploadStatus, downloadStatus, loaded, name, code, retryable, limitBytes, sizeBytes }
  })
}

/** The SHA-256 of what is on disk. */
async function digestOf(page) {
  return page.evaluate(async () => {
    const { files } = globalThis.driftlineDemo
    const bytes = await (await files.readFile(files.listFiles()[0].id)).arrayBuffer()
    return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)), byte => byte.toString(16).padStart(2, '0')).join('')
  })
}
