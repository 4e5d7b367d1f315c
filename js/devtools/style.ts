// How the panel looks: in the page's colour scheme, at the size that its place gives it.

export const STYLE = `
:host { display: block; height: 22rem; min-height: 10rem; container-type: inline-size; color-scheme: light dark;
  --text: light-dark(#1c2330, #e6e9ef); --dim: light-dark(#667085, #929bac); --back: light-dark(#ffffff, #14171d); --raised: light-dark(#f5f6f9, #1c2028);
  --line: light-dark(#e1e5ec, #2b313c); --accent: light-dark(#3557d6, #8aa4ff); --good: light-dark(#15803d, #4ade80); --bad: light-dark(#c8283c, #ff7a8a);
  --busy: light-dark(#b45309, #fbbf24); --wait: light-dark(#c3cad6, #444d5c);
  font: 12px/1.45 ui-sans-serif, system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--text); background: var(--back); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
:host([hidden]) { display: none; }
* { box-sizing: border-box; }
.frame { display: grid; grid-template: auto 1fr / minmax(0, 3fr) minmax(0, 2fr); height: 100%; }
header { grid-column: 1 / -1; display: flex; align-items: center; gap: 10px; padding: 6px 10px; background: var(--raised); border-bottom: 1px solid var(--line); }
header strong { font-weight: 650; white-space: nowrap; }
.status { display: flex; flex: 1; gap: 6px; min-width: 0; overflow: hidden; }
.fact { padding: 0 7px; border-radius: 99px; border: 1px solid var(--line); white-space: nowrap; color: var(--dim); flex: none; }
.fact.good { color: var(--good); border-color: currentColor; } .fact.bad { color: var(--bad); border-color: currentColor; } .fact.busy { color: var(--busy); border-color: currentColor; }
.fact.why { border: 0; padding: 0; flex: 0 1 auto; overflow: hidden; text-overflow: ellipsis; }
.tools { display: flex; gap: 4px; margin: 0; }
button, select { font: inherit; color: inherit; background: var(--back); border: 1px solid var(--line); border-radius: 5px; padding: 1px 8px; cursor: pointer; }
button:hover:not(:disabled) { border-color: var(--accent); } button:disabled { opacity: .4; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: -1px; }
.tools [aria-pressed=true], .bar [aria-pressed=true] { color: var(--back); background: var(--accent); border-color: var(--accent); }
.transactions { display: flex; flex-direction: column; min-height: 0; border-right: 1px solid var(--line); }
.timeline { flex: 1; min-height: 4rem; overflow: hidden auto; position: relative; }
.axis { position: sticky; top: 0; z-index: 2; height: 22px; padding-left: 12.5rem; background: var(--back); border-bottom: 1px solid var(--line); }
.track { position: relative; display: block; height: 100%; }
.tick { position: absolute; top: 3px; padding-left: 4px; border-left: 1px solid var(--line); color: var(--dim); font-variant-numeric: tabular-nums; white-space: nowrap; }
.now, .mark { position: absolute; top: 0; height: 100vh; width: 0; border-left: 1px solid var(--accent); pointer-events: none; }
.mark { border-left: 2px dashed var(--busy); }
.lane { display: grid; grid-template-columns: 12rem 1fr; align-items: center; width: 100%; height: 24px; padding: 0 0 0 10px; border: 0; border-radius: 0; background: none; text-align: left; }
.lane:hover { background: var(--raised); } .lane[aria-pressed=true] { background: color-mix(in srgb, var(--accent) 14%, transparent); }
.head { display: flex; gap: 6px; align-items: baseline; padding-right: 10px; min-width: 0; }
.label { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.state { color: var(--dim); font-size: 11px; white-space: nowrap; }
[data-state=completed] .state { color: var(--good); } [data-state=failed] .state { color: var(--bad); } [data-state=persisting] .state, [data-state=persisted_awaiting_sync] .state { color: var(--accent); } [data-state=queued] .state, [data-state=pending] .state { color: var(--busy); }
.lane .track { height: 24px; margin-left: .5rem; overflow: hidden; border-left: 1px solid var(--line); }
.bar { position: absolute; top: 7px; height: 10px; min-width: 3px; border-radius: 3px; }
.bar.waiting { top: 11px; height: 2px; background: var(--wait); border-radius: 0; }
.bar.queued { top: 9px; height: 6px; background: repeating-linear-gradient(135deg, var(--busy) 0 2px, transparent 2px 6px); border-radius: 0; }
.bar.backoff { top: 11px; height: 0; border-top: 2px dotted var(--busy); border-radius: 0; }
.bar.attempt { background: var(--accent); } .bar.refused { background: var(--bad); } .bar.awaiting { background: color-mix(in srgb, var(--good) 45%, transparent); }
.end { position: absolute; top: 8px; width: 8px; height: 8px; margin-left: -3px; border-radius: 50%; box-shadow: 0 0 0 2px var(--back); background: var(--good); }
.end.failed { background: var(--bad); border-radius: 1px; rotate: 45deg; }
.empty { margin: 0; padding: 18px 12px; color: var(--dim); }
aside { flex: none; max-height: 55%; overflow: auto; padding: 6px 10px; border-top: 1px solid var(--line); background: var(--raised); }
aside[hidden] { display: none; }
aside > .tools { float: right; margin: 0 0 4px 8px; }
h3 { margin: 0 0 5px; font-size: 12px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 12px; align-items: baseline; margin: 0; } dt { color: var(--dim); font-size: 11px; max-width: 14rem; overflow: hidden; text-overflow: ellipsis; } dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: 11px; }
dd.failed, p.failed { color: var(--bad); } dd.completed { color: var(--good); }
.rows { display: flex; flex-direction: column; min-height: 0; }
.rows > .bar { position: static; display: flex; gap: 5px; align-items: center; height: auto; padding: 5px 8px; }
.rows input { flex: 1; min-width: 3rem; accent-color: var(--accent); }
.where { padding: 0 8px 5px; color: var(--dim); border-bottom: 1px solid var(--line); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; font-variant-numeric: tabular-nums; }
.scroll { flex: 1; overflow: auto; }
table { border-collapse: collapse; width: 100%; }
caption { caption-side: bottom; padding: 6px; color: var(--dim); text-align: left; }
th, td { padding: 2px 8px; text-align: left; border-bottom: 1px solid var(--line); max-width: 16rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
thead th { position: sticky; top: 0; background: var(--back); color: var(--dim); font-weight: 500; box-shadow: 0 1px var(--line); }
tbody th { font-weight: 550; max-width: 9rem; }
tr.insert { background: color-mix(in srgb, var(--good) 16%, transparent); } tr.delete { background: color-mix(in srgb, var(--bad) 14%, transparent); text-decoration: line-through; }
tr.update { background: color-mix(in srgb, var(--busy) 9%, transparent); } td.changed { background: color-mix(in srgb, var(--busy) 32%, transparent); }
@container (max-width: 46rem) { .frame { grid-template: auto 1fr 1fr / minmax(0, 1fr); } .transactions { border-right: 0; border-bottom: 1px solid var(--line); } .axis { padding-left: 9.5rem; } .lane { grid-template-columns: 9rem 1fr; } .lane .state { display: none; } header { flex-wrap: wrap; } .status { order: 1; flex-basis: 100%; } header > .tools { margin-left: auto; } dl { grid-template-columns: 1fr; } }
`
