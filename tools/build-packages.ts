import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseStrictJson } from "@sovereign/core";
import { buildPage } from "./build-page.ts";
import { manPage } from "./man-page.ts";
import { asObject, publishedManifest } from "./published-manifest.ts";

/**
 * `npm run build`: each package as npm publishes it, in `dist/<name>/`, from what `tsc -b` made.
 *
 * The sources run unbuilt in this repository, and their manifests name `.ts` files. Node strips
 * no types under `node_modules`, so what is published is JavaScript beside its declarations.
 */
const root = resolve(import.meta.dirname, "..");

for (const name of ["core", "verify", "runtime", "client"]) stagePackage(name);
addManual(join(root, "dist/runtime"));
mkdirSync(join(root, "dist/verify/page"));
writeFileSync(join(root, "dist/verify/page/sovereign-verify.html"), await buildPage());

/** What a system reads beside the program: its manual page, and how shells complete its words. */
function addManual(to: string): void {
  const { version, help } = asObject(parseStrictJson(readFileSync(join(to, "bin/help.json"))));
  mkdirSync(join(to, "man"));
  const page = manPage(String(version), asObject(help) as Record<string, string>);
  writeFileSync(join(to, "man/sovereign.1"), page);
  mkdirSync(join(to, "completions"));
  const names = { bash: "sovereign.bash", zsh: "_sovereign", fish: "sovereign.fish" };
  for (const [shell, file] of Object.entries(names)) {
    const line = [join(root, "packages/runtime/bin/sovereign.js"), "completion", shell];
    writeFileSync(join(to, "completions", file), execFileSync(process.execPath, line));
  }
  const path = join(to, "package.json");
  const manifest = asObject(parseStrictJson(readFileSync(path)));
  const files = [...(manifest["files"] as string[]), "man", "completions"];
  const more = { ...manifest, man: ["./man/sovereign.1"], files };
  writeFileSync(path, `${JSON.stringify(more, null, 2)}\n`);
}

function stagePackage(name: string): void {
  const from = join(root, "packages", name);
  const to = join(root, "dist", name);
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  copyBuilt(join(from, "src"), join(from, "dist"), join(to, "dist"));
  for (const part of ["bin", "README.md"]) {
    if (existsSync(join(from, part))) cpSync(join(from, part), join(to, part), { recursive: true });
  }
  cpSync(join(root, "LICENSE"), join(to, "LICENSE"));
  const manifest = asObject(parseStrictJson(readFileSync(join(from, "package.json"))));
  writeFileSync(
    join(to, "package.json"),
    `${JSON.stringify(publishedManifest(manifest), null, 2)}\n`,
  );
}

/**
 * The output of every source there is: not all of the compiler's folder, which keeps what sources
 * made that are gone. What is no source (SQL) is data, and goes along as it is.
 */
function copyBuilt(src: string, built: string, to: string): void {
  for (const entry of readdirSync(src, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name).slice(src.length + 1);
    const stem = path.replace(/\.ts$/, "");
    if (stem === path) copyFile(join(src, path), join(to, path));
    else
      for (const end of [".js", ".d.ts"]) copyFile(join(built, stem + end), join(to, stem + end));
  }
}

/** Source maps stay behind, because the sources do; so nothing points to them. */
function copyFile(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  const text = readFileSync(from, "utf8");
  writeFileSync(to, text.replace(/\n\/\/# sourceMappingURL=\S+\n?$/, "\n"));
}
