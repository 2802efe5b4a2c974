import { strict as assert } from "node:assert";

import { describeSegments, segmentsOf } from "../../../src/model/segments.js";

const row = (ids: number[], real: number[], types: number[]) => ({
  inputIds: ids,
  attentionMask: real,
  tokenTypeIds: types,
  imageTokenId: 9,
  bosTokenId: 2,
});

describe("segments", () => {
  it("of a prompt are image, bos, prefix and the closing newline", () => {
    const segments = segmentsOf(row([9, 9, 9, 2, 5, 6, 7], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]));
    assert.equal(describeSegments(segments), "image:[0,3) bos:3 prefix:[4,6) newline:6");
  });
  it("name pads and what follows the prompt", () => {
    const segments = segmentsOf(row([0, 9, 9, 2, 7, 5, 1], [0, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1]));
    assert.equal(describeSegments(segments), "pad:0 image:[1,3) bos:3 newline:4 suffix:[5,7)");
  });
  it("keep a begin mark typed into the prompt with the prompt", () => {
    const segments = segmentsOf(row([9, 2, 5, 2, 7], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]));
    assert.equal(describeSegments(segments), "image:0 bos:1 prefix:[2,4) newline:4");
  });
  it("cover every position once", () => {
    const segments = segmentsOf(row([0, 0, 9, 2, 5, 7, 3], [0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1]));
    assert.equal(segments[0].start, 0);
    assert.equal(segments.at(-1)!.end, 7);
    segments.slice(1).forEach((segment, i) => assert.equal(segment.start, segments[i].end));
  });
});
