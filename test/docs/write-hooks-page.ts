import { writeFileSync } from "node:fs";

import { HOOKS_PAGE, hooksPage } from "./hooks-page.js";

writeFileSync(HOOKS_PAGE, await hooksPage());
