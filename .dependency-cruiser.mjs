/**
 * Rooms of `src` from the ground up: a room imports rooms that stand before it, `layers` and `weights`, and no others;
 * type imports count. docs/architecture.md says what each holds.
 */
export const ROOMS = [
  "base",
  "model",
  "backends",
  "setup",
  "input",
  "hooks",
  "grammar",
  "decoding",
  "answering",
  "masks",
  "tasks",
  "adapters",
  "loading",
  "paligemma.ts",
  "checkpoints",
  "inspection",
  "runs",
  "pictures",
  "jobs",
  "parity",
  "doctor",
  "doors",
  "cli",
];

const inRooms = (rooms) => `^src/(${rooms.map((room) => room.replace(".", "\\.")).join("|")})(/|$)`;

const upward = ROOMS.slice(0, -1).map((room, i) => ({
  name: `${room.replace(".ts", "")}-imports-downwards-only`,
  comment:
    "a room imports rooms that stand before it in .dependency-cruiser.mjs: move what is shared down, or pass it in",
  severity: "error",
  from: { path: inRooms([room]) },
  to: { path: inRooms(ROOMS.slice(i + 1)) },
}));

/** @type {import("dependency-cruiser").IConfiguration} */
export default {
  forbidden: [
    ...upward,
    {
      name: "setup-is-a-command",
      comment: "what installs and compiles is no part of what runs",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(setup|cli)/" },
      to: { path: "^src/setup/" },
    },
    {
      name: "every-file-has-a-room",
      comment: "src holds its doors and the facade; everything else belongs to a room of the table",
      severity: "error",
      from: {},
      to: { path: "^src/", pathNot: `${inRooms(ROOMS)}|^src/(index|cli|config)\\.ts$` },
    },
    {
      name: "nothing-imports-a-door",
      comment: "index.ts and doors are for users, cli.ts for the shell",
      severity: "error",
      from: { path: "^(src|layers|weights)/", pathNot: "/index\\.ts$" },
      to: { path: "^(src/(index|cli)\\.ts$|src/doors/|(layers|weights)/index\\.ts$)" },
    },
    {
      name: "layers-are-mathematics",
      comment: "layers import TensorFlow.js and one another: no Node, no src, no weights",
      severity: "error",
      from: { path: "^layers/" },
      to: { pathNot: "^layers/|(^|/)node_modules/@tensorflow/" },
    },
    {
      name: "weights-are-bytes",
      comment: "weights import neither src nor the layers' mathematics",
      severity: "error",
      from: { path: "^weights/" },
      to: { path: "^(src|layers)/" },
    },
    {
      name: "no-tests-in-the-product",
      severity: "error",
      from: { path: "^(src|layers|weights)/" },
      to: { path: "^(test|benchmarks|examples)/" },
    },
    {
      name: "no-circles",
      comment: "two files that import each other are one idea in two files, or want a third",
      severity: "error",
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default"] },
  },
};
