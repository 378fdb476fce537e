/**
 * The product's central claims about imports, as rules.
 *
 * `LAYERS` is the one order of the runtime's folders: a folder imports only from rows above its
 * own.
 */
export const LAYERS = [
  ["system"],
  ["policy", "authority", "process"],
  ["ledger"],
  ["kernel"],
  ["scram", "agents"],
  ["runs", "home", "sandbox", "sentinel", "scram-http"],
  ["store", "gateway"],
  ["pipeline", "executor", "batch", "skills", "contents"],
  ["coding", "planning"],
  ["installation"],
  ["services"],
  ["api"],
  ["cli"],
  ["main"],
];

const SOURCE = "^packages/runtime/src/";
const folder = (name) => `${SOURCE}${name}/`;

// The last row may import everything: it has no rule.
const layerRules = LAYERS.slice(0, -1).flatMap((row, index) =>
  row.map((name) => {
    const allowed = LAYERS.slice(0, index).flat();
    const others = LAYERS.flat().filter((other) => other !== name && !allowed.includes(other));
    return {
      name: `layer-${name}`,
      comment: `${name}/ may import only what stands above it: ${allowed.join(", ") || "nothing"}.`,
      severity: "error",
      from: { path: folder(name) },
      to: { path: others.map(folder).join("|") },
    };
  }),
);

export default {
  forbidden: [
    ...layerRules,
    {
      name: "no-cycles",
      comment: "Two files that need each other are one file.",
      severity: "error",
      from: {},
      to: { circular: true, dependencyTypesNot: ["type-only"] },
    },
    {
      name: "no-deep-imports",
      comment: "A folder is entered through its index.ts.",
      severity: "error",
      from: { path: `${SOURCE}([^/]+)/` },
      to: { path: `${SOURCE}[^/]+/`, pathNot: [`${SOURCE}$1/`, `${SOURCE}[^/]+/index\\.ts$`] },
    },
    {
      name: "processes-only-in-process",
      comment: "Nothing spawns outside process/.",
      severity: "error",
      from: { path: "^packages/", pathNot: [folder("process"), "/test/"] },
      to: { path: "^(node:)?child_process$", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "driver-only-in-store",
      comment: "Only store/ speaks to our database; the gateway speaks to those of plans.",
      severity: "error",
      from: {
        path: "^packages/",
        pathNot: [folder("store"), `${folder("gateway")}postgres\\.ts$`],
      },
      to: { path: "node_modules/(@types/pg|pg)/", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "skills-in-the-sandbox-stand-alone",
      comment: "What runs in the skill host needs nothing of ours but its neighbours.",
      severity: "error",
      from: { path: `${folder("skills")}(inside/|[^/]+/(?!index)[a-z-]+\\.ts$)` },
      to: {
        path: "^packages/|node_modules/",
        pathNot: `${folder("skills")}(inside/|[^/]+/(?!index)[a-z-]+\\.ts$)|node_modules/@types/node/`,
      },
    },
    {
      name: "engine-without-keys-and-database",
      comment: "What starts and kills paths can neither sign nor reach the database.",
      severity: "error",
      from: { path: `${folder("main")}engine\\.ts$` },
      to: {
        path: `${folder("(authority|store)")}|node_modules/(@types/pg|pg)/`,
        reachable: true,
      },
    },
    {
      name: "sentinel-without-database",
      comment: "What must stop everything needs no database.",
      severity: "error",
      from: { path: `${folder("main")}sentinel\\.ts$` },
      to: { path: `${folder("store")}|node_modules/(@types/pg|pg)/`, reachable: true },
    },
    {
      name: "core-stands-alone",
      comment:
        "Formats and proofs depend on no other package of ours, and on no system but Node's hash.",
      severity: "error",
      from: { path: "^packages/core/src/" },
      to: { path: "^packages/(verify|runtime)/|^node:", pathNot: "^(node:)?crypto$" },
    },
    {
      name: "verify-needs-core-alone",
      comment: "An auditor reads core and verify and nothing else.",
      severity: "error",
      from: { path: "^packages/verify/src/" },
      to: { path: "^packages/runtime/" },
    },
    {
      name: "client-stands-alone",
      comment: "Who calls the HTTP API needs nothing of ours, and no system but fetch.",
      severity: "error",
      from: { path: "^packages/client/src/" },
      to: { path: "^packages/(core|verify|runtime)/|^node:|node_modules" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["node", "import"] },
  },
};
