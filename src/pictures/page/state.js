/**
 * A value that tells when it changes.
 * @template {object} T
 * @param {T} initial
 * @param {(state: T) => void} changed
 */
export function createStore(initial, changed) {
  let state = initial;
  return {
    get: () => state,
    /** @param {Partial<T>} change */
    set(change) {
      state = { ...state, ...change };
      changed(state);
    },
  };
}

/**
 * @typedef {{ get: () => import("./report-model.js").State, set: (change: Partial<import("./report-model.js").State>)
 * => void }} Store
 */

/**
 * The state that an address holds after its `#`, over another; what does not fit the report is left aside.
 * @param {string} hash
 * @param {import("./report-model.js").State} state
 * @param {import("./report-model.js").Model} model
 */
export function stateFromHash(hash, state, model) {
  let given;
  try {
    given = JSON.parse(decodeURIComponent(hash.slice(1)));
  } catch {
    return state;
  }
  const fits = given !== null && typeof given === "object" && allowed(model, given);
  return fits ? { ...state, ...fits } : state;
}

/**
 * The parts of a state from outside that fit the report.
 * @param {import("./report-model.js").Model} model
 * @param {Record<string, unknown>} given
 */
function allowed({ rows, data, segmentNames }, given) {
  const below = (/** @type {unknown} */ value, /** @type {number} */ count) =>
    Number.isInteger(value) && Number(value) >= 0 && Number(value) < count;
  const [height, width] = data.grid;
  const box = /** @type {Record<string, number> | null} */ (given.box);
  /** @type {Record<string, boolean>} */
  const fits = {
    query: below(given.query, rows.queries.length),
    layer: given.layer === null || below(given.layer, rows.layers),
    head: given.head === null || below(given.head, rows.heads),
    segment: segmentNames.includes(String(given.segment)),
    picture: below(given.picture, data.pictures.length),
    box:
      box === null ||
      (typeof box === "object" &&
        below(box.bottom, height) &&
        below(box.top, box.bottom + 1) &&
        below(box.right, width) &&
        below(box.left, box.right + 1)),
    normalisation: ["raw", "renormalised", "min-max", "log"].includes(String(given.normalisation)),
    opacity: typeof given.opacity === "number" && given.opacity >= 0 && given.opacity <= 1,
    undoSquash: typeof given.undoSquash === "boolean",
    leaveOut: typeof given.leaveOut === "boolean",
  };
  return Object.fromEntries(Object.entries(given).filter(([key]) => Object.hasOwn(fits, key) && fits[key]));
}

/**
 * What of a state stands in an address.
 * @param {import("./report-model.js").State} state
 */
export function hashOf(state) {
  return `#${encodeURIComponent(JSON.stringify({ ...state, lens: undefined }))}`;
}
