import js from "@eslint/js";
import tseslint from "typescript-eslint";

/** Comments end at the column at which code ends; prettier leaves them as they are. */
const COLUMNS = 120;
const commentWidth = {
  meta: { messages: { long: `a line of a comment ends at column ${COLUMNS} at the latest` } },
  create: (context) => ({
    Program() {
      for (const { loc } of context.sourceCode.getAllComments()) {
        for (let line = loc.start.line; line <= loc.end.line; line++) {
          if (
            context.sourceCode.lines[line - 1].length > COLUMNS &&
            !context.sourceCode.lines[line - 1].includes("prettier-ignore")
          )
            context.report({ loc: { line, column: COLUMNS }, messageId: "long" });
        }
      }
    },
  }),
};

export default tseslint.config(
  { ignores: ["dist", "node_modules", ".mutants"] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    plugins: { comments: { rules: { width: commentWidth } } },
    rules: {
      "comments/width": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-non-null-assertion": "off",
      // `const { left, ...rest }` takes a field out.
      "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true }],
    },
  },
  {
    files: ["test/**"],
    rules: {
      "no-restricted-syntax": [
        "error",
        {
          selector: "CallExpression[callee.name=/^before/] CallExpression[callee.property.name='skip']",
          message: "Teardown runs behind a hook that skips, and frees what was never made: use describeWhere.",
        },
      ],
    },
  },
  // The program of a report's page: `tsc -p src/pictures/page` knows the names that a browser has.
  { files: ["src/pictures/page/*.js"], rules: { "no-undef": "off" } },
);
