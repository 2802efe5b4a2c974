import { createHash } from "node:crypto";

import { escapeMarkup } from "./markup.js";
import { pageDataOf, scriptJson } from "./page-data.js";
import { pageScript } from "./page-script.js";
import { reportBody } from "./report-body.js";
import { checkReport, type ReportData } from "./report-data.js";
import { REPORT_STYLE } from "./report-style.js";

export type { ReportData, ReportEdit, ReportLens, ReportStep, ReportToken } from "./report-data.js";

/**
 * One run as a page that stands alone: HTML with its style, program, pictures and numbers inside. It asks for nothing
 * over a network, and its policy forbids it to: only this style and this program run, whatever the texts of the run
 * hold. Throws `InputError` where parts of the report do not fit each other.
 */
export function renderReport(data: ReportData): string {
  checkReport(data);
  const script = `\n${pageScript()}`;
  const policy = [
    "default-src 'none'",
    "img-src data: blob:",
    `style-src '${hashOf(REPORT_STYLE)}'`,
    `script-src '${hashOf(script)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="paligemma-tfjs">
<link rel="icon" href="data:,">
<title>${escapeMarkup(`${data.prompt.trim()} → ${data.answer}`)}</title>
<style>${REPORT_STYLE}</style>
</head>
<body>
${reportBody(data)}
<script type="application/json" id="data">${scriptJson(pageDataOf(data))}</script>
<script type="module">${script}</script>
</body>
</html>
`;
}

/** What a content security policy calls an inline script or style. */
function hashOf(source: string): string {
  return `sha256-${createHash("sha256").update(source).digest("base64")}`;
}
