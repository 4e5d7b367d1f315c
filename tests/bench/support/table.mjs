// The table that a run prints.

/** Lays results out in columns: medians in ms, the ratio with its spread, and what ours does in a second. */
export function table(results) {
  const rows = [
    ['', 'Driftline', 'floor', 'ratio', 'spread', 'Driftline does', 'the floor is'],
    ...results.map(result => [
      result.title, `${number(result.ours)} ms`, `${number(result.floor)} ms`, `${number(result.ratio)} ×`,
      `${number(result.ratioMin)}–${number(result.ratioMax)}`, `${number(result.rate)} ${result.unit}/s`, result.floorTitle,
    ]),
  ]
  const widths = rows[0].map((_, column) => Math.max(...rows.map(row => row[column].length)))
  const line = row => row.map((cell, column) => (LEFT.has(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  ').trimEnd()
  return [line(rows[0]), widths.map(width => '─'.repeat(width)).join('  '), ...rows.slice(1).map(line)].join('\n')
}

function number(value) {
  if (value >= 1000) return Math.round(value).toLocaleString('en')
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

const LEFT = new Set([0, 6])
