import path from "node:path";

import { packageRoot } from "./package-root.js";

/** The folder of the bundled demo checkpoint. */
export const demoCheckpoint = (): string => path.join(packageRoot(), "weights", "demo");
