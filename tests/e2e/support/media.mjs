// Files as people add them: a picture that a browser decodes, and a large file of no kind.
import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { deflateSync } from 'node:zlib'

/** Writes a PNG of a shore at dusk, grained so that it does not compress: a little over 1 MiB at 720 × 570. Gives its SHA-256. */
export async function writePicture(path, { width = 720, height = 570, tint = 0, grain = 0.4 } = {}) {
  const noise = randomBytes(width * height * 3)
  const raw = Buffer.alloc((width * 3 + 1) * height)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const colour = shore(x / width, y / height, tint)
      const at = y * (width * 3 + 1) + 1 + x * 3
      for (let channel = 0; channel < 3; channel++) {
        raw[at + channel] = Math.max(0, Math.min(255, colour[channel] + ((noise[(y * width + x) * 3 + channel] >> 1) - 64) * grain))
      }
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2, 0, 0, 0], 8)
  const bytes = Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header), chunk('IDAT', deflateSync(raw, { level: 1 })), chunk('IEND', Buffer.alloc(0)),
  ])
  await writeFile(path, bytes)
  return { sha256: createHash('sha256').update(bytes).digest('hex'), size: bytes.length }
}

/** Writes random bytes, MiB by MiB. Gives their SHA-256. */
export async function writeLarge(path, mebibytes) {
  const hash = createHash('sha256')
  const file = createWriteStream(path)
  for (let count = 0; count < mebibytes; count++) {
    const block = randomBytes(1024 * 1024)
    hash.update(block)
    if (!file.write(block)) await once(file, 'drain')
  }
  file.end()
  await once(file, 'close')
  return { sha256: hash.digest('hex'), size: mebibytes * 1024 * 1024 }
}

function shore(x, y, tint) {
  const horizon = 0.56
  const sun = Math.hypot(x - 0.66, (y - 0.44) * 0.9)
  if (y < horizon) {
    const glow = Math.max(0, 1 - sun * 2.1)
    const disc = sun < 0.07 ? 1 : 0
    return [70 + 120 * y + 110 * glow + 60 * disc + tint, 120 + 60 * y + 70 * glow + 60 * disc, 165 + 20 * y - 30 * glow - tint]
  }
  const depth = (y - horizon) / (1 - horizon)
  const wave = Math.sin((x * 9 + depth * 30) * (1.3 - depth)) * 16 + Math.sin(depth * 60 - x * 6) * 8
  const path = Math.max(0, 1 - Math.abs(x - 0.66) * (6 - depth * 3)) * 90 * (1 - depth)
  return [25 + 40 * (1 - depth) + wave + path + tint, 95 + 50 * (1 - depth) + wave + path * 0.8, 120 + 40 * (1 - depth) + wave - tint]
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const framed = Buffer.alloc(body.length + 8)
  framed.writeUInt32BE(data.length, 0)
  body.copy(framed, 4)
  framed.writeUInt32BE(crc(body), body.length + 4)
  return framed
}

/** CRC-32 as PNG has it (ISO 3309); zlib's own came only with Node 20.15. */
function crc(bytes) {
  let value = 0xffffffff
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 0xff] ^ (value >>> 8)
  return (value ^ 0xffffffff) >>> 0
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1
  return value
})
