import { writeFileSync } from "node:fs";
import path from "node:path";

import { packageRoot } from "../../src/base/package-root.js";
import { namesPage } from "./names-page.js";

writeFileSync(path.join(packageRoot(), "docs", "names.md"), await namesPage());
