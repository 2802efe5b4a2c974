import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * The arrays of PaliGemma 3B at 224 pixels, as big_vision writes `pt_224.bf16.npz`. Source: shared with
 * weights/big-vision.ts, and the sizes of google/paligemma-3b-pt-224, config.json.
 */
export const PUBLISHED_SHAPES: Readonly<Record<string, readonly number[]>> = {
  ...under("img", {
    "embedding/kernel": [14, 14, 3, 1152],
    "embedding/bias": [1152],
    pos_embedding: [1, 256, 1152],
    "head/kernel": [1152, 2048],
    "head/bias": [2048],
  }),
  ...under("img/Transformer", { "encoder_norm/scale": [1152], "encoder_norm/bias": [1152] }),
  ...under("img/Transformer/encoderblock", {
    "LayerNorm_0/scale": [27, 1152],
    "LayerNorm_0/bias": [27, 1152],
    "LayerNorm_1/scale": [27, 1152],
    "LayerNorm_1/bias": [27, 1152],
    "MlpBlock_0/Dense_0/kernel": [27, 1152, 4304],
    "MlpBlock_0/Dense_0/bias": [27, 4304],
    "MlpBlock_0/Dense_1/kernel": [27, 4304, 1152],
    "MlpBlock_0/Dense_1/bias": [27, 1152],
  }),
  ...under("img/Transformer/encoderblock/MultiHeadDotProductAttention_0", {
    "query/kernel": [27, 1152, 16, 72],
    "query/bias": [27, 16, 72],
    "key/kernel": [27, 1152, 16, 72],
    "key/bias": [27, 16, 72],
    "value/kernel": [27, 1152, 16, 72],
    "value/bias": [27, 16, 72],
    "out/kernel": [27, 16, 72, 1152],
    "out/bias": [27, 1152],
  }),
  ...under("llm", { "embedder/input_embedding": [257152, 2048], "final_norm/scale": [2048] }),
  ...under("llm/layers", {
    "attn/attn_vec_einsum/w": [18, 8, 256, 2048],
    "attn/kv_einsum/w": [18, 2, 1, 2048, 256],
    "attn/q_einsum/w": [18, 8, 2048, 256],
    "mlp/linear": [18, 16384, 2048],
    "pre_attention_norm/scale": [18, 2048],
    "pre_ffw_norm/scale": [18, 2048],
    "mlp/gating_einsum": [18, 2, 2048, 16384], // last: it may end behind 4 GiB, and none may begin there
  }),
};

function under(folder: string, shapes: Record<string, number[]>): Record<string, number[]> {
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [`params/${folder}/${name}`, shape]));
}

/** Bytes at places of a file; the rest of it is zeros. */
type Sparse = { size: number; pieces: [start: number, bytes: Buffer][] };

/**
 * The archive: headers, and zeros where its 5.8 GB of values are. Source: PKWARE APPNOTE 6.3.10, 4.3; NumPy,
 * lib/format.py.
 */
function sparseArchive(): Sparse {
  const pieces: [number, Buffer][] = [];
  const list: Buffer[] = [];
  let at = 0;
  for (const [array, shape] of Object.entries(PUBLISHED_SHAPES)) {
    const axes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
    const header = Buffer.from(`{'descr': '|V2', 'fortran_order': False, 'shape': (${axes}), }\n`);
    const npy = Buffer.concat([Buffer.from("\x93NUMPY\x01\x00", "latin1"), fields([2, header.length]), header]);
    const size = npy.length + 2 * shape.reduce((product, axis) => product * axis, 1);
    const name = Buffer.from(`${array}.npy`);
    const common = [
      [2, 20],
      [2, 0],
      [2, 0],
      [2, 0],
      [2, 0x21],
      [4, 0],
      [4, size],
      [4, size],
      [2, name.length],
      [2, 0],
    ];
    const local = Buffer.concat([fields([4, 0x04034b50], ...pairs(common)), name, npy]);
    const rest = fields([2, 0], [2, 0], [2, 0], [4, 0], [4, at]);
    list.push(fields([4, 0x02014b50], [2, 20], ...pairs(common)), rest, name);
    pieces.push([at, local]);
    at += local.length - npy.length + size;
  }
  const directory = Buffer.concat(list);
  const count = pieces.length;
  const wide = fields([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, count], [8, count]);
  const places = fields([8, directory.length], [8, at]);
  const locator = fields([4, 0x07064b50], [4, 0], [8, at + directory.length], [4, 1]);
  const end = fields(
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, count],
    [2, count],
    [4, directory.length],
    [4, 0xffffffff],
    [2, 0],
  );
  pieces.push([at, Buffer.concat([directory, wide, places, locator, end])]);
  return { size: at + pieces.at(-1)![1].length, pieces };
}

type Field = [width: number, value: number];
const pairs = (list: number[][]): Field[] => list.map(([width, value]) => [width, value]);

/** Numbers of so many bytes each, the lowest byte first. */
function fields(...list: Field[]): Buffer {
  const bytes = Buffer.alloc(list.reduce((sum, [width]) => sum + width, 0));
  let at = 0;
  for (const [width, value] of list) {
    bytes.writeUIntLE(value, at, Math.min(width, 6));
    at += width;
  }
  return bytes;
}

/**
 * Serves the archive, and nothing beside it, while `body` runs with its address; gives the bytes that were asked for.
 */
export async function withPublishedArchive(body: (url: string) => Promise<void>): Promise<number> {
  const { size, pieces } = sparseArchive();
  let sent = 0;
  const server = createServer((request, response) => {
    if (request.url !== "/pt_224.bf16.npz") return void response.writeHead(404).end();
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (!range) return void response.writeHead(request.method === "HEAD" ? 200 : 500).end();
    const [start, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, size)];
    const bytes = Buffer.alloc(end - start);
    for (const [place, piece] of pieces) {
      if (place < end && place + piece.length > start) {
        piece.copy(bytes, Math.max(0, place - start), Math.max(0, start - place), Math.min(piece.length, end - place));
      }
    }
    sent += bytes.length;
    response.writeHead(206, { "content-length": bytes.length, "content-range": `bytes ${start}-${end - 1}/${size}` });
    response.end(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await body(`http://127.0.0.1:${(server.address() as AddressInfo).port}/pt_224.bf16.npz`);
  } finally {
    server.close();
  }
  return sent;
}
