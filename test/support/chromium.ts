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

/** Where Chromium is: `CHROMIUM`, or where Debian and Ubuntu install it; null where it is not. */
export function chromiumPath(): string | null {
  const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser"];
  return candidates.find((path) => path !== undefined && existsSync(path)) ?? null;
}

/**
 * A browser, or null after a printed reason where none is installed; with `PALIGEMMA_REQUIRE_CHROMIUM=1` that is a failure.
 */
export async function launchChromium(): Promise<Browser | null> {
  const executablePath = chromiumPath();
  if (executablePath !== null) return chromium.launch({ executablePath, args: FLAGS });
  const reason = "no Chromium at CHROMIUM, /usr/bin/chromium or /usr/bin/chromium-browser";
  if (process.env.PALIGEMMA_REQUIRE_CHROMIUM === "1")
    throw new Error(`PALIGEMMA_REQUIRE_CHROMIUM is set, but: ${reason}`);
  console.log(`    skipped: ${reason}`);
  return null;
}
