/**
 * What an option's value has to be: in words, and as a check. An option that is `undefined` is left out, and is not
 * checked.
 */
export type Kind = { readonly expected: string; readonly accepts: (value: unknown) => boolean };

/**
 * The kind of every option of a call: one that the type has and the list lacks, or the other way round, does not
 * compile.
 */
export type OptionKinds<Options> = Readonly<Record<keyof Options, Kind>>;

/** Any value: what is done with it checks it. */
export const anything: Kind = { expected: "a value", accepts: () => true };
/** true or false. */
export const flag: Kind = { expected: "true or false", accepts: (value) => typeof value === "boolean" };
/** A text. */
export const text: Kind = { expected: "text", accepts: (value) => typeof value === "string" };
/** A number; what is done with it checks its range. */
export const number: Kind = { expected: "a number", accepts: (value) => typeof value === "number" };
/** A function. */
export const callback: Kind = { expected: "a function", accepts: (value) => typeof value === "function" };
/** A list; what is done with it checks what it holds. */
export const list: Kind = { expected: "a list", accepts: (value) => Array.isArray(value) };
/** An AbortSignal, of whatever library. */
export const abortSignal: Kind = {
  expected: "an AbortSignal",
  accepts: (value) => {
    const { aborted, addEventListener, throwIfAborted } = (value ?? {}) as Partial<Record<keyof AbortSignal, unknown>>;
    return (
      typeof aborted === "boolean" && typeof addEventListener === "function" && typeof throwIfAborted === "function"
    );
  },
};

/** A list whose entries are all of one kind; `expected` says so in words. */
export const listOf = (kind: Kind, expected: string): Kind => ({
  expected,
  accepts: (value) => Array.isArray(value) && value.every(kind.accepts),
});

/** One of several kinds. */
export const either = (...kinds: readonly Kind[]): Kind => ({
  expected: kinds.map(({ expected }) => expected).join(" or "),
  accepts: (value) => kinds.some((kind) => kind.accepts(value)),
});

/** One of some values. */
export const oneOf = (...values: readonly (string | number | boolean | null)[]): Kind => ({
  expected: values.map((value) => JSON.stringify(value)).join(" or "),
  accepts: (value) => values.includes(value as string),
});

/** Texts, or a single one. */
export const textOrTexts: Kind = either(text, listOf(text, "a list of texts"));

/** Whether a value is an object such as a literal makes, and no array, map, promise or primitive. */
export const isPlain = (value: unknown): boolean => Object.prototype.toString.call(value) === "[object Object]";

/**
 * What is wrong with the options of a call, in one sentence, or null: they are no object, one of them has a name that
 * `kinds` lacks (the sentence tells the nearest), or a value of another kind.
 */
export function faultOfOptions(where: string, options: unknown, kinds: Readonly<Record<string, Kind>>): string | null {
  if (!isPlain(options)) {
    const some = Object.keys(kinds).slice(0, 2).join(", ");
    return `${where}: expected an object such as { ${some} }, received ${described(options)}`;
  }
  for (const name in options as object) {
    if (!Object.hasOwn(kinds, name)) return `${where}: unknown option "${name}"; ${hintFor(name, Object.keys(kinds))}`;
    const value = (options as Record<string, unknown>)[name];
    const { expected, accepts } = kinds[name]!;
    if (value !== undefined && !accepts(value)) {
      return `${where}: ${name}: expected ${expected}, received ${described(value)}`;
    }
  }
  return null;
}

/** Advice for an unknown name: the known one that is meant, or all that there are. */
function hintFor(name: string, known: readonly string[]): string {
  const near = nearestName(name, known);
  return near === null ? `there are ${known.join(", ")}` : `did you mean "${near}"?`;
}

/** Least length of a name that is looked for inside of another. */
const LEAST_PART = 4;

/**
 * The known name that another one is likeliest to mean, or null: equal but for capitals and underscores, a few letters
 * off (one in three), part of it or the other way round, or with a word in common. Of equally near ones the first.
 */
export function nearestName(name: string, known: readonly string[]): string | null {
  const plain = (one: string) => one.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
  const asked = plain(name);
  const rated = known.map((one) => ({ one, distance: editDistance(asked, plain(one)) }));
  const nearest = rated.reduce((best, next) => (next.distance < best.distance ? next : best), rated[0]!);
  if (nearest.distance <= Math.max(asked.length, plain(nearest.one).length) / 3) return nearest.one;
  const inside = (part: string, whole: string) => part.length >= LEAST_PART && whole.includes(part);
  const part = known.find((one) => inside(plain(one), asked) || inside(asked, plain(one)));
  return part ?? known.find((one) => wordsOf(one).some((word) => wordsOf(name).includes(word))) ?? null;
}

/** Words of camelCase and snake_case, of at least `LEAST_PART` letters. */
const wordsOf = (name: string): string[] =>
  name
    .replace(/([a-z\d])([A-Z])/g, "$1_$2")
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter(({ length }) => length >= LEAST_PART);

/** Letters that are put in, taken out or replaced to make `b` of `a`: the distance of Levenshtein, in O(|a| · |b|). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** Longest value that a message shows whole. */
const SHOWN = 60;

/** A received value as a message shows it, whatever it is: never long, and without a stack or bytes. */
export function described(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return value.length > SHOWN ? `"${value.slice(0, SHOWN)}..."` : JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (typeof value !== "object" || value === null) return String(value);
  const { name = "" } = (value.constructor ?? {}) as { name?: string };
  return typeof name === "string" && name !== "" && name !== "Object" ? `an object of the kind ${name}` : "an object";
}
