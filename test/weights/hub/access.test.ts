import assert from "node:assert/strict";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ask, discard } from "../../../weights/hub/request.js";
import { StallWatch } from "../../../weights/hub/stall-watch.js";
import { WeightsError } from "../../../weights/errors.js";
import { FILES, filesOf, NEEDED, only, REPOSITORY, type Scene, withScene } from "./helpers.js";
import { weightsError } from "../helpers.js";

const TOKEN = "hf_abcDEF123";
const gated = (body: (scene: Scene) => Promise<void>, about = {}) => withScene(body, FILES, { token: TOKEN, ...about });

describe("weights/hub: tokens and refusals", () => {
  it("the token goes with every request to the Hub, and to no other host", () =>
    gated(async ({ download, server }) => {
      assert.deepEqual(await filesOf(await download({ token: TOKEN })), only(FILES, NEEDED));
      const sent = (host: string) =>
        server.requests.filter((request) => request.host === host).map(({ headers }) => headers.authorization);
      assert.deepEqual([...new Set(sent("hub"))], [`Bearer ${TOKEN}`]);
      assert.deepEqual([...new Set(sent("store"))], [undefined]);
      assert.equal(sent("store").length, 2);
    }));

  it("it comes from the environment or the token file, and can be left out", () =>
    gated(async ({ download, env, server, home }) => {
      const sends = async (wanted: string | undefined, options = {}) => {
        server.requests.length = 0;
        await download(options).catch(() => {});
        assert.equal(server.requests[0].headers.authorization, wanted && `Bearer ${wanted}`);
      };
      await sends(undefined);
      await writeFile(join(home, "token"), "hf_file\n");
      await sends("hf_file");
      env.HF_TOKEN = " hf_env\n";
      await sends("hf_env");
      await sends("hf_given", { token: "hf_given" });
      await sends(undefined, { token: false });
    }));

  it("a gated model without a token: the page to visit and how to give one", () =>
    gated(async ({ download, server }) => {
      const page = `${server.endpoint}/${REPOSITORY}`;
      const told = weightsError(
        /model\.safetensors\.index\.json: the model is gated/,
        new RegExp(`visit ${page}, signed in, and accept the licence, then give an access token of that account`),
        /HF_TOKEN, --token or `hf auth login`; make one at https:\/\/huggingface\.co\/settings\/tokens/,
      );
      await assert.rejects(download(), told);
    }));

  it("a gated model with a token that has no access: the same page, with that account", () =>
    gated(async ({ download, server, env }) => {
      env.HF_TOKEN = TOKEN;
      server.fault = ({ path }) =>
        path.includes("/resolve/") ? { status: 403, headers: { "x-error-code": "GatedRepo" } } : undefined;
      const told = weightsError(
        /gated, and the account of the access token of HF_TOKEN has no access to it; visit http/,
      );
      await assert.rejects(download(), told);
    }));

  it("a token that the Hub does not know, and one that it sends back, are never shown", () =>
    gated(async ({ download, server, notices }) => {
      const secret = "hf_wrongSECRET";
      const refused: [object, RegExp][] = [
        [{}, /the Hub does not accept the access token given with the call; make one at/],
        [
          { status: 403, headers: { "x-error-message": `no ${secret}, no entry` } },
          /the Hub answered 403: "no \*\*\*, no entry"/,
        ],
        [{ status: 418, headers: { "x-error-message": secret } }, /the Hub answered 418: "\*\*\*"/],
        [
          { status: 404, headers: { "x-error-message": secret } },
          /no such repository, or none to see for the access token given/,
        ],
        [
          { status: 404, headers: { "x-error-code": "EntryNotFound" } },
          /index\.json: there is no such file at that revision/,
        ],
        [{ status: 500, headers: { "x-error-message": secret } }, /answered 500; tried 5 times/],
      ];
      for (const [fault, message] of refused) {
        server.fault = ({ path }) => (path.includes("/resolve/") ? fault : undefined);
        const error = await download({ token: secret }).then(
          () => assert.fail("it arrived"),
          (reason: unknown) => reason as Error,
        );
        assert.ok(error instanceof WeightsError);
        assert.match(error.message, message);
        assert.ok(![error.message, error.stack, ...notices].some((text) => text!.includes(secret)));
      }
    }));

  it("a repository that is not there, or not to be seen", () =>
    gated(
      async ({ download }) => {
        await assert.rejects(
          download(),
          weightsError(/has no such repository, or none to see without an access token \(HF_TOKEN, --token/),
        );
        assert.deepEqual(await filesOf(await download({ token: TOKEN })), only(FILES, NEEDED));
      },
      { hidden: true },
    ));

  it("a store that refuses is not taken for the Hub", () =>
    withScene(async ({ download, server }) => {
      server.fault = ({ host }) =>
        host === "store" ? { status: 401, headers: { "x-error-code": "GatedRepo" } } : undefined;
      const told = /model-\d\.safetensors: the host 127\.0\.0\.1:\d+, where the Hub keeps it, answered 401/;
      await assert.rejects(download(), weightsError(told));
    }));

  describe("redirects", () => {
    type Seen = { url: string; headers: IncomingHttpHeaders };
    let servers: Server[] = [];
    const serve = async (answer: (url: string) => { status: number; location?: string }): Promise<[string, Seen[]]> => {
      const seen: Seen[] = [];
      const server = createServer((request, response) => {
        seen.push({ url: request.url!, headers: request.headers });
        const { status, location } = answer(request.url!);
        response.writeHead(status, { ...(location && { location }), "x-who": request.url! }).end("body");
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      servers.push(server);
      return [`http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen];
    };
    afterEach(() => {
      for (const server of servers) server.close();
      servers = [];
    });
    const get = async (endpoint: string, path: string, headers?: (url: URL) => Record<string, string>) => {
      const watch = new StallWatch(5000, undefined);
      const token = { value: TOKEN, from: "of a test" };
      try {
        const answer = await ask({ endpoint, token }, `${endpoint}${path}`, watch, headers);
        discard(answer.response);
        return answer;
      } finally {
        watch.stop();
      }
    };

    for (const status of [301, 302, 303, 307, 308]) {
      it(`${status}: the token stays behind when another host comes in between, even where it leads back`, async () => {
        const moves: Record<string, { status: number; location?: string }> = {};
        const [home, atHome] = await serve((url) => moves[url] ?? { status: 200 });
        const [other, away] = await serve(() => ({ status, location: `${home}/back` }));
        moves["/start"] = { status, location: "/renamed?x=1" };
        moves["/renamed?x=1"] = { status, location: `${other}/away` };
        const answer = await get(home, "/start", (url) => ({ "x-port": url.port }));
        assert.equal(answer.url.href, `${home}/back`);
        assert.deepEqual(
          atHome.map(({ headers }) => headers.authorization),
          [`Bearer ${TOKEN}`, `Bearer ${TOKEN}`, undefined],
        );
        assert.deepEqual(
          away.map(({ url, headers }) => [url, headers.authorization, headers["x-port"]]),
          [["/away", undefined, new URL(other).port]],
        );
      });
    }

    it("the Hub's headers are those of its own last answer", async () => {
      const [other] = await serve(() => ({ status: 200 }));
      const [home] = await serve((url) => ({ status: 302, location: url === "/a" ? "/b" : `${other}/c` }));
      const { hub, response } = await get(home, "/a");
      assert.deepEqual([hub.get("x-who"), response.headers.get("x-who")], ["/b", "/c"]);
    });

    it("the same name with another port, or with another scheme, is another host", async () => {
      const [other, seen] = await serve(() => ({ status: 200 }));
      const [home] = await serve(() => ({ status: 302, location: other.replace("127.0.0.1", "localhost") }));
      await get(home, "/a").catch(() => {}); // where localhost is another address nothing answers
      for (const { headers } of seen) assert.equal(headers.authorization, undefined);
    });

    it("a loop, another scheme and names inside an address are refused", async () => {
      const [loop] = await serve(() => ({ status: 302, location: "/again" }));
      await assert.rejects(get(loop, "/a"), weightsError(/\/a: redirected more than 10 times/));
      for (const location of ["file:///etc/passwd", "ftp://x/y", "http://", "http://a:b@127.0.0.1/"]) {
        const [home] = await serve(() => ({ status: 302, location }));
        await assert.rejects(
          get(home, "/a"),
          weightsError(/\/a: redirected to what is no http\(s\) address as safe/),
          location,
        );
      }
    });
  });
});
