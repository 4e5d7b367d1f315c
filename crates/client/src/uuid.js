// The text of a UUID, from four numbers of 32 bits. Joining texts that are there takes a tenth of decoding one from memory.

const PAIRS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

const high = number => PAIRS[number >>> 24] + PAIRS[number >>> 16 & 255]
const low = number => PAIRS[number >>> 8 & 255] + PAIRS[number & 255]

export function uuidText(first, second, third, fourth) {
  return `${high(first)}${low(first)}-${high(second)}-${low(second)}-${high(third)}-${low(third)}${high(fourth)}${low(fourth)}`
}
