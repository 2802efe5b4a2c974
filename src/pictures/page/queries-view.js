import { byId, elementWith } from "./canvas.js";
import { queryLabel } from "./report-model.js";
import { numberText, visibleText } from "./text.js";

/**
 * The tokens of the text as buttons, in reading order. A token without a row of attention is shown, and cannot be
 * chosen.
 * @param {import("./report-model.js").Model} model
 * @param {import("./state.js").Store} store
 */
export function createQueriesView(model, store) {
  const { data, rows, imagePositions } = model;
  const list = byId("queries", HTMLElement);
  const pictures = new Set(imagePositions);
  /** @type {Map<number, HTMLElement>} */
  const buttons = new Map();
  data.tokens.forEach((token, position) => {
    const segment = data.segments.find(({ start, end }) => position >= start && position < end);
    if (pictures.has(position) || segment?.name === "pad") return;
    const query = rows.queries.indexOf(position);
    const button = document.createElement("button");
    button.type = "button";
    button.className = `query ${segment?.name ?? ""}`;
    button.disabled = query < 0;
    button.title = query < 0 ? "this report has no attention of this token" : `position ${position}, ${segment?.name}`;
    button.append(elementWith("span", visibleText(token.text) || "(empty)"));
    const { step } = query < 0 ? { step: null } : queryLabel(model, query);
    if (step) button.append(elementWith("small", `→ ${visibleText(step.text)} ${numberText(step.probability)}`));
    button.addEventListener("click", () => store.set({ query }));
    if (query >= 0) buttons.set(query, button);
    list.append(button);
  });
  const words = byId("query-words", HTMLElement);
  return () => {
    const { query } = store.get();
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === query)));
    words.textContent = queryWords(model, query);
  };
}

/**
 * @param {import("./report-model.js").Model} model
 * @param {number} query
 */
export function queryWords(model, query) {
  const { position, patch, step, text } = queryLabel(model, query);
  const many = model.data.pictures.length > 1 && patch ? ` of picture ${patch.picture}` : "";
  const what = patch ? `${text}${many} (position ${position})` : `“${text}” (position ${position})`;
  if (!step) return `Query: ${what}.`;
  return `Query: ${what}, which chose “${visibleText(step.text)}” with probability ${numberText(step.probability)}.`;
}
