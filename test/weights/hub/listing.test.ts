import assert from "node:assert/strict";
import { commitOf, listFiles } from "../../../weights/hub/listing.js";
import { weightsError } from "../helpers.js";
import { COMMIT, FILES, REPOSITORY, withScene } from "./helpers.js";
import { gitSha1, sha256 } from "../../support/hub-server.js";

const file = (change: object = {}): object => ({
  type: "file",
  path: "a.json",
  size: 3,
  oid: "a".repeat(40),
  ...change,
});

describe("weights/hub/listing", () => {
  it("gives each file its size and its hash: SHA-256 of large ones, git's of the others", () =>
    withScene(async ({ connection }) => {
      const files = await listFiles(connection, REPOSITORY, COMMIT);
      assert.equal(files.size, Object.keys(FILES).length);
      for (const [path, { size, etag }] of files) {
        assert.equal(size, FILES[path].length);
        assert.equal(etag, path.endsWith(".safetensors") ? sha256(FILES[path]) : gitSha1(FILES[path]));
      }
    }));

  it("a revision with a slash is one name", () =>
    withScene(async ({ connection, repository, server }) => {
      repository.refs["refs/pr/7"] = COMMIT;
      assert.equal(await commitOf(connection, { repository: REPOSITORY, revision: "refs/pr/7" }), COMMIT);
      assert.equal(server.requests.length, 1);
    }));

  it("what is no commit becomes no path", async () => {
    for (const sha of [undefined, 7, "main", "../../../../etc", "A".repeat(40), `${COMMIT}/x`, "a".repeat(64)]) {
      await withScene(async ({ connection, server }) => {
        server.fault = () => ({ json: { sha } });
        const asked = { repository: REPOSITORY, revision: "main" };
        await assert.rejects(commitOf(connection, asked), weightsError(/names the commit .*, expected 40 hex digits/));
      });
    }
  });

  const refused: [string, unknown, RegExp][] = [
    ["no list", { files: [] }, /expected a list, received/],
    ["an entry that is none", [null], /expected an object, received null/],
    ["no path", [file({ path: 7 })], /expected a path, received 7/],
    ["a path that leaves", [file({ path: "../a" })], /does not stay in the folder/],
    ["a path from the root", [file({ path: "/etc/passwd" })], /does not stay in the folder/],
    ["a path with a hidden way out", [file({ path: "a/../../b" })], /does not stay in the folder/],
    ["a path twice", [file(), file()], /names "a\.json" twice/],
    ["a size that is none", [file({ size: -1 })], /"a\.json" has the size -1/],
    ["a size that is no whole number", [file({ size: 1.5 })], /has the size 1\.5/],
    ["a size as text", [file({ size: "3" })], /has the size "3"/],
    [
      "a hash that is a path",
      [file({ oid: "../../../x" })],
      /has the hash "\.\.\/\.\.\/\.\.\/x", expected 40 hex digits/,
    ],
    ["a large file with a short hash", [file({ lfs: { oid: "a".repeat(40), size: 3 } })], /expected 64 hex digits/],
    ["a large file without a size", [file({ lfs: { oid: "a".repeat(64) } })], /has the size undefined/],
  ];
  for (const [what, json, message] of refused) {
    it(`${what} is refused`, () =>
      withScene(async ({ connection, server }) => {
        server.fault = () => ({ json });
        await assert.rejects(listFiles(connection, REPOSITORY, COMMIT), weightsError(message));
      }));
  }

  it("names that some systems cannot hold, and folders, are left out", () =>
    withScene(async ({ connection, server }) => {
      const odd = ["a:b", "..\\x", "C:\\x", "a\nb"].map((path) => file({ path }));
      server.fault = () => ({ json: [...odd, { type: "directory", path: "../x", oid: "y" }, file()] });
      assert.deepEqual([...(await listFiles(connection, REPOSITORY, COMMIT)).keys()], ["a.json"]);
    }));

  it("names of properties are names like others", () =>
    withScene(async ({ connection, server }) => {
      server.fault = () => ({ json: [file({ path: "__proto__" }), file({ path: "constructor" })] });
      assert.equal((await listFiles(connection, REPOSITORY, COMMIT)).size, 2);
    }));

  it("pages without an end, and a page that is too long, are refused", () =>
    withScene(async ({ connection, server }) => {
      let page = 0;
      server.fault = ({ host }) => ({
        json: [file({ path: `${page++}` })],
        headers: { link: `<${host}?cursor=x>; rel="next"` },
      });
      await assert.rejects(listFiles(connection, REPOSITORY, COMMIT), weightsError(/longer than 20 pages/));
      assert.equal(server.requests.length, 20);
      server.fault = () => ({ json: ["x".repeat(2 ** 24)] });
      await assert.rejects(
        listFiles(connection, REPOSITORY, COMMIT),
        weightsError(/an answer longer than 16777216 bytes/),
      );
    }));

  it("an answer that is no JSON is refused", () =>
    withScene(async ({ connection, server }) => {
      server.fault = () => ({ headers: { "content-encoding": "gzip" } });
      await assert.rejects(listFiles(connection, REPOSITORY, COMMIT), weightsError(/google\/tiny-mix@0123/));
    }));
});
