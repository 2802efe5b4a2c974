import assert from "node:assert/strict";
import { copyFile, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bytesOf } from "../../weights/dtype.js";
import { openH5, type H5File } from "../../weights/h5-file.js";
import { h5Library } from "../../weights/h5-library.js";
import { fixtures } from "../parity/reference.js";
import { inTemporaryFolder } from "../support/temporary.js";
import { damaged, randomOf, weightsError } from "./helpers.js";

const { File, ready } = await import("h5wasm");
const preset = join(fixtures, "keras", "tiny-pg1", "model.weights.h5");
const shard = join(fixtures, "keras", "tiny-pg2-sharded", "model_00002.weights.h5");
type Draft = InstanceType<typeof File>;

/** Writes an HDF5 file by h5wasm itself and opens it. */
async function withH5(draw: (file: Draft) => void, body: (path: string) => Promise<void>): Promise<void> {
  const { FS } = await ready;
  const file = new File("/draft.h5", "w");
  draw(file);
  file.close();
  const bytes = FS.readFile("/draft.h5") as Uint8Array;
  FS.unlink("/draft.h5");
  await inTemporaryFolder(async (folder) => {
    const path = join(folder, "file.h5");
    await writeFile(path, bytes);
    await body(path);
  });
}
const refused = (draw: (file: Draft) => void, ...patterns: RegExp[]): Promise<void> =>
  withH5(draw, (path) => assert.rejects(openH5(path), weightsError(/file\.h5/, ...patterns)));

/** Runs `body` with the shard after a change of its bytes. */
async function withDamaged(change: (bytes: Buffer) => void, body: (path: string) => Promise<void>): Promise<void> {
  const bytes = await readFile(shard);
  change(bytes);
  await inTemporaryFolder(async (folder) => {
    const path = join(folder, "file.h5");
    await writeFile(path, bytes);
    await body(path);
  });
}

async function readAll(h5: H5File): Promise<void> {
  for (const { read, dtype, shape } of h5.arrays.values()) {
    await read(
      0,
      shape.reduce((a, b) => a * b, bytesOf(dtype)),
    );
  }
}

