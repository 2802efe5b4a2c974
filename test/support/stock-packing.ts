// A process of its own: which kernels a process uses is decided when TensorFlow is loaded.
import { useBackend } from "../../src/backends/backend.js";
import { UploadingHolder } from "../../src/backends/native/stock-kernels.js";
import { counts } from "./backends.js";
import { expectLogits, expectPacking, PACKED_MODELS } from "./packed-matrices.js";

await useBackend("tensorflow");
const before = counts();
const holder = new UploadingHolder(null, () => null);
const matrices = await expectPacking(holder);
holder.close();
// The matrices that bitsandbytes leaves alone are of 16 bit: a GPU rounds what they are multiplied by.
const limit = process.env.PALIGEMMA_KERNELS === "gpu" ? 1e-2 : 1e-5;
for (const name of PACKED_MODELS) await expectLogits(name, limit);
const after = counts();
const leaked = { tensors: after.tensors - before.tensors, handles: after.handles - before.handles };
console.log(JSON.stringify({ matrices, models: PACKED_MODELS.length, leaked }));
