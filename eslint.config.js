import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist", "node_modules", ".mutants"] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    rules: {
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