describe("weights/h5-file", () => {
  it("lists every array with its path, type and shape, and gives any range of its bytes", async () => {
    const values = Float32Array.from({ length: 60 }, (_, i) => i / 7);
    const draw = (file: Draft): void => {
      file.create_group("a");
      file.create_dataset({ name: "a/b", data: values, shape: [5, 4, 3], dtype: "<f" });
      file.create_dataset({ name: "packed", data: values, shape: [60], dtype: "<f", chunks: [7], compression: 9 });
      file.create_dataset({ name: "count", data: Int32Array.of(-5), shape: [], dtype: "<i" });
      file.create_dataset({ name: "none", data: new Float64Array(0), shape: [0, 3], dtype: "<d" });
    };
    await withH5(draw, async (path) => {
      const h5 = await openH5(path);
      const listed = [...h5.arrays.values()].map(({ name, dtype, shape }) => [name, dtype, shape]);
      const expected = [
        ["a/b", "F32", [5, 4, 3]],
        ["count", "I32", []],
        ["none", "F64", [0, 3]],
        ["packed", "F32", [60]],
      ];
      assert.deepEqual(listed.sort(), expected);
      const bytes = new Uint8Array(values.buffer);
      for (const name of ["a/b", "packed"]) {
        const { read } = h5.arrays.get(name)!;
        for (const [start, end] of [
          [0, 240],
          [0, 1],
          [47, 49],
          [48, 96],
          [239, 240],
          [9, 9],
        ]) {
          assert.deepEqual(await read(start, end), bytes.slice(start, end), `${name} ${start}..${end}`);
        }
        await assert.rejects(read(0, 241), weightsError(/bytes 0\.\.241 were asked for/));
      }
      assert.deepEqual(await h5.arrays.get("count")!.read(0, 4), new Uint8Array(Int32Array.of(-5).buffer));
      assert.equal((await h5.arrays.get("none")!.read(0, 0)).length, 0);
      await h5.close();
      await h5.close();
    });
  });

  it("two bytes are bfloat16 where their attribute says so", async () => {
    const h5 = await openH5(join(fixtures, "keras", "tiny-pg1-task", "model.weights.h5"));
    const types = new Set([...h5.arrays.values()].map(({ dtype }) => dtype));
    assert.deepEqual([...types], ["BF16"]);
    await h5.close();
  });

  it("several files are open at once", async () => {
    const [a, b] = [await openH5(preset), await openH5(preset)];
    const name = "layers/rms_normalization/vars/0";
    const values = await a.arrays.get(name)!.read(0, 128);
    await a.close();
    assert.deepEqual(await b.arrays.get(name)!.read(0, 128), values);
    await b.close();
  });

  it("is refused when it has links, to its own groups or to other files", async () => {
    await refused((file) => {
      file.create_group("a");
      file.create_soft_link("/a", "b");
    }, /"b" is a link, which is not followed/);
    await refused((file) => file.create_external_link("/etc/passwd", "/", "b"), /"b" is a link/);
    await refused((file) => file.create_soft_link("/nowhere", "b"), /"b" is a link/);
  });

  it("is refused when a group has several names, before it is walked once for each", async () => {
    const start = performance.now();
    await refused((file) => {
      let path = "";
      for (let depth = 0; depth < 20; depth++, path += "/a") {
        file.create_group(`${path}/a`);
        for (const name of ["b", "c", "d"]) file.create_hard_link(`${path}/a`, `${path}/${name}`);
      }
    }, /the group "b" is "a" once more; Keras writes each once/);
    assert.ok(performance.now() - start < 3000); // 4^20 names
  });

  it("that is written to while it is read is refused", () =>
    inTemporaryFolder(async (folder) => {
      const path = join(folder, "file.h5");
      await copyFile(preset, path);
      const h5 = await openH5(path);
      const array = h5.arrays.get("layers/rms_normalization/vars/0")!;
      await array.read(0, 128);
      await utimes(path, 1, 1);
      await assert.rejects(array.read(0, 128), weightsError(/file\.h5: .*it was written to while it was in use/));
      await h5.close();
    }));

  it("is refused when it holds itself", () =>
    refused((file) => {
      file.create_group("a");
      file.create_hard_link("/", "a/b");
    }, /the group "a\/b" is the root once more; Keras writes each once/));

  it("is refused when values are no little-endian numbers", async () => {
    await refused((file) => file.create_dataset({ name: "t", data: ["x", "y"] }), /"t" is of HDF5's class 3/);
    const compound = new Map<string, unknown>([
      ["x", Float32Array.of(1)],
      ["y", Int32Array.of(2)],
    ]);
    await refused((file) => file.create_dataset({ name: "c", data: compound as never }), /"c" is of HDF5's class 6/);
    await inTemporaryFolder(async (folder) => {
      const bytes = await readFile(preset);
      // A float of version 1 and 4 bytes, as h5py writes it; the lowest bit behind its class is the order of bytes.
      bytes[bytes.indexOf(Buffer.from([0x11, 0x20, 0x1f, 0, 4, 0, 0, 0])) + 1] |= 1;
      await writeFile(join(folder, "file.h5"), bytes);
      const opening = openH5(join(folder, "file.h5"));
      await assert.rejects(opening, weightsError(/is of HDF5's class 1 of 4 bytes, highest byte first/));
    });
  });

  it("is refused when it is none, empty, or not there", async () => {
    await inTemporaryFolder(async (folder) => {
      for (const [name, bytes] of Object.entries({ "text.h5": "no HDF5 at all", "empty.h5": "" })) {
        await writeFile(join(folder, name), bytes);
        await assert.rejects(
          openH5(join(folder, name)),
          weightsError(new RegExp(name), /is no HDF5 file, or it is damaged/),
        );
      }
      await assert.rejects(openH5(join(folder, "absent.h5")), weightsError(/absent\.h5: cannot be opened .*ENOENT/));
      await assert.rejects(openH5(folder), weightsError(/expected a file, found a folder/));
    });
  });

  it("what is damaged is a typed error or a right reading, and the library still reads good files", async () => {
    const bytes = new Uint8Array(await readFile(preset));
    const random = randomOf(31);
    await inTemporaryFolder(async (folder) => {
      const path = join(folder, "file.h5");
      for (let times = 0; times < 60; times++) {
        const broken = times % 4 === 0 ? bytes.slice(0, Math.floor(random() * bytes.length)) : damaged(bytes, random);
        if (times % 4 === 1) broken.set(damaged(broken.subarray(0, 4096), random)); // where the file describes itself
        await writeFile(path, broken);
        let h5: H5File | null = null;
        try {
          h5 = await openH5(path);
          await readAll(h5);
        } catch (error) {
          weightsError(/file\.h5/)(error);
        }
        await h5?.close();
      }
    });
    const good = await openH5(preset);
    assert.equal(good.arrays.size, 84);
    await readAll(good);
    await good.close();
  });

  it("the text of an attribute is not read: a heap of texts that goes on for ever does no harm", () =>
    withDamaged(
      (bytes) => bytes.writeBigUInt64LE(0xcdc36bca0000000n, bytes.indexOf("GCOL") + 1057), // the length of one of them
      async (path) => {
        const h5 = await openH5(path);
        assert.deepEqual([...new Set([...h5.arrays.values()].map(({ dtype }) => dtype))], ["BF16"]);
        await h5.close();
      },
    ));

  it("two bytes without a meaning are refused where the attribute is not there", () =>
    withDamaged(
      (bytes) => bytes.write("x", bytes.indexOf("dtype\0"), "latin1"),
      (path) => assert.rejects(openH5(path), weightsError(/is of HDF5's class 5 of 2 bytes/)),
    ));

  it("a file that makes the library's memory grow to its end is refused, and that memory is not kept @long", () =>
    withDamaged(
      (bytes) => {
        // A heap of names lists what of it is free: here a place whose next one it is itself.
        for (let at = bytes.indexOf("HEAP"); at >= 0; at = bytes.indexOf("HEAP", at + 1)) {
          const [free, data] = [bytes.readBigUInt64LE(at + 16), bytes.readBigUInt64LE(at + 24)];
          if (free !== 1n) bytes.writeBigUInt64LE(free, Number(data + free));
        }
      },
      async (path) => {
        const before = await h5Library();
        await assert.rejects(openH5(path), weightsError(/file\.h5/));
        assert.ok(before.HEAPU8.length > 2 ** 28 && (await h5Library()).HEAPU8.length < 2 ** 26);
      },
    ));

  it("a list of names that the library cuts short, and only reports, is refused", () =>
    withDamaged(
      (bytes) => bytes.write("XNOD", bytes.lastIndexOf("SNOD"), "latin1"),
      (path) =>
        assert.rejects(openH5(path), weightsError(/list of arrays cannot be read.*bad symbol table node signature/)),
    ));

  it("more bytes at once than there is room for are refused before the library is asked", () =>
    withH5(
      (file) => {
        const data = Float32Array.of(1, 2, 3, 4);
        const large = file.create_dataset({
          name: "a",
          data,
          shape: [1, 4],
          maxshape: [1, null],
          chunks: [1, 4],
          dtype: "<f",
        });
        large.resize([1, 2 ** 31]);
      },
      async (path) => {
        const h5 = await openH5(path);
        const { read, shape } = h5.arrays.get("a")!;
        assert.deepEqual(shape, [1, 2 ** 31]);
        await assert.rejects(
          read(0, 4),
          weightsError(/array "a": 8589934592 bytes are read at once, expected at most/),
        );
        await h5.close();
      },
    ));

  it("after an error files are opened by a fresh library, and those that are open keep theirs", async () => {
    const [before, open] = [await h5Library(), await openH5(shard)];
    assert.equal(await h5Library(), before);
    await withDamaged(
      (bytes) => bytes.write("XNOD", bytes.indexOf("SNOD"), "latin1"), // reported, and nothing was thrown
      (path) => assert.rejects(openH5(path), weightsError(/bad symbol table node signature/)),
    );
    assert.equal(await h5Library(), before);
    await withDamaged(
      (bytes) => bytes.fill(0xff, 96, 120), // the header of the outermost group
      (path) =>
        assert.rejects(openH5(path), weightsError(/file\.h5: is no HDF5 file, or it is damaged \(bad object header/)),
    );
    assert.notEqual(await h5Library(), before);
    await readAll(open);
    await open.close();
    const fresh = await openH5(shard);
    await readAll(fresh);
    await fresh.close();
  });
});
