import { attentionRow, largest, massBySegment } from "./attention-rows.js";
import { byId, elementWith } from "./canvas.js";
import { LEFT_OUT, patchesOf, whereText } from "./report-model.js";
import { numberText } from "./text.js";

/**
 * Where the attention of the chosen query went: the mass of every segment, and of the largest patches.
 * @param {import("./report-model.js").Model} model
 * @param {import("./state.js").Store} store
 */
export function createMassesView(model, store) {
  const body = byId("masses", HTMLTableSectionElement);
  return () => {
    const { query, layer, head, picture } = store.get();
    const row = attentionRow(model.rows, query, layer, head);
    const masses = massBySegment(row, model.data.segments);
    const segments = masses.map(({ name, start, end, mass }) => {
      const tokens = end - start;
      return massRow(name, tokens === 1 ? `${start}` : `${start} to ${end - 1}`, mass, mass / tokens);
    });
    const patches = patchesOf(model, row, picture);
    const columns = model.data.grid[1];
    const sinks = largest(patches, LEFT_OUT).map((patch) => {
      const place = `row ${Math.floor(patch / columns)}, column ${patch % columns}`;
      return massRow(`patch ${patch}`, place, patches[patch], patches[patch], "sink");
    });
    body.replaceChildren(...segments, ...sinks);
    byId("masses-words", HTMLElement).textContent =
      `Raw attention, ${whereText({ layer, head })}. Patches are counted from 0, row by row; the largest three are shown, and are part of the image's mass.`;
  };
}

/**
 * @param {string} name
 * @param {string} place
 * @param {number} mass
 * @param {number} each
 * @param {string} [className]
 */
function massRow(name, place, mass, each, className) {
  const row = document.createElement("tr");
  if (className) row.className = className;
  const header = elementWith("th", name);
  header.setAttribute("scope", "row");
  const bar = /** @type {HTMLMeterElement} */ (document.createElement("meter"));
  bar.max = 1;
  bar.value = Math.min(mass, 1);
  bar.textContent = numberText(mass);
  const cell = elementWith("td", "", "share");
  cell.append(bar);
  row.append(header, elementWith("td", place), cell);
  row.append(elementWith("td", numberText(mass), "number"), elementWith("td", numberText(each), "number"));
  return row;
}
