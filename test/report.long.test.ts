import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { packageRoot } from "../src/base/package-root.js";
import { CHROMIUM, launchChromium } from "./support/chromium.js";
import { describeWhere } from "./support/describe-where.js";
import { cli } from "./support/run-cli.js";

const picture = path.join(packageRoot(), "test", "heldout", "0004.png");

describeWhere(CHROMIUM, "the report of a real run in a browser", () => {
  it("opens without a complaint or a request, and shows the answer, the picture and the knock-outs", async () => {
    const browser = await launchChromium();
    const folder = mkdtempSync(path.join(tmpdir(), "paligemma-report-"));
    try {
      const file = path.join(folder, "report.html");
      const prompt = "answer en what color is the circle?";
      const { code, stderr } = await cli("report", picture, "--prompt", prompt, "--out", file);
      assert.equal(code, 0, stderr);
      const complaints: string[] = [];
      const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
      const address = pathToFileURL(file).href;
      page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("request", (request) => {
        if (request.url() !== address && !/^(data|blob):/.test(request.url())) complaints.push(request.url());
      });
      await page.goto(address);
      await page.getByText("Mean over all layers and heads").first().waitFor();
      const text = await page.locator("body").innerText();
      assert.match(text, /answer en what color is the circle\? → orange/);
      assert.match(text, /the last position sees no patch/);
      assert.match(text, /patch 5[34]\n|patch 5[34]\t/, "the circle's patches have most of the attention");
      const canvas = await page.locator("#map-canvas").screenshot();
      assert.ok(canvas.length > 5000, "a map without the picture would compress to less");
      assert.deepEqual(complaints, []);
    } finally {
      await browser.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
