import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GivenSettings, hubSettings } from "../../../weights/hub/settings.js";
import { weightsError } from "../helpers.js";

describe("weights/hub/settings", () => {
  let home: string;
  before(async () => {
    home = await mkdtemp(join(tmpdir(), "paligemma-home-"));
  });
  after(() => rm(home, { recursive: true, force: true }));
  const of = (env: Record<string, string> = {}, given: GivenSettings = {}) => hubSettings(given, { env, home });

  it("are the Hub and the cache of huggingface_hub", async () => {
    assert.deepEqual(await of(), {
      endpoint: "https://huggingface.co",
      cacheDir: join(home, ".cache/huggingface/hub"),
      token: null,
      offline: false,
      symlinks: true,
    });
  });

  const places: [Record<string, string>, string][] = [
    [{ XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub"],
    [{ XDG_CACHE_HOME: "/x", HF_HOME: "/h" }, "/h/hub"],
    [{ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/old" }, "/old"],
    [{ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/old", HF_HUB_CACHE: "/c" }, "/c"],
    [{ HF_HOME: "$BIG/${WHERE}/$none", BIG: "/big", WHERE: "models" }, "/big/models/$none/hub"],
  ];
  for (const [env, place] of places) {
    it(`${JSON.stringify(env)} puts the cache into ${place}`, async () => {
      assert.equal((await of(env)).cacheDir, place);
    });
  }
  it("a cache given with the call is first, and ~ is the home folder", async () => {
    assert.equal((await of({ HF_HUB_CACHE: "/c" }, { cacheDir: "~/mine" })).cacheDir, join(home, "mine"));
    assert.equal((await of({ HF_HOME: "~" })).cacheDir, join(home, "hub"));
    assert.equal((await of({ HF_HOME: "/a/~/b" })).cacheDir, "/a/~/b/hub");
  });

  it("HF_ENDPOINT is an address, its last slash without meaning", async () => {
    assert.equal((await of({ HF_ENDPOINT: "http://mirror:8080/hub//" })).endpoint, "http://mirror:8080/hub");
    for (const wrong of ["mirror", "ftp://x", "https://a:b@x", "https://x?y", "https://x#y", "file:///x"]) {
      await assert.rejects(
        of({ HF_ENDPOINT: wrong }),
        weightsError(/HF_ENDPOINT: expected an http\(s\) address/),
        wrong,
      );
    }
  });

  it("1, on, yes and true switch, in any case; anything else does not", async () => {
    for (const yes of ["1", "on", "ON", "Yes", "true"]) {
      assert.equal((await of({ HF_HUB_OFFLINE: yes })).offline, true);
      assert.equal((await of({ TRANSFORMERS_OFFLINE: yes })).offline, true);
      assert.equal((await of({ HF_HUB_DISABLE_SYMLINKS: yes })).symlinks, false);
    }
    for (const no of ["", "0", "no", "2"]) assert.equal((await of({ HF_HUB_OFFLINE: no })).offline, false);
  });

  it("the token: the call's, HF_TOKEN, the older name, the file that HF_TOKEN_PATH or HF_HOME names", async () => {
    const folder = join(home, "hf");
    await mkdir(folder);
    await writeFile(join(folder, "token"), "hf_stored\n");
    await writeFile(join(home, "elsewhere"), "hf_elsewhere");
    const env: Record<string, string> = { HF_HOME: folder };
    const token = async (given?: string | false) => (await of(env, { token: given })).token;
    assert.deepEqual(await token(), { value: "hf_stored", from: `of ${join(folder, "token")}` });
    env.HF_TOKEN_PATH = "~/elsewhere";
    assert.equal((await token())!.value, "hf_elsewhere");
    env.HUGGING_FACE_HUB_TOKEN = "hf_old";
    assert.deepEqual(await token(), { value: "hf_old", from: "of HUGGING_FACE_HUB_TOKEN" });
    env.HF_TOKEN = "hf_new\n";
    assert.deepEqual(await token(), { value: "hf_new", from: "of HF_TOKEN" });
    assert.deepEqual(await token("hf_given"), { value: "hf_given", from: "given with the call" });
    assert.equal(await token(false), null);
    env.HF_HUB_DISABLE_IMPLICIT_TOKEN = "1";
    assert.equal(await token(), null);
    assert.equal((await token("hf_given"))!.value, "hf_given");
  });

  it("what cannot be a token is refused without being shown", async () => {
    for (const wrong of ["hf_a b", "hf_a\nhf_b", "hf_ä", "hf_a\0"]) {
      const error = await of({ HF_TOKEN: wrong }).then(
        () => assert.fail("it was taken"),
        (reason: unknown) => reason as Error,
      );
      assert.equal(
        error.message,
        "the access token of HF_TOKEN holds spaces or letters that no token has; copy it again",
      );
    }
    assert.equal((await of({ HF_TOKEN: "  " })).token, null);
  });

  it("a token file that is a pipe is not waited for", async () => {
    const pipe = join(home, "pipe");
    execFileSync("mkfifo", [pipe]);
    await assert.rejects(of({ HF_TOKEN_PATH: pipe }), weightsError(/the token cannot be read \(.* received a pipe/));
  });

  it("a token file that cannot be read is told", async () => {
    await assert.rejects(
      of({ HF_TOKEN_PATH: home }),
      weightsError(/the token cannot be read \(expected a regular file, received a folder/),
    );
  });
});
