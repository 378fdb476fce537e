import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "vite";

/**
 * Joins the command line's modules into a few files, so that a command need not find and open some
 * six hundred. `bin/sovereign.js` takes them only while none of what they were made of has changed;
 * otherwise the sources run as they are. Made by `npm ci` and before the main job and the tests.
 */

const ROOT = join(import.meta.dirname, "..");
const RUNTIME = join(ROOT, "packages/runtime");
const FOLDER = join(RUNTIME, "node_modules/.cache/bundle");
const LIST = join(FOLDER, "inputs.json");
/** A process that runs may still load a part of the one before. */
const KEEP_MS = 86_400_000;
/** What says that an installed package changed: npm writes it at each installation. */
const INSTALLED = "node_modules/.package-lock.json";

/** A file by which a bundle is judged: its path below the root, its size, and when it changed. */
type Input = readonly [path: string, bytes: number, changedMs: number];

if (process.argv.includes("--always") || !(await isFresh())) await makeBundle();

async function isFresh(): Promise<boolean> {
  if (!existsSync(LIST)) return false;
  const { default: known } = (await import(pathToFileURL(LIST).href, {
    with: { type: "json" },
  })) as { default: { inputs: Input[] } };
  return known.inputs.every(([path, bytes, changedMs]) => {
    const found = statSync(join(ROOT, path), { throwIfNoEntry: false });
    return found?.size === bytes && found.mtimeMs === changedMs;
  });
}

async function makeBundle(): Promise<void> {
  // What changes while it is read makes the list stale, and not wrong.
  const inputs = new Map<string, Input>();
  const note = (path: string): void => {
    const { size, mtimeMs } = statSync(path);
    const name = relative(ROOT, path);
    inputs.set(name, [name, size, mtimeMs]);
  };
  note(join(ROOT, INSTALLED));
  const built = await build({
    root: RUNTIME,
    configFile: false,
    logLevel: "error",
    plugins: [
      {
        name: "where-it-was",
        enforce: "pre",
        load(id) {
          const path = id.startsWith("file:") ? fileURLToPath(id) : (id.split("?")[0] ?? "");
          if (path.startsWith(join(ROOT, "packages/")) && existsSync(path)) note(path);
          return null;
        },
        transform(code, id) {
          if (!code.includes("import.meta.url")) return null;
          // Programs, migrations and packages lie beside the sources.
          const here = JSON.stringify(pathToFileURL(id.split("?")[0] ?? "").href);
          return code.replaceAll("import.meta.url", here);
        },
      },
    ],
    ssr: { noExternal: true, external: ["pg-native", "fastify"] },
    build: {
      write: false,
      ssr: join(RUNTIME, "src/main/cli.ts"),
      target: "node22",
      minify: false,
      rolldownOptions: {
        // Node's own modules do nothing when they are loaded but take time, `http` the most.
        treeshake: { moduleSideEffects: "no-external" },
        output: { format: "esm", entryFileNames: "cli.mjs", chunkFileNames: "[name]-[hash].mjs" },
      },
    },
  });
  if (!("output" in built)) throw new Error("expected one bundle");
  const files = built.output.flatMap((one) => (one.type === "chunk" ? [one] : []));
  const hash = createHash("sha256");
  for (const { fileName, code } of files) hash.update(fileName).update(code);
  const name = hash.digest("hex").slice(0, 16);
  for (const { fileName, code } of files) {
    const path = join(FOLDER, name, fileName);
    mkdirSync(join(path, ".."), { recursive: true });
    replace(path, code);
  }
  replace(LIST, JSON.stringify({ entry: `${name}/cli.mjs`, inputs: [...inputs.values()] }));
  removeOld(name);
}

/** Others may start while it is written. */
function replace(path: string, text: string): void {
  const written = `${path}.${process.pid}`;
  writeFileSync(written, text);
  renameSync(written, path);
}

function removeOld(current: string): void {
  for (const name of readdirSync(FOLDER)) {
    const path = join(FOLDER, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined || !found.isDirectory() || name === current) continue;
    if (performance.timeOrigin - found.mtimeMs > KEEP_MS) rmSync(path, { recursive: true });
  }
}
