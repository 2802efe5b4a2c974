import type { AdapterInfo } from "../adapters/adapter-info.js";

/** What has come of an adapter, in a line: one that brings nothing to a part of the model should be seen to. */
export function adapterLine({ name, modules, parameters, parts, replaced }: AdapterInfo): string {
  const where = Object.entries(parts).filter(([, part]) => part.modules > 0);
  const by = where.map(([part, count]) => `${part} ${count.modules}`).join(", ");
  const whole = replaced.tensors > 0 ? `, and ${replaced.tensors} tensors replaced` : "";
  return `adapter ${name}: ${modules} modules (${by}), ${parameters.toLocaleString("en")} parameters${whole}`;
}
