import fc from "fast-check";

/** A value of JSON as it is written: with keys that occur twice, numbers that no number is, and any depth. */
export type Node =
  | { kind: "raw"; text: string }
  | { kind: "list"; items: Node[] }
  | { kind: "object"; members: [key: string, value: Node][] };

/** What is done to a node: `place` picks the node, `pick` the text or name. */
export type JsonEdit = { op: (typeof JSON_OPS)[number]; place: number; pick: number };

/** What is done to bytes at a place. */
export type ByteEdit = { op: (typeof BYTE_OPS)[number]; at: number; value: number };

const JSON_OPS = [
  "replace",
  "replace",
  "replace",
  "remove",
  "rename",
  "twice",
  "add",
  "deepen",
  "swap",
  "append",
] as const;
const BYTE_OPS = ["bit", "set", "cut", "insert", "delete", "word", "long", "copy"] as const;

/** Texts that stand where a value was. */
const TEXTS = [
  ..."0 1 -1 2 3 7 8 64 255 256 4096 65536 1.5 -0 0.1 true false null {} [] [0] [[]] [1,2] [3,null] [-1,4]".split(" "),
  ..."2147483647 2147483648 4294967295 9007199254740991 9007199254740993 1e15 1e21 1e308 1e999 -1e999 5e-324".split(
    " ",
  ),
  ...['""', '"0"', '"1"', '"NaN"', '"Infinity"', '"__proto__"', '"constructor"', '"..\\/x"', '"\\ud800"', '"\\u0000"'],
  ...[
    '"F32"',
    '"BF16"',
    '"U8"',
    '"nf4"',
    '"fp4"',
    '"float32"',
    '"float16"',
    '"gelu"',
    '"gemma"',
    '"gemma2"',
    '"a.*"',
    '"(a*)*$"',
  ],
  ...[
    '{"__proto__":{"x":1}}',
    '{"length":3}',
    '{"content":"<x>"}',
    '"full_attention"',
    '"((((((("',
    '"q_proj"',
    '"(?P<a>q)|k"',
  ],
];
/** Names that a key gets. */
const NAMES = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "length",
  "",
  "0",
  "__metadata__",
  "a\u0000b",
  "x",
];
/** Depths of nesting; the last is beyond what a program that calls itself can follow. */
const DEPTHS = [1, 2, 40, 20_000];

/** Edits of JSON: mostly few. */
export const jsonEdits = (most = 4): fc.Arbitrary<JsonEdit[]> =>
  fc.array(fc.record({ op: fc.constantFrom(...JSON_OPS), place: fc.nat(1 << 20), pick: fc.nat(1 << 20) }), {
    maxLength: most,
  });

/** Edits of bytes: mostly few. */
export const byteEdits = (most = 4): fc.Arbitrary<ByteEdit[]> =>
  fc.array(fc.record({ op: fc.constantFrom(...BYTE_OPS), at: fc.nat(1 << 24), value: fc.nat(2 ** 31 - 1) }), {
    maxLength: most,
  });

/** A value as a tree. */
export function treeOf(value: unknown): Node {
  if (Array.isArray(value)) return { kind: "list", items: value.map(treeOf) };
  if (typeof value !== "object" || value === null) return { kind: "raw", text: JSON.stringify(value) };
  return { kind: "object", members: Object.entries(value).map(([key, one]) => [key, treeOf(one)]) };
}

/** The tree's text. */
export function textOf(node: Node): string {
  if (node.kind === "raw") return node.text;
  if (node.kind === "list") return `[${node.items.map(textOf).join(",")}]`;
  return `{${node.members.map(([key, value]) => `${JSON.stringify(key)}:${textOf(value)}`).join(",")}}`;
}

/** The JSON text of a value after the edits. */
export function editedJson(value: unknown, edits: readonly JsonEdit[]): string {
  const root = treeOf(value);
  for (const edit of edits) applyTo(root, edit);
  return textOf(root);
}

