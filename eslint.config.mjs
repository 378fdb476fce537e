import regexp from "eslint-plugin-regexp";
import tseslint from "typescript-eslint";

/** Sizes of the house: a function is read on one screen; a file has one purpose. */
const sizes = {
  "max-lines": ["error", { max: 500 }],
  "max-lines-per-function": ["error", { max: 70, skipBlankLines: true, skipComments: true }],
  complexity: ["error", 12],
};

const noExportAll = {
  selector: "ExportAllDeclaration",
  message: "Name what you export: no `export *`.",
};
/** Each is an argument on the stack: some 120,000 of somebody else's overflow it. */
const noSpreadOfOthers = {
  selector: "CallExpression[callee.type='MemberExpression'] > SpreadElement",
  message: "Loop, reduce or build an array: how many there are may be somebody else's to say.",
};

export default tseslint.config(
  { ignores: ["**/dist/**", "**/node_modules/**", "**/*.mjs", "**/*.js"] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      ...sizes,
      eqeqeq: "error",
      "no-restricted-syntax": ["error", noExportAll, noSpreadOfOthers],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  {
    files: ["**/test/**", "bench/**", "tools/**"],
    rules: {
      "max-lines-per-function": "off",
      "no-restricted-syntax": ["error", noExportAll],
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
  // They read what they made themselves.
  { files: ["examples/**"], rules: { "no-restricted-syntax": ["error", noExportAll] } },
  // Text is anybody's: a pattern that goes back over it costs its square, and more.
  {
    files: ["packages/*/src/**"],
    plugins: { regexp },
    rules: {
      "regexp/no-super-linear-backtracking": ["error", { report: "potential" }],
      "regexp/no-super-linear-move": ["error", { report: "potential" }],
    },
  },
  // Nobody reads it whole: it has what the API's document has.
  { files: ["packages/client/src/generated.ts"], rules: { "max-lines": "off" } },
);
