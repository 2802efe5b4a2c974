import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { demoCheckpoint } from "../../src/base/demo-checkpoint.js";
import { HubServer, type ServedRepository } from "./hub-server.js";

/** The variables that say where the Hub and its cache are. */
const VARIABLES = [
  "HF_ENDPOINT",
  "HF_HOME",
  "HF_HUB_CACHE",
  "HUGGINGFACE_HUB_CACHE",
  "HF_TOKEN",
  "HF_TOKEN_PATH",
  "HUGGING_FACE_HUB_TOKEN",
  "HF_HUB_DISABLE_IMPLICIT_TOKEN",
  "HF_HUB_DISABLE_SYMLINKS",
  "HF_HUB_OFFLINE",
  "TRANSFORMERS_OFFLINE",
];

/** What `main` and `bfloat16` mean: the same files. */
export const DEMO_COMMIT = "00112233445566778899aabbccddeeff00112233";
export const BFLOAT16_COMMIT = "ffeeddccbbaa99887766554433221100ffeeddcc";

/** A Hub on this machine that serves the demo checkpoint under other names, and an empty home for its cache. */
export class DemoHub {
  private constructor(
    readonly server: HubServer,
    readonly home: string,
    private readonly before: Record<string, string | undefined>,
  ) {}

  /**
   * Starts it and lets the environment of this process point to it. `about` a repository: what else the server should
   * know.
   */
  static async start(repositories: Record<string, Partial<ServedRepository>>): Promise<DemoHub> {
    const folder = demoCheckpoint();
    const files: Record<string, Buffer> = {};
    for (const file of await readdir(folder)) files[file] = await readFile(path.join(folder, file));
    const commits = { [DEMO_COMMIT]: files, [BFLOAT16_COMMIT]: files };
    const refs = { main: DEMO_COMMIT, bfloat16: BFLOAT16_COMMIT };
    const served = Object.entries(repositories).map(([name, about]) => [name, { commits, refs, ...about }]);
    const server = await HubServer.start(Object.fromEntries(served) as Record<string, ServedRepository>);
    const home = await mkdtemp(path.join(tmpdir(), "paligemma-demo-hub-"));
    const before = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]]));
    for (const name of VARIABLES) delete process.env[name];
    Object.assign(process.env, { HF_ENDPOINT: server.endpoint, HF_HOME: home });
    return new DemoHub(server, home, before);
  }

  /** Ends it, and puts the environment back. */
  async stop(): Promise<void> {
    for (const [name, value] of Object.entries(this.before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    await this.server.close();
    await rm(this.home, { recursive: true, force: true });
  }
}
