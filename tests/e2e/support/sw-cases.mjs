// Runs the cases of `tests/vectors/range` through a service worker, and judges what was answered to them.
import assert from 'node:assert/strict'

/** Runs every case against a database that `seedFiles` made; `page` is anything with Playwright's `evaluate`. */
export async function runVectors(page, database, { blobs, cases }) {
  const requests = cases.map(one => requestOf(one, blobs, database))
  const answers = await page.evaluate(requests => window.page.askAll(requests), requests)
  const failures = cases.flatMap((one, index) => {
    try {
      judge(one, answers[index], blobs)
      return []
    } catch (error) {
      return [`${one.name}: ${error.message}`]
    }
  })
  assert.ok(cases.length > 150)
  assert.deepEqual(failures, [])
}

/** Makes a database with a record for each blob, and, if `stored`, the blobs themselves. */
export async function seedFiles(page, database, { blobs, meta = {}, stored = true, uploaded = true, deletedAt }) {
  const files = Object.entries(blobs).map(([id, { name, type, size, hash, lastModified, bytes }]) => ({
    id,
    bytes: [...bytes],
    record: { name, type, size, contentHash: hash, remoteKey: uploaded ? hash : undefined, updatedAt: lastModified * 1000, deletedAt },
  }))
  await page.evaluate(argument => window.page.seed(argument), { database, files, meta, stored })
}

/** The request of a case, for a service worker's file URLs. */
export function requestOf({ blob, by, method, headers }, blobs, database) {
  const { hash, name } = blobs[blob]
  const path = by === 'hash' ? `sha256/${hash}` : `${encodeURIComponent(blob)}/${encodeURIComponent(name)}`
  const filled = Object.entries(headers).map(([field, value]) => [field, value.replaceAll('{hash}', hash)])
  return { url: `/driftline-files/${encodeURIComponent(database)}/${path}`, method, headers: Object.fromEntries(filled) }
}

/** Throws unless the answer is the case's. */
function judge(wanted, answer, blobs) {
  const { bytes, hash, type } = blobs[wanted.blob]
  const body = Buffer.from(answer.body ?? [])
  assert.equal(answer.status, wanted.status)
  for (const [name, value] of Object.entries(wanted.expect)) {
    assert.equal(answer.headers[name] ?? null, value?.replaceAll('{hash}', hash) ?? null, name)
  }
  if (wanted.body === 'none') return assert.equal(body.length, 0)
  if (wanted.body === 'whole') assert.deepEqual(body, bytes)
  else if (!Array.isArray(wanted.body)) assert.equal(JSON.parse(body.toString()).code, wanted.body.code)
  else if (wanted.body.length === 1) assert.deepEqual(body, bytes.subarray(...wanted.body[0]))
  else {
    const parts = wanted.body.map(([start, end]) => ({
      type, range: `bytes ${start}-${end - 1}/${bytes.length}`, bytes: bytes.subarray(start, end).toString('latin1'),
    }))
    assert.deepEqual(readMultipart(answer.headers['content-type'], body), parts)
  }
  return assert.equal(answer.headers['content-length'], String(body.length))
}

/** Reads `multipart/byteranges` by its boundary alone, as a recipient does. */
function readMultipart(contentType, body) {
  const [, boundary] = /^multipart\/byteranges; boundary=(.+)$/.exec(contentType) ?? assert.fail(`${contentType} is not multipart`)
  const [preamble, ...parts] = `\r\n${body.toString('latin1')}`.split(`\r\n--${boundary}`)
  assert.equal(preamble, '')
  assert.equal(parts.pop(), '--\r\n')
  return parts.map(part => {
    const [head, bytes] = split(part, '\r\n\r\n')
    const field = name => new RegExp(`^${name}: (.*)$`, 'm').exec(head)?.[1].trim()
    return { type: field('Content-Type'), range: field('Content-Range'), bytes }
  })
}

function split(text, separator) {
  const at = text.indexOf(separator)
  return [text.slice(0, at), text.slice(at + separator.length)]
}
