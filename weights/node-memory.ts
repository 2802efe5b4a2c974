import { freemem } from "node:os";

import { measureMemoryBy } from "./available-memory.js";

/** Registers what Node may still take, a container's limit included where Node knows it (20.13 and later). */
measureMemoryBy(() => {
  const known = (process as { availableMemory?: () => number }).availableMemory?.();
  return known === undefined || known === 0 ? freemem() : Math.min(known, freemem());
});
