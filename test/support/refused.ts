import assert from "node:assert/strict";

import { InputError } from "../../src/base/errors.js";
import { counts } from "./backends.js";

/** Asserts that a call is refused with an `InputError` of this message, and leaves no tensor behind. */
export async function refused(call: () => unknown, message: RegExp): Promise<void> {
  const before = counts();
  await assert.rejects(
    async () => call(),
    (error: Error) => {
      assert.match(error.message, message);
      return error instanceof InputError;
    },
  );
  assert.deepEqual(counts(), before);
}
