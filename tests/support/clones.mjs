// A row with one of everything that structured clone keeps, and what must hold of it after any journey. Both run by themselves,
// in Node as well as inside a page.

export function rowOfEverything() {
  const shared = { count: 1 }
  const node = { name: 'parent', children: [] }
  node.children.push({ name: 'child', parent: node })
  const sparse = [1, , 3]
  sparse.length = 5
  const named = Object.assign(['a', 'b'], { index: 7 })
  const bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8])
  class Point { constructor(x, y) { this.x = x; this.y = y } get length() { return Math.hypot(this.x, this.y) } }
  return {
    id: 'everything',
    nothing: undefined, none: null, nan: NaN, minusZero: -0, big: 2n ** 80n, text: 'é😀\u0000\ud800',
    date: new Date(1e12), badDate: new Date(NaN), regexp: /a+b/giu,
    map: new Map([['k', new Map([[1, shared]])], [shared, 'as a key']]), set: new Set([1, 'x', shared]), shared,
    sparse, far: Object.assign([], { 4294967294: undefined, 4294967293: 'far' }), undef: [undefined, 1], named, node,
    bytes, tail: new Uint8Array(bytes.buffer, 4, 2), view: new DataView(bytes.buffer, 1, 3), floats: new Float64Array([0.5, -0]), bigs: new BigInt64Array([-5n]),
    buffer: new ArrayBuffer(3), boxed: new Number(5), error: new RangeError('out of range'),
    blob: new Blob(['hello ', 'blob'], { type: 'text/x-blob' }), file: new File(['hello file'], 'name.txt', { type: 'text/plain', lastModified: 1e12 }),
    point: new Point(3, 4), bare: Object.assign(Object.create(null), { x: 1 }), ['__proto__x']: 1, nested: [[[{ deep: [new Date(5)] }]]],
  }
}

/** What does not hold of a row that should be as `rowOfEverything` made it; empty if it is whole. */
export async function faultsOf(row) {
  const faults = []
  const check = (name, holds) => { if (!holds) faults.push(name) }
  check('undefined is a field', 'nothing' in row && row.nothing === undefined && row.none === null)
  check('numbers', Number.isNaN(row.nan) && Object.is(row.minusZero, -0) && row.big === 2n ** 80n)
  check('text', row.text === 'é😀\u0000\ud800')
  check('dates', row.date instanceof Date && row.date.getTime() === 1e12 && Number.isNaN(row.badDate.getTime()))
  check('regexp', row.regexp instanceof RegExp && String(row.regexp) === '/a+b/giu')
  check('map', row.map instanceof Map && row.map.size === 2 && row.map.get('k').get(1).count === 1)
  check('set', row.set instanceof Set && [...row.set][1] === 'x' && row.set.size === 3)
  check('what a Map, a Set and a field share is one object', row.map.get('k').get(1) === row.shared && row.map.get(row.shared) === 'as a key' && row.set.has(row.shared))
  check('holes', row.sparse.length === 5 && !(1 in row.sparse) && !(4 in row.sparse) && row.sparse[2] === 3 && Object.keys(row.sparse).join() === '0,2')
  check('an undefined item is no hole', row.undef.length === 2 && 0 in row.undef && row.undef[0] === undefined)
  check('far indexes', row.far.length === 4294967295 && row.far[4294967293] === 'far' && 4294967294 in row.far)
  check('fields of an array', row.named.length === 2 && row.named.index === 7)
  check('cycles', row.node.children[0].parent === row.node)
  check('bytes', row.bytes instanceof Uint8Array && row.bytes.join() === '1,2,3,4,5,6,7,8' && row.floats[0] === 0.5 && Object.is(row.floats[1], -0) && row.bigs[0] === -5n)
  check('views of one buffer', row.tail.buffer === row.bytes.buffer && row.tail.join() === '5,6' && row.view.buffer === row.bytes.buffer && row.view.byteLength === 3 && row.view.getUint8(0) === 2)
  check('buffer', row.buffer instanceof ArrayBuffer && row.buffer.byteLength === 3)
  check('boxed', typeof row.boxed === 'object' && row.boxed.valueOf() === 5)
  check('error', row.error instanceof RangeError && row.error.message === 'out of range')
  check('blob', row.blob instanceof Blob && row.blob.type === 'text/x-blob' && await row.blob.text() === 'hello blob')
  check('file', row.file instanceof File && row.file.name === 'name.txt' && row.file.lastModified === 1e12 && await row.file.text() === 'hello file')
  check('a class instance is its fields', row.point.x === 3 && row.point.y === 4 && !('length' in row.point) && Object.getPrototypeOf(row.point) === Object.prototype)
  check('an object without prototype', row.bare.x === 1)
  check('nesting', row.nested[0][0][0].deep[0].getTime() === 5)
  return faults
}
