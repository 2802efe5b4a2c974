import { byId } from "./canvas.js";
import { connectExports } from "./exports.js";
import { createLensView } from "./lens-view.js";
import { createMapView } from "./map-view.js";
import { createMassesView } from "./masses-view.js";
import { createOverviewView } from "./overview-view.js";
import { createQueriesView } from "./queries-view.js";
import { createReadersView } from "./readers-view.js";
import { bytesOf, createModel, initialState } from "./report-model.js";
import { createStore, hashOf, stateFromHash } from "./state.js";

/** Reads the report that the page carries, and shows it. */
async function main() {
  const data = JSON.parse(byId("data", HTMLElement).textContent ?? "");
  const model = createModel(data);
  const colours = bytesOf(data.colours);
  const images = await Promise.all(model.data.pictures.map(({ uri }) => loaded(uri)));
  /** @type {(() => void)[]} */
  const views = [];
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      for (const view of views) view();
      document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn ?? 0) + 1);
    });
  };
  const store = createStore(stateFromHash(location.hash, initialState(model), model), (state) => {
    history.replaceState(null, "", hashOf(state));
    redraw();
  });
  views.push(createQueriesView(model, store));
  views.push(createOverviewView(model, store, colours));
  views.push(createMapView(model, store, colours, images));
  views.push(createMassesView(model, store));
  views.push(createReadersView(model, store, colours));
  views.push(createLensView(model, store, colours));
  views.push(connectExports(model, store, colours, images));
  addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();
}

/** @param {string} uri */
async function loaded(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  return image;
}

void main();