const childrenOf = (node: Node): Node[] =>
  node.kind === "list" ? node.items : node.kind === "object" ? node.members.map(([, value]) => value) : [];

function nodesOf(node: Node, into: Node[] = []): Node[] {
  into.push(node);
  for (const child of childrenOf(node)) nodesOf(child, into);
  return into;
}

function applyTo(root: Node, { op, place, pick }: JsonEdit): void {
  const nodes = nodesOf(root);
  // Half of the time the outermost values, where names of tensors and fields are; there are many more within.
  const outer = [root, root, ...childrenOf(root)];
  const node = place % 2 === 0 ? outer[(place >> 1) % outer.length] : nodes[place % nodes.length];
  const other = nodes[pick % nodes.length];
  const raw: Node = { kind: "raw", text: TEXTS[pick % TEXTS.length] };
  if (op === "replace" && node !== root) return become(node, raw);
  if (op === "swap") return become(node, { kind: "raw", text: textOf(other) });
  if (op === "deepen") {
    const depth = DEPTHS[pick % DEPTHS.length];
    const [open, close] = pick % 3 === 0 ? ['{"a":', "}"] : ["[", "]"];
    return become(node, { kind: "raw", text: open.repeat(depth) + textOf(node) + close.repeat(depth) });
  }
  if (node.kind === "list") editList(node.items, op, pick, raw);
  if (node.kind === "object") editMembers(node.members, op, pick, raw);
}

function editList(items: Node[], op: JsonEdit["op"], pick: number, raw: Node): void {
  const at = items.length === 0 ? 0 : pick % items.length;
  if (op === "remove") items.splice(at, 1);
  else if (op === "twice" && items.length > 0) items.splice(at, 0, items[at]);
  else if (op === "append") items.push(raw);
}

function editMembers(members: [string, Node][], op: JsonEdit["op"], pick: number, raw: Node): void {
  const name = NAMES[pick % NAMES.length];
  if (op === "add") members.push([name, raw]);
  if (members.length === 0) return;
  const at = pick % members.length;
  const [key, value] = members[at];
  if (op === "remove") members.splice(at, 1);
  else if (op === "rename") members[at] = [name, value];
  else if (op === "twice") members.push([key, raw]);
  else if (op === "append") members.push([key + name, value]);
}

const become = (node: Node, other: Node): void => {
  for (const key of Object.keys(node)) delete (node as Record<string, unknown>)[key];
  Object.assign(node, other);
};

/** The bytes after the edits, in a fresh array. */
export function editedBytes(bytes: Uint8Array, edits: readonly ByteEdit[]): Uint8Array {
  return edits.reduce<Uint8Array>((now, edit) => editedOnce(now, edit), bytes.slice());
}

function editedOnce(bytes: Uint8Array, { op, at: place, value }: ByteEdit): Uint8Array {
  const at = bytes.length === 0 ? 0 : place % bytes.length;
  const length = 1 + (value % 9);
  const number = [0, 1, 255, 2 ** 31 - 1, 2 ** 32 - 1, value][value % 6];
  if (op === "cut") return bytes.slice(0, at);
  if (op === "delete") return joined(bytes.subarray(0, at), bytes.subarray(at + length));
  if (op === "insert") return joined(bytes.subarray(0, at), new Uint8Array(length).fill(value), bytes.subarray(at));
  if (op === "bit" && bytes.length > 0) bytes[at] ^= 1 << (value % 8);
  else if (op === "set" && bytes.length > 0) bytes[at] = value;
  else if (op === "copy") bytes.copyWithin(at, value % (bytes.length + 1), (value % (bytes.length + 1)) + length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (op === "word" && at + 4 <= bytes.length) view.setUint32(at, number, true);
  if (op === "long" && at + 8 <= bytes.length) view.setBigUint64(at, BigInt(number) << BigInt(value % 33), true);
  return bytes;
}

/** Parts one after another. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Bytes of a text. */
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
