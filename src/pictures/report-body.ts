import { element, escapeMarkup } from "./markup.js";
import { numberText } from "./page/text.js";
import { NORMALISATIONS } from "./page/scale.js";
import type { ReportData, ReportEdit } from "./report-data.js";

const text = escapeMarkup;

/** What stands on the page before its program runs; the program fills canvases, lists and tables by their ids. */
export function reportBody(data: ReportData): string {
  return [
    header(data),
    banner(data),
    `<main>
<section id="query"><h2>1. Whose attention</h2><div id="queries" class="queries"></div>
<p id="query-words" class="readout" aria-live="polite"></p>
<p class="words">An arrow names the token that a query chose. ${imageQueriesNote(data)}</p></section>`,
    `<div class="columns"><div>${OVERVIEW}${MASSES}</div><div>${mapSection(data)}${READERS}</div></div>`,
    data.logitLens ? LENS : "",
    data.edits?.length ? editsSection(data.edits) : "",
    "</main>",
    footer(data),
  ].join("\n");
}

function header({ model, backend, dtype, prompt, answer, grid, pictures, steps }: ReportData): string {
  const sizes = pictures.map(({ originalSize: { width, height } }) => `${width} × ${height}`).join(", ");
  const facts = { Model: model, Backend: backend, Weights: dtype, Picture: sizes, Patches: grid.join(" × ") };
  const items = Object.entries(facts).map(([name, value]) => `<li>${name} <b>${text(value)}</b></li>`);
  return `<header><p class="eyebrow">Attention report</p>
<h1>${text(prompt.trim()) || "(no prompt)"} <span class="arrow">→</span> ${text(answer) || "(no answer)"}</h1>
<ul class="facts">${items.join("")}<li>Generated <b>${steps.length} tokens</b></li></ul></header>`;
}

function banner({ edits }: ReportData): string {
  const tried = edits?.length ? ` Edits that were tried on this run are <a href="#edits">below</a>.` : "";
  return `<aside class="banner" role="note"><p><strong>Attention is not an explanation.</strong> It shows what a head read, and not
what the answer depends on. To find out, close the same way and see whether the answer changes: “Copy knock-out” gives the edit
for <code>generate(question, { edits })</code> or <code>--edits</code>.${tried}</p></aside>`;
}

function imageQueriesNote({ attention, segments }: ReportData): string {
  const images = segments.filter(({ name }) => name === "image");
  const count = attention.queries.filter((at) => images.some(({ start, end }) => at >= start && at < end)).length;
  const general = "Tokens of the picture attend to the prompt too: the prompt is read in both directions.";
  if (count === 0) return `${general} This report has no rows of theirs.`;
  return `${general} This report has ${count} of their rows: choose a patch on the picture and take it as the query.`;
}

const OVERVIEW = `<section id="overview"><h2>2. Which layer and head</h2>
<div class="controls"><label>Mass on <select id="segment"></select></label></div>
<div class="canvas grid"><canvas id="overview-canvas" tabindex="0" role="application" aria-describedby="overview-readout"
aria-label="Layers by heads. Arrow keys move, Enter chooses."></canvas></div>
<div class="canvas legend"><canvas id="overview-legend"></canvas></div>
<p id="overview-readout" class="readout" aria-live="polite"></p><p id="overview-words" class="words"></p></section>`;

