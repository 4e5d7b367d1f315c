// The table that a run prints.

/** Lays results out in columns: medians, the ratio to the floor with its spread, the peers' medians, and what ours does in a second. */
export function table(results, peers) {
  const rows = [
    ['', 'Driftline', 'raw', 'ratio', 'spread', ...peers.map(({ title }) => title), 'Driftline does', 'raw is'],
    ...results.map(({ title, medians, ratio, rate, raw, unit, measured }) => [
      title, value(medians.driftline, measured), value(medians.raw, measured),
      ratio === undefined ? '' : `${number(ratio.median)} ×`, ratio === undefined ? '' : `${number(ratio.min)}–${number(ratio.max)}`,
      ...peers.map(({ name }) => value(medians[name], measured)),
      rate === undefined ? '' : `${number(rate)} ${unit}/s`, medians.raw === undefined ? '' : raw ?? '',
    ]),
  ]
  const widths = rows[0].map((_, column) => Math.max(...rows.map(row => row[column].length)))
  const isLeft = column => column === 0 || column === widths.length - 1
  const line = row => row.map((cell, column) => (isLeft(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  ').trimEnd()
  return [line(rows[0]), widths.map(width => '─'.repeat(width)).join('  '), ...rows.slice(1).map(line)].join('\n')
}

function value(given, measured) {
  if (given === undefined) return '–'
  return measured === 'bytes' ? `${Math.round(given).toLocaleString('en')} B` : `${number(given)} ms`
}

function number(given) {
  if (given >= 1000) return Math.round(given).toLocaleString('en')
  return given >= 100 ? given.toFixed(0) : given >= 10 ? given.toFixed(1) : given >= 0.1 ? given.toFixed(2) : given.toFixed(3)
}
