/** The style of a report: one column on a phone, two on a screen, light or dark as the reader's system is. */
export const REPORT_STYLE = `
:root {
  color-scheme: light dark;
  --page: #f4f4f1;
  --card: #ffffff;
  --ink: #1b1b1f;
  --faint: #5c5c66;
  --line: #d9d9d4;
  --accent: #0b6e6e;
  --note: #fff6db;
  --note-line: #e0b93c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131417;
    --card: #1d1f24;
    --ink: #ececf0;
    --faint: #a4a6b0;
    --line: #363943;
    --accent: #5cc8c2;
    --note: #2d2817;
    --note-line: #8a7226;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0 auto;
  max-width: 1240px;
  padding: 24px 20px 48px;
  background: var(--page);
  color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
}
h1 { font-size: 26px; line-height: 1.25; margin: 4px 0 12px; overflow-wrap: anywhere; }
h1 .arrow { color: var(--faint); font-weight: 400; }
h2 { font-size: 16px; margin: 0 0 10px; }
h3 { font-size: 14px; margin: 0 0 6px; overflow-wrap: anywhere; }
p { margin: 0 0 8px; }
.eyebrow { color: var(--accent); font-size: 13px; font-weight: 600; letter-spacing: 0.02em; margin: 0; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 16px; padding: 0; list-style: none; color: var(--faint); font-size: 13px; }
.facts b { color: var(--ink); font-weight: 600; overflow-wrap: anywhere; }
.banner { background: var(--note); border-left: 4px solid var(--note-line); border-radius: 4px; padding: 10px 14px; margin: 0 0 20px; font-size: 14px; }
.banner p:last-child { margin: 0; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; margin: 0 0 16px; min-width: 0; }
.columns { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 16px; align-items: start; }
.queries { display: flex; flex-wrap: wrap; gap: 6px; max-height: 260px; overflow: auto; padding: 2px; }
button, select, input { font: inherit; color: inherit; accent-color: var(--accent); }
button, select { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 4px 10px; min-height: 34px; cursor: pointer; }
button:hover:not(:disabled), select:hover { border-color: var(--accent); }
button:disabled { cursor: not-allowed; opacity: 0.5; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.query { display: flex; flex-direction: column; align-items: flex-start; justify-content: center; max-width: 220px; line-height: 1.25; text-align: left; overflow-wrap: anywhere; white-space: pre-wrap; }
.query small { color: var(--faint); font-size: 12px; }
.query.suffix { border-style: dashed; }
.query[aria-pressed="true"] { background: var(--accent); border-color: var(--accent); color: var(--card); }
.query[aria-pressed="true"] small { color: inherit; }
.controls { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; margin: 0 0 12px; font-size: 14px; }
.controls label { display: inline-flex; gap: 6px; align-items: center; }
.controls input[type="range"] { width: 110px; }
.canvas { position: relative; overflow: auto; max-width: 100%; }
canvas { display: block; touch-action: manipulation; }
.grid > canvas { cursor: crosshair; }
.cursor { position: absolute; pointer-events: none; border: 2px solid #ffffff; box-shadow: 0 0 0 1.5px #000000, inset 0 0 0 1px #000000; }
.legend { margin: 10px 0 4px; }
#overview .legend { margin-left: 44px; }
.readout { font-variant-numeric: tabular-nums; min-height: 1.5em; margin: 8px 0 4px; font-weight: 600; font-size: 14px; overflow-wrap: anywhere; }
.words { color: var(--faint); font-size: 13px; margin: 4px 0 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 4px 8px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
thead th { color: var(--faint); font-weight: 500; font-size: 13px; }
tbody th { font-weight: 600; }
td.number { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
tr.sink th { font-weight: 400; padding-left: 20px; }
.masses th { white-space: nowrap; }
meter { width: 100%; min-width: 56px; height: 14px; }
meter::-webkit-meter-optimum-value { background: var(--accent); }
meter::-moz-meter-bar { background: var(--accent); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 0 20px; }
.lens { display: flex; gap: 28px; align-items: flex-start; }
.lens > :first-child { flex: 0 1 auto; min-width: 0; }
.lens > :last-child { flex: 1 1 320px; min-width: 0; }
.lens > :first-child .words { width: 0; min-width: 100%; }
.lens ol { margin: 0 0 8px; padding: 0; list-style: none; font-size: 14px; }
.lens li { display: flex; justify-content: space-between; gap: 12px; border-bottom: 1px solid var(--line); padding: 2px 0; }
.lens code { overflow-wrap: anywhere; }
code { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 13px; }
.chart p { margin: 8px 0 0; font-size: 13px; color: var(--faint); }
.before-after td { white-space: pre-wrap; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12px; }
.actions { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 12px; }
footer { color: var(--faint); font-size: 13px; }
@media (max-width: 860px) {
  body { padding: 16px 12px 32px; font-size: 15px; }
  h1 { font-size: 21px; }
  .columns { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .lens { display: block; }
  .lens h3 { margin-top: 16px; }
  .share { display: none; }
  .before-after { min-width: 560px; }
  section { padding: 14px 12px; }
}
`;
