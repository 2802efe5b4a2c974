import { BROWSER_PARTS, bundleForBrowser } from "./bundle.js";

const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(0)} kB`;

for (const [part, files] of Object.entries(BROWSER_PARTS)) {
  const { own, libraries } = await bundleForBrowser(files);
  console.log(`${part}: ${kilobytes(own)} of its own, ${kilobytes(libraries)} of libraries`);
}
