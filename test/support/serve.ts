import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

/** One request: the file, and how many bytes were sent for it. */
export type Served = { file: string; bytes: number };

/** Serves a folder with ranges on this machine while `body` runs, and returns what was asked for. */
export async function requestsOf(folder: string, body: (url: string) => Promise<void>): Promise<Served[]> {
  const served: Served[] = [];
  const server = createServer((request, response) => {
    const file = path.basename(new URL(request.url!, "http://localhost").pathname);
    if (!existsSync(path.join(folder, file))) return void response.writeHead(404).end();
    const bytes = readFileSync(path.join(folder, file));
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const [start, end] = range ? [Number(range[1]), Math.min(Number(range[2]) + 1, bytes.length)] : [0, bytes.length];
    if (request.method !== "HEAD") served.push({ file, bytes: end - start });
    const headers = { "content-length": end - start, "content-range": `bytes ${start}-${end - 1}/${bytes.length}` };
    response.writeHead(range ? 206 : 200, headers).end(bytes.subarray(start, end));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await body(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  } finally {
    server.close();
  }
  return served;
}
