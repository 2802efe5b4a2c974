import { existsSync } from "node:fs";

import { type Browser, chromium } from "playwright-core";

/** Keeps the browser to the page: nothing of its own goes over a network. */
const FLAGS = [
  "--no-sandbox",
  "--headless",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Where Chromium is: `CHROMIUM`, or where Debian and Ubuntu install it; undefined where it is not. */
export const chromiumPath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser"].find(
  (path) => path !== undefined && existsSync(path),
);

/** What suites that need a browser say to `describeWhere`. */
export const CHROMIUM = {
  absent: chromiumPath ? null : "no Chromium at CHROMIUM, /usr/bin/chromium or /usr/bin/chromium-browser",
  what: "CHROMIUM",
};

/** A browser; the caller closes it. */
export const launchChromium = (): Promise<Browser> => chromium.launch({ executablePath: chromiumPath!, args: FLAGS });
