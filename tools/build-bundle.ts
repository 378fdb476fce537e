import { createHash } from "node:crypto";
import {
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build, type Plugin } from "vite";

/**
 * Joins the modules of each program into a few files, so that a start need not find and open some six
 * hundred. Programs share what more than one of them needs; one that runs in a sandbox is one file.
 * `packages/runtime/bin/joined.js` names them only while none of what they were made of has changed;
 * otherwise the sources run as they are. Made by `npm ci` and before the main job and the tests.
 */

const ROOT = join(import.meta.dirname, "..");
const RUNTIME = join(ROOT, "packages/runtime");
const SOURCES = join(RUNTIME, "src");
const FOLDER = join(RUNTIME, "node_modules/.cache/bundle");
const LIST = join(FOLDER, "inputs.json");
/** So long after they were replaced: a process that runs may still load a part, or start a program. */
const KEEP_MS = 86_400_000;
/** What says that an installed package changed: npm writes it at each installation. */
const INSTALLED = "node_modules/.package-lock.json";
const PROGRAMS = "main/*.ts";
const PROGRAMS_INSIDE = ["{agents,coding}/inside/*.ts", "skills/inside/host.ts"];

/** A file by which a bundle is judged: its path below the root, its size, and when it changed. */
type Input = readonly [path: string, bytes: number, changedMs: number];
interface Joined {
  readonly fileName: string;
  readonly code: string;
}

const joined = createRequire(import.meta.url)("../packages/runtime/bin/joined.js") as (
  name: string,
) => string | null;
if (process.argv.includes("--always") || joined("main/cli.mjs") === null) await makeBundle();

async function makeBundle(): Promise<void> {
  // What changes while it is read makes the list stale, and not wrong.
  const inputs = new Map<string, Input>();
  const note = (path: string): void => {
    const { size, mtimeMs } = statSync(path);
    const name = relative(ROOT, path);
    inputs.set(name, [name, size, mtimeMs]);
  };
  note(join(ROOT, INSTALLED));
  // The paths of modules stand in what is made, and make its name.
  process.chdir(ROOT);
  const files = await joinModules(globSync(PROGRAMS, { cwd: SOURCES }), note);
  for (const program of globSync(PROGRAMS_INSIDE, { cwd: SOURCES })) {
    files.push(...(await joinModules([program], note)));
  }
  const hash = createHash("sha256");
  for (const { fileName, code } of files) hash.update(fileName).update(code);
  const folder = hash.digest("hex").slice(0, 16);
  for (const { fileName, code } of files) {
    const path = join(FOLDER, folder, fileName);
    mkdirSync(join(path, ".."), { recursive: true });
    replace(path, code);
  }
  const before = await folderBefore();
  replace(LIST, JSON.stringify({ root: ROOT, folder, inputs: [...inputs.values()] }));
  if (before !== null && before !== folder) keepFromNow(join(FOLDER, before));
  removeOld(folder);
}

/** @param programs below the sources */
async function joinModules(
  programs: readonly string[],
  note: (path: string) => void,
): Promise<Joined[]> {
  const entries = programs.map((path): [string, string] => {
    return [path.replace(/\.ts$/, ""), join(SOURCES, path)];
  });
  const own = join(ROOT, "packages/");
  const isProgram = (id: string): boolean => entries.some(([, path]) => path === id);
  const built = await build({
    root: RUNTIME,
    configFile: false,
    logLevel: "error",
    plugins: [whereItWas(note), httpAlone()],
    ssr: { noExternal: true, external: ["pg-native", "fastify"] },
    build: {
      write: false,
      ssr: true,
      target: "node22",
      minify: false,
      rolldownOptions: {
        input: Object.fromEntries(entries),
        treeshake: {
          // Of our modules only programs do something when they are loaded. Node's own do nothing, but
          // take time.
          moduleSideEffects: (id, isExternal) =>
            !isExternal && (!id.startsWith(own) || id.includes("/node_modules/") || isProgram(id)),
        },
        output: {
          format: "esm",
          entryFileNames: "[name].mjs",
          chunkFileNames: "shared/[name]-[hash].mjs",
        },
      },
    },
  });
  if (!("output" in built)) throw new Error("expected one bundle");
  return built.output.flatMap((one) => (one.type === "chunk" ? [one] : []));
}

/** Programs, migrations and packages lie beside the sources, and not beside what is made of them. */
function whereItWas(note: (path: string) => void): Plugin {
  return {
    name: "where-it-was",
    enforce: "pre",
    load(id) {
      const path = id.startsWith("file:") ? fileURLToPath(id) : (id.split("?")[0] ?? "");
      if (path.startsWith(join(ROOT, "packages/")) && existsSync(path)) note(path);
      return null;
    },
    transform(code, id) {
      if (!code.includes("import.meta.url")) return null;
      const here = JSON.stringify(pathToFileURL(id.split("?")[0] ?? "").href);
      return code.replaceAll("import.meta.url", here);
    },
  };
}

/** An `import` of `http` reads each of its names, some of which make Node load all that `fetch` needs. */
function httpAlone(): Plugin {
  return {
    name: "http-alone",
    enforce: "pre",
    resolveId(id, _, { kind }) {
      return id === "node:http" && kind === "import-statement" ? "\0http-alone" : null;
    },
    load(id) {
      if (id !== "\0http-alone") return null;
      const described = Object.entries(Object.getOwnPropertyDescriptors(http));
      const names = described.flatMap(([name, one]) => ("value" in one ? [name] : []));
      return `const http = process.getBuiltinModule("node:http");
export default http;
export const { ${names.join(", ")} } = http;`;
    },
  };
}

/** Others may start while it is written. */
function replace(path: string, text: string): void {
  const written = `${path}.${process.pid}`;
  writeFileSync(written, text);
  renameSync(written, path);
}

/** Null also where what stands there is no list. */
async function folderBefore(): Promise<string | null> {
  try {
    const list = (await import(pathToFileURL(LIST).href, { with: { type: "json" } })) as {
      default: { folder?: string };
    };
    return list.default.folder ?? null;
  } catch {
    return null;
  }
}

function keepFromNow(path: string): void {
  const now = performance.timeOrigin / 1000;
  if (existsSync(path)) utimesSync(path, now, now);
}

function removeOld(current: string): void {
  for (const name of readdirSync(FOLDER)) {
    const path = join(FOLDER, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined || !found.isDirectory() || name === current) continue;
    if (performance.timeOrigin - found.mtimeMs > KEEP_MS) rmSync(path, { recursive: true });
  }
}
