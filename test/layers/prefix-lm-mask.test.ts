import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { MASKED } from "../../layers/axes.js";
import { maskAsText, prefixLmMask } from "../../layers/prefix-lm-mask.js";
import { fixtures } from "../parity/reference.js";
import { leakFree, onEachBackend } from "../support/backends.js";

type MaskCase = {
  name: string;
  window: number;
  token_type_ids: string[];
  attention_mask: string[];
  full: string[][];
  local: string[][];
};

const { cases } = JSON.parse(readFileSync(path.join(fixtures, "masks.json"), "utf8")) as { cases: MaskCase[] };
const digits = (rows: string[]) => tf.tensor2d(rows.map((row) => [...row].map(Number)));

onEachBackend("the prefix-LM mask", () => {
  for (const { name, window, token_type_ids, attention_mask, full, local } of cases) {
    it(`is transformers' own, cell by cell: ${name}`, () => {
      tf.tidy(() => {
        const [real, types] = [digits(attention_mask), digits(token_type_ids)];
        for (const [expected, width] of [[full, null] as const, [local, window] as const]) {
          const mask = prefixLmMask(real, types, width);
          expected.forEach((lines, row) => assert.equal(`\n${maskAsText(mask, row)}\n`, `\n${lines.join("\n")}\n`));
        }
      });
    });

    it(`of the last positions alone is the end of the whole: ${name}`, () => {
      tf.tidy(() => {
        const [real, types] = [digits(attention_mask), digits(token_type_ids)];
        const whole = maskAsText(prefixLmMask(real, types, window)).split("\n");
        for (const queries of [1, 3]) {
          assert.deepEqual(maskAsText(prefixLmMask(real, types, window, queries)).split("\n"), whole.slice(-queries));
        }
      });
    });
  }

  it("lowers a closed cell by MASKED and an open one by nothing, whatever the type of its inputs", () => {
    tf.tidy(() => {
      const [real, types] = [digits(["01111"]), digits(["00011"])];
      const cells = [real, real.toInt()].map((row) => [...prefixLmMask(row, types, null).dataSync()]);
      const closed = Math.fround(MASKED);
      const expected = ["0", "0", "0"].flatMap(() => [closed, 0, 0, closed, closed]);
      for (const cell of cells) {
        assert.deepEqual(
          cell.map((value) => value + 0),
          [...expected, closed, 0, 0, 0, closed, closed, 0, 0, 0, 0],
        );
      }
    });
  });

  leakFree("keeps only what it returns", () => {
    const [real, types] = [digits(["0111"]), digits(["0011"])];
    prefixLmMask(real, types, 2).dispose();
    tf.dispose([real, types]);
  });
});
