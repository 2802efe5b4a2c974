import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type HubConnection, PATIENCE, type Patience } from "../../../weights/hub/connection.js";
import type { HubTools } from "../../../weights/hub/resolve-revision.js";
import { downloadModel, type DownloadOptions } from "../../../weights/hub/download.js";
import { HubServer, type ServedRepository } from "../../support/hub-server.js";
import { randomBytes, randomOf } from "../helpers.js";

export const REPOSITORY = "google/tiny-mix";
export const COMMIT = "0123456789abcdef0123456789abcdef01234567";

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const random = randomOf(17);

/** A sharded model with everything that a repository on the Hub has beside it. */
export const FILES: Record<string, Buffer> = {
  ".gitattributes": Buffer.from("*.safetensors filter=lfs\n"),
  "README.md": Buffer.from("# Tiny\n"),
  "config.json": json({ model_type: "paligemma" }),
  "generation_config.json": json({ eos_token_id: 1 }),
  "preprocessor_config.json": json({ size: 224 }),
  "special_tokens_map.json": json({}),
  "tokenizer.json": json({ model: "x".repeat(3000) }),
  "tokenizer.model": Buffer.from(randomBytes(2000, random)),
  "tokenizer_config.json": json({ bos_token: "<bos>" }),
  "model.safetensors.index.json": json({
    weight_map: { a: "model-1.safetensors", b: "model-2.safetensors", c: "model-1.safetensors" },
  }),
  "model-1.safetensors": Buffer.from(randomBytes(300_001, random)),
  "model-2.safetensors": Buffer.from(randomBytes(200_003, random)),
  "extra.safetensors": Buffer.from(randomBytes(100, random)),
  "pytorch_model.bin": Buffer.from("a pickle"),
  "model.gguf": Buffer.from("GGUF"),
  "events/events.out": Buffer.from("logs"),
};
/** Those of them that a model needs. */
export const NEEDED = Object.keys(FILES).filter(
  (path) => !/^(\.git|README|extra|pytorch|model\.gguf|events)/.test(path),
);

/** Never pauses. */
export const IMPATIENT: Patience = {
  ...PATIENCE,
  progress: 50_000,
  poll: 1,
  wait: async (_milliseconds, signal) => {
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
  },
};

/** And gives silence up soon. */
export const RESTLESS: Patience = { ...IMPATIENT, stall: 250 };

/** The environment of this process without what says where the Hub is, and with `env`. */
export const environment = (env: Record<string, string>): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(HF_|HUGGING|TRANSFORMERS_)/.test(name))),
  ...env,
});

/** A served repository, an empty home, and a download between them. */
export type Scene = {
  server: HubServer;
  cache: string;
  home: string;
  env: Record<string, string>;
  repository: ServedRepository;
  notices: string[];
  connection: HubConnection;
  download(options?: DownloadOptions, tools?: HubTools): Promise<string>;
};

/** Runs `body` with a server of `files` at one commit, which is `main`. */
export async function withScene(
  body: (scene: Scene) => Promise<void>,
  files: Record<string, Buffer> = FILES,
  about: Partial<ServedRepository> = {},
): Promise<void> {
  const repository: ServedRepository = { commits: { [COMMIT]: files }, refs: { main: COMMIT }, ...about };
  const server = await HubServer.start({ [REPOSITORY]: repository });
  const home = await mkdtemp(join(tmpdir(), "paligemma-hub-"));
  const env = { HF_ENDPOINT: server.endpoint, HF_HOME: home };
  const notices: string[] = [];
  const onNotice = (text: string) => void notices.push(text);
  const connection = { endpoint: server.endpoint, token: null, patience: IMPATIENT, onNotice };
  const download = (options: DownloadOptions = {}, tools: HubTools = {}) =>
    downloadModel(REPOSITORY, { onNotice, ...options }, { around: { env, home }, patience: IMPATIENT, ...tools });
  try {
    await body({ server, cache: join(home, "hub"), home, env, repository, notices, connection, download });
  } finally {
    await server.close();
    await rm(home, { recursive: true, force: true });
  }
}

/** Every file below a folder, links followed, by its relative path. */
export async function filesOf(folder: string): Promise<Record<string, Buffer>> {
  const found: Record<string, Buffer> = {};
  const visit = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) await visit(path);
      else found[path] = await readFile(join(folder, path));
    }
  };
  await visit("");
  return found;
}

export const only = (files: Record<string, Buffer>, paths: readonly string[]): Record<string, Buffer> =>
  Object.fromEntries(paths.map((path) => [path, files[path]]));
