import { describe, it } from "mocha";

const told = new Set<string>();

/**
 * Declares a suite, or, where `absent` says what it lacks on this machine, leaves it pending as a whole: no test and no
 * hook of it runs. With `PALIGEMMA_REQUIRE_<what>=1` the suite is one failing test instead. A hook that skips is no
 * substitute: teardown runs behind it and frees what was never made. Each reason is printed once a process.
 */
export function describeWhere(
  { absent, what }: { absent: string | null; what: string },
  title: string,
  declare: () => void,
): void {
  if (absent === null) {
    describe(title, declare);
  } else if (process.env[`PALIGEMMA_REQUIRE_${what}`] === "1") {
    describe(title, () => {
      it(`PALIGEMMA_REQUIRE_${what} is set: nothing of this suite is absent`, () => {
        throw new Error(absent);
      });
    });
  } else {
    if (!told.has(absent)) console.log(`    (skipped: ${absent})`);
    told.add(absent);
    describe.skip(title, declare);
  }
}
