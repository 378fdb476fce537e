type Json = Readonly<Record<string, unknown>>;

/** What npm needs of a manifest, in the order that people read. */
const KEPT = [
  "name",
  "version",
  "description",
  "license",
  "type",
  "engines",
  "exports",
  "imports",
  "bin",
  "files",
  "sideEffects",
  "dependencies",
  "optionalDependencies",
];

/**
 * A package's manifest as it is published: every `./src/x.ts` becomes what was built from it.
 *
 * @param manifest of the package in this repository
 */
export function publishedManifest(manifest: Json): Json {
  const changed: Json = {
    ...manifest,
    exports: mapValues(manifest["exports"], (path) => ({
      types: builtAs(path, ".d.ts"),
      default: builtAs(path, ".js"),
    })),
    imports: mapValues(manifest["imports"], (conditions) =>
      mapValues(conditions, (path) => builtAs(path, ".js")),
    ),
  };
  return Object.fromEntries(
    KEPT.filter((name) => changed[name] !== undefined).map((name) => [name, changed[name]]),
  );
}

/** @throws TypeError where the value is no object */
export function asObject(value: unknown): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new TypeError("expected an object");
}

function mapValues(value: unknown, change: (value: unknown) => unknown): Json | undefined {
  if (value === undefined) return undefined;
  return Object.fromEntries(Object.entries(asObject(value)).map(([k, v]) => [k, change(v)]));
}

function builtAs(path: unknown, end: ".js" | ".d.ts"): string {
  const stem = typeof path === "string" ? /^\.\/src\/(.+)\.ts$/.exec(path)?.[1] : undefined;
  if (stem === undefined) throw new TypeError(`expected ./src/….ts, found ${String(path)}`);
  return `./dist/${stem}${end}`;
}
