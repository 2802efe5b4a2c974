import assert from "node:assert/strict";

import { colourAt, colourTable, hexOf, inkOn, luminance, type Rgb } from "../../../src/pictures/colour-map.js";

const fractions = Array.from({ length: 256 }, (_, i) => i / 255);

/**
 * What an eye without red (protan) or green (deutan) cones sees. Source: Machado, Oliveira, Fernandes 2009, severity 1.
 */
const DEFICIENCIES = {
  protan: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  deutan: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
};

/** Relative luminance of a colour as such an eye sees it; the matrices are for linear light. */
function luminanceSeenBy(matrix: readonly number[], colour: Rgb): number {
  const light = colour.map((part) => luminance([part, part, part]));
  const at = (row: number) => light.reduce((sum, part, i) => sum + matrix[3 * row + i] * part, 0);
  return 0.2126 * at(0) + 0.7152 * at(1) + 0.0722 * at(2);
}

describe("colour maps", () => {
  it("grow lighter with every step of the sequential one, for every kind of colour vision", () => {
    const all = [1, 0, 0, 0, 1, 0, 0, 0, 1];
    for (const matrix of [all, ...Object.values(DEFICIENCIES)]) {
      const light = fractions.map((at) => luminanceSeenBy(matrix, colourAt("sequential", at)));
      for (let i = 8; i < light.length; i++) assert.ok(light[i] > light[i - 8], `step ${i}`);
    }
  });

  it("are lightest in the middle of the diverging one, blue below it and red above", () => {
    const light = fractions.map((at) => luminance(colourAt("diverging", at)));
    const middle = light.indexOf(Math.max(...light));
    assert.ok(Math.abs(middle - 127.5) < 4, `lightest at ${middle}`);
    const [low, high] = [colourAt("diverging", 0.1), colourAt("diverging", 0.9)];
    assert.ok(low[2] > low[0] && high[0] > high[2]);
  });

  it("hold their ends beyond [0, 1], and a table is a copy of 256 colours", () => {
    assert.deepEqual(colourAt("sequential", -3), colourAt("sequential", 0));
    assert.deepEqual(colourAt("sequential", 7), colourAt("sequential", 1));
    const table = colourTable("sequential");
    assert.equal(table.length, 256 * 3);
    assert.deepEqual([...table.subarray(765)], [...colourAt("sequential", 1)]);
    table.fill(0);
    assert.notDeepEqual(colourAt("sequential", 1), [0, 0, 0]);
  });

  it("carry letters with a contrast of at least 4.5, the least that is called readable", () => {
    for (const map of ["sequential", "diverging"] as const) {
      for (const at of fractions) {
        const [paper, ink] = [luminance(colourAt(map, at)), inkOn(colourAt(map, at)) === "#000000" ? 0 : 1];
        const contrast = (Math.max(paper, ink) + 0.05) / (Math.min(paper, ink) + 0.05);
        assert.ok(contrast >= 4.5, `${map} at ${at}: ${contrast}`);
      }
    }
  });

  it("are written in hexadecimal with both digits", () => assert.equal(hexOf([5, 0, 255]), "#0500ff"));
});
