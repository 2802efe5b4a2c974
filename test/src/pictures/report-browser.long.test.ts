import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { colourAt, luminance, type Rgb } from "../../../src/pictures/colour-map.js";
import { renderReport, type ReportData } from "../../../src/pictures/report.js";
import { CHROMIUM, launchChromium } from "../../support/chromium.js";
import { describeWhere } from "../../support/describe-where.js";
import { pixelsOf } from "./pixels.js";
import { syntheticReport } from "./synthetic-report.js";

const HOSTILE = `</script><script>document.title="owned"</script><img src=x onerror="document.title='owned'">\u0000'"&`;

describeWhere(CHROMIUM, "a report in Chromium", () => {
  let browser: Browser;
  let folder: string;
  let page: Page;
  /** Whatever the page complained about or asked for, besides itself. */
  let complaints: string[];

  before(async () => {
    browser = await launchChromium();
    folder = mkdtempSync(path.join(os.tmpdir(), "report-"));
  });
  after(async () => {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    await page?.context().close();
    assert.deepEqual(complaints, []);
  });

  /** Opens a report from a file, as a reader does. */
  async function open(data: ReportData, options: BrowserContextOptions = {}): Promise<void> {
    const file = path.join(folder, "report.html");
    writeFileSync(file, renderReport(data));
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    page = await context.newPage();
    complaints = [];
    const address = pathToFileURL(file).href;
    page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => {
      if (request.url() !== address && !/^(?:data|blob):/.test(request.url()))
        complaints.push(`asked: ${request.url()}`);
    });
    await page.goto(address);
    await drawn(0);
  }

  const draws = () => page.evaluate<number>("Number(document.documentElement.dataset.drawn ?? 0)");
  /** Asks again and again, from here: the page's policy lets nothing be evaluated in it later on. */
  async function until(holds: () => Promise<boolean>): Promise<void> {
    for (const end = Date.now() + 20_000; !(await holds());) assert.ok(Date.now() < end, "waited for 20 s");
  }
  const drawn = (before: number) => until(async () => (await draws()) > before);
  const text = (id: string) => page.locator(`#${id}`).innerText();

  /** Does something and waits for the page to be drawn again. */
  async function redrawn(act: () => Promise<unknown>): Promise<void> {
    const before = await draws();
    await act();
    await drawn(before);
  }

  const pixels = async (id: string) => pixelsOf(await page.locator(`#${id}`).screenshot());

  /** The middle of a cell of the map, 3 x 5, in pixels of the canvas. */
  async function cell(row: number, column: number): Promise<{ x: number; y: number }> {
    const { width, height } = (await page.locator("#map-canvas").boundingBox())!;
    return { x: ((column + 0.5) * width) / 5, y: ((row + 0.5) * height) / 3 };
  }

  /** The middle of a cell of the overview, 4 layers and 2 heads with means outside. */
  async function overviewCell(layer: number, head: number): Promise<{ x: number; y: number }> {
    const { width, height } = (await page.locator("#overview-canvas").boundingBox())!;
    const [left, top] = [44, 36];
    return { x: left + ((head + 0.5) * (width - left - 2)) / 3, y: top + ((layer + 0.5) * (height - top - 4)) / 5 };
  }

  it("draws the query, the overview and the map, and says what they are", async () => {
    await open(await syntheticReport());
    assert.match(await text("query-words"), /“↵” \(position 20\), which chose “▁a” with probability 0\.9/);
    assert.match(await text("map-words"), /^Mean over all layers and heads; raw values: 0 to /);
    assert.match(await text("overview-words"), /^Raw mass on image, one scale for every query/);
    assert.match(await page.locator(".banner").innerText(), /^Attention is not an explanation\..*Copy knock-out/s);
    assert.equal(await page.locator("#masses tr").count(), 5 + 3);
  });

  it("a click on a cell shows that head, brightest where its weight is", async () => {
    await open(await syntheticReport());
    const before = await page.locator("#map-canvas").screenshot();
    await redrawn(async () => page.locator("#overview-canvas").click({ position: await overviewCell(1, 1) }));
    assert.match(await text("map-words"), /^Layer 1, head 1; raw values, one scale for 8 maps: /);
    assert.notDeepEqual(await page.locator("#map-canvas").screenshot(), before);
    await redrawn(() => page.locator("#opacity").fill("100"));
    const { colourAt: at } = await pixels("map-canvas");
    const light: number[] = [];
    for (let i = 0; i < 15; i++) {
      const { x, y } = await cell(Math.floor(i / 5), i % 5);
      light.push(luminance(at(x, y)));
    }
    assert.equal(light.indexOf(Math.max(...light)), 14);
    const { x, y } = await cell(2, 4);
    assert.ok(near(at(x, y), colourAt("sequential", 1)), `${at(x, y)}`);
  });

  it("hover says patch, value and rank; a click, who attends to it", async () => {
    await open(await syntheticReport());
    await redrawn(async () => page.locator("#overview-canvas").click({ position: await overviewCell(1, 1) }));
    await page.locator("#map-canvas").hover({ position: await cell(2, 4) });
    assert.match(await text("map-readout"), /^Patch 14 \(row 2, column 4\): 0\.5\d*, rank 1 of 15$/);
    assert.ok(await page.locator("#readers-canvas").isHidden());
    await redrawn(async () => page.locator("#map-canvas").click({ position: await cell(2, 4) }));
    assert.match(await text("readers-words"), /^Raw attention of each query to the chosen patches, layer 1, head 1\./);
    assert.ok(await page.locator("#readers-canvas").isVisible());
    // A line for every query of the text; the first is the begin mark.
    await redrawn(() => page.locator("#readers-canvas").click({ position: { x: 30, y: 11 } }));
    assert.match(await text("query-words"), /“<bos>” \(position 15\)\.$/);
  });

  it("a drag chooses several patches, and a picture's own row becomes the query", async () => {
    await open(await syntheticReport());
    const corner = (await page.locator("#map-canvas").boundingBox())!;
    const [from, to] = [await cell(0, 1), await cell(1, 3)];
    await page.mouse.move(corner.x + from.x, corner.y + from.y);
    await page.mouse.down();
    await page.mouse.move(corner.x + to.x, corner.y + to.y);
    await redrawn(() => page.mouse.up());
    await page.mouse.move(0, 0);
    assert.match(await text("map-readout"), /^Chosen: 6 patches with 0\.\d+ together$/);
    assert.ok(await page.locator("#take-patch").isDisabled());
    await redrawn(async () => page.locator("#map-canvas").click({ position: await cell(0, 0) }));
    await redrawn(() => page.locator("#take-patch").click());
    assert.match(await text("query-words"), /^Query: patch 0 \(position 0\)\.$/);
  });

  it("another query and every normalisation change the map and its words", async () => {
    await open(await syntheticReport());
    const seen = new Set([(await page.locator("#map-canvas").screenshot()).toString("base64")]);
    await redrawn(() => page.locator("#queries button", { hasText: "animal" }).click());
    assert.match(await text("query-words"), /“▁animal” \(position 19\)\.$/);
    seen.add((await page.locator("#map-canvas").screenshot()).toString("base64"));
    const words = { renormalised: /dropped mass .* 0\.\d/, "min-max": /noise looks like structure/, log: /log scale/ };
    for (const [how, pattern] of Object.entries(words)) {
      await redrawn(() => page.selectOption("#normalisation", how));
      assert.match(await text("map-words"), pattern);
      seen.add((await page.locator("#map-canvas").screenshot()).toString("base64"));
    }
    await redrawn(() => page.locator("#leave-out").check());
    assert.match(await text("map-words"), /The 3 largest patches of each map are left out/);
    seen.add((await page.locator("#map-canvas").screenshot()).toString("base64"));
    // Renormalising one mean divides all its values alike: the picture is the raw one's, the numbers are not.
    assert.equal(seen.size, 5);
  });

  it("undoes the squash", async () => {
    await open(await syntheticReport());
    const proportions = async () => {
      const { width, height } = (await page.locator("#map-canvas").boundingBox())!;
      return Math.round((100 * width) / height) / 100;
    };
    assert.equal(await proportions(), 1);
    await redrawn(() => page.locator("#undo-squash").check());
    assert.equal(await proportions(), 1.5);
  });

  it("is worked by keys alone", async () => {
    await open(await syntheticReport());
    await page.locator("#overview-canvas").focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowRight"]) await page.keyboard.press(key);
    assert.match(await text("overview-readout"), /^layer 1, head 1: mass 0\.\d+ on image$/i);
    await redrawn(() => page.keyboard.press("Enter"));
    assert.match(await text("map-words"), /^Layer 1, head 1;/);
    await page.locator("#map-canvas").focus();
    await page.keyboard.press("ArrowRight");
    await redrawn(() => page.keyboard.press("Enter"));
    for (const key of ["ArrowRight", "ArrowDown"]) await page.keyboard.press(key);
    await redrawn(() => page.keyboard.press("Shift+Enter"));
    await page.keyboard.press("Tab");
    assert.match(await text("map-readout"), /^Chosen: 4 patches/);
  });

  it("shows the lens: candidates of the cell under the pointer, and their lines", async () => {
    const data = await syntheticReport();
    await open(data);
    await page.locator("#lens-canvas").hover({ position: { x: 40 + 92 * 1.5, y: 24 + 22 * 2.5 } });
    const { layers, positions, cells } = data.logitLens!;
    assert.equal(await text("lens-title"), `After layer ${layers[2]}, at “↵” (position ${positions[1]})`); // prettier-ignore
    const first = (await page.locator("#lens-candidates li code").allInnerTexts()).map((word) => word.trim());
    assert.deepEqual(first, cells[2][1].top.map((one) => one.text.replace("\n", "↵"))); // prettier-ignore
    for (const id of ["lens-entropy", "lens-finalRank", "lens-klToFinal"]) {
      const { width, height, colourAt: at } = await pixels(id);
      const colours = new Set(Array.from({ length: width * height }, (_, i) => at(i % width, i / width).join()));
      assert.ok(colours.size > 4, id);
    }
  });

  it("carries the view away as PNG and JSON, and the hook's name and the knock-out as text", async () => {
    await open(await syntheticReport());
    await redrawn(async () => page.locator("#overview-canvas").click({ position: await overviewCell(3, 0) }));
    const saved = async (id: string) => {
      const [download] = await Promise.all([page.waitForEvent("download"), page.locator(`#${id}`).click()]);
      return readFileSync(await download.path());
    };
    const { width, height } = await pixelsOf(await saved("save-png"));
    assert.ok(width > 640 && height > 640);
    const json = JSON.parse(String(await saved("save-json")));
    assert.deepEqual([json.shown.hook, json.shown.position, json.shown.patches.length], ["language.blocks.3.attn.hook_pattern", 20, 15]); // prettier-ignore
    await page.locator("#copy-hook").click();
    await until(async () => (await text("copied")).includes("hook_pattern"));
    assert.match(await text("copied"), /(?:Copied|Copy this): language\.blocks\.3\.attn\.hook_pattern$/);
    await page.locator("#copy-knock-out").click();
    await until(async () => (await text("copied")).includes("hook_attn_scores"));
    const [edit] = JSON.parse((await text("copied")).replace(/^Cop[^:]*: /, ""));
    assert.deepEqual([edit.op, edit.heads, edit.keys], ["close", [0], ["0:15"]]);
  });

  it("an address brings the same view back", async () => {
    await open(await syntheticReport());
    await redrawn(async () => page.locator("#overview-canvas").click({ position: await overviewCell(2, 2) }));
    assert.match(await text("map-words"), /^Layer 2, mean over heads; raw values, one scale for 4 maps/);
    await page.reload();
    await drawn(0);
    assert.match(await text("map-words"), /^Layer 2, mean over heads;/);
  });

  it("shows hostile tokens as text and runs none of them", async () => {
    const data = await syntheticReport({ prompt: [HOSTILE, "b"], answer: [HOSTILE] });
    await open({ ...data, prompt: HOSTILE, answer: HOSTILE });
    assert.notEqual(await page.title(), "owned");
    assert.equal(await page.locator("img").count(), 0);
    assert.match(await page.locator("h1").innerText(), /^<\/script><script>document/);
  });

  it("fits a phone, and its colours follow a dark screen", async () => {
    await open(await syntheticReport(), {
      viewport: { width: 390, height: 844 },
      colorScheme: "dark",
      deviceScaleFactor: 2,
    });
    assert.equal(await page.evaluate("document.documentElement.scrollWidth"), 390);
    const dark = (await pixelsOf(await page.screenshot())).colourAt(4, 4);
    assert.ok(luminance(dark) < 0.02);
    await redrawn(() => page.emulateMedia({ colorScheme: "light" }));
    assert.ok(luminance((await pixelsOf(await page.screenshot())).colourAt(4, 4)) > 0.8);
  });

  it("stays quick at 896 pixels: 64 x 64 patches in 18 layers of 8 heads", async () => {
    await open(
      await syntheticReport({ grid: [64, 64], layers: 18, heads: 8, side: 224, prompt: ["a"], answer: ["b"] }),
    );
    const { width, height } = (await page.locator("#map-canvas").boundingBox())!;
    await page.locator("#map-canvas").hover({ position: { x: width / 2, y: height / 2 } });
    assert.match(await text("map-readout"), /^Patch 2080 \(row 32, column 32\)/);
    const start = Date.now();
    await redrawn(() => page.selectOption("#normalisation", "log"));
    assert.ok(Date.now() - start < 5_000, `${Date.now() - start} ms`);
  });
});

function near(a: Rgb, b: Rgb): boolean {
  return a.every((part, i) => Math.abs(part - b[i]) <= 4);
}