function mapSection({ pictures }: ReportData): string {
  const labels = {
    raw: "raw, shared scale",
    renormalised: "renormalised over image",
    "min-max": "min-max per map",
    log: "log",
  };
  const options = NORMALISATIONS.map((name) => element("option", { value: name }, labels[name]));
  return `<section id="map"><h2>3. Where on the picture</h2>
<div class="controls"><label>Values <select id="normalisation">${options.join("")}</select></label>
<label${pictures.length > 1 ? "" : " hidden"}>Picture <select id="picture"></select></label>
<label>Colours <input id="opacity" type="range" min="0" max="100"></label>
<label><input id="undo-squash" type="checkbox"> Undo the squash</label>
<label><input id="leave-out" type="checkbox"> Leave out the three largest patches</label></div>
<div class="canvas grid"><canvas id="map-canvas" tabindex="0" role="application" aria-describedby="map-readout"
aria-label="Attention over the patches. Arrow keys move, Enter chooses, Shift and Enter choose several."></canvas></div>
<div class="canvas legend"><canvas id="map-legend"></canvas></div>
<p id="map-readout" class="readout" aria-live="polite"></p><p id="map-words" class="words"></p>
<div class="actions"><button type="button" id="take-patch">Take the patch as query</button>
<button type="button" id="copy-hook">Copy hook name</button><button type="button" id="copy-knock-out">Copy knock-out</button>
<button type="button" id="save-png">Save PNG</button><button type="button" id="save-json">Save JSON</button></div>
<p id="copied" class="words" aria-live="polite"></p></section>`;
}

const MASSES = `<section><h2>Where the attention went</h2><div class="scroll"><table class="masses">
<thead><tr><th scope="col">Segment</th><th scope="col">Positions</th><th scope="col" class="share">Share</th>
<th scope="col">Mass</th><th scope="col">Each</th></tr></thead><tbody id="masses"></tbody></table></div>
<p id="masses-words" class="words"></p></section>`;

const READERS = `<section><h2>Who attends to the chosen patches</h2>
<div class="canvas grid"><canvas id="readers-canvas" tabindex="0" role="application" aria-describedby="readers-words"
aria-label="Queries by their attention to the chosen patches. Arrow keys move, Enter chooses."></canvas></div>
<p id="readers-words" class="words"></p></section>`;

const LENS = `<section id="lens"><h2>Logit lens</h2><div class="lens"><div>
<div class="canvas grid"><canvas id="lens-canvas" tabindex="0" role="application" aria-describedby="lens-title"
aria-label="Layers by positions, the likeliest token in each cell. Arrow keys move, Enter chooses."></canvas></div>
<div class="canvas legend"><canvas id="lens-legend"></canvas></div>
<p class="words">Cell: the likeliest token after that layer, coloured by its probability (raw, 0 to 1). Layers go down.</p></div>
<div><h3 id="lens-title" aria-live="polite"></h3><ol id="lens-candidates"></ol><p id="lens-numbers" class="words"></p>
<div class="charts"><div class="chart"><p>Entropy in nats</p><div class="canvas"><canvas id="lens-entropy"></canvas></div></div>
<div class="chart"><p>Rank of the final token, logarithmic</p><div class="canvas"><canvas id="lens-finalRank"></canvas></div></div>
<div class="chart"><p>KL to the final distribution in nats</p><div class="canvas"><canvas id="lens-klToFinal"></canvas></div></div></div>
</div></div></section>`;

function editsSection(edits: readonly ReportEdit[]): string {
  const rows = edits.map(({ description, edits: done, before, after, deltaLogProbability: delta }) => {
    const json = `<details><summary>edits</summary><pre>${text(JSON.stringify(done))}</pre></details>`;
    const cells = [before, after, delta === undefined ? "" : numberText(delta)].map((cell) => `<td>${text(cell)}</td>`);
    return `<tr><th scope="row">${text(description)}${json}</th>${cells.join("")}</tr>`;
  });
  return `<section id="edits"><h2>Edits that were tried</h2><div class="scroll"><table class="before-after">
<thead><tr><th scope="col">Edit</th><th scope="col">Answer without</th><th scope="col">Answer with</th>
<th scope="col">Change of log-probability</th></tr></thead><tbody>${rows.join("")}</tbody></table></div></section>`;
}

function footer({ settings, attention: { queries, layers, heads, keys } }: ReportData): string {
  const switches = Object.entries(settings).map(([name, value]) => `${name} ${String(value)}`);
  return `<footer><p>Settings: ${text(switches.join(", ")) || "none"}. Attention: ${queries.length} queries × ${layers} layers × ${heads}
heads × ${keys} keys of <code>hook_pattern</code>, float32. This file needs no network, and asks for nothing.</p></footer>
<noscript><p>The pictures are drawn by the script in this file, which the browser was told not to run.</p></noscript>`;
}
