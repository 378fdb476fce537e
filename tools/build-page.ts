import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "vite";

const folder = resolve(import.meta.dirname, "../packages/verify/page");

/**
 * The verifier as one HTML page: script and style inside, and a policy that lets nothing else in.
 *
 * @returns the page's text; the same for the same sources
 */
export async function buildPage(): Promise<string> {
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");
  const style = `\n${read("page.css")}`;
  // An end tag in a string of the script would end the script.
  const script = (await bundle()).replaceAll("</script", "<\\/script");
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "worker-src blob:",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types sovereign-worker",
  ].join("; ");
  const parts: Record<string, string> = { policy, style, script };
  return read("index.html").replace(/\{\{(\w+)\}\}/g, (mark, name: string) => parts[name] ?? mark);
}

async function bundle(): Promise<string> {
  const built = await build({
    root: folder,
    configFile: false,
    logLevel: "error",
    build: {
      write: false,
      target: "es2022",
      modulePreload: false,
      rolldownOptions: { input: join(folder, "main.ts"), output: { format: "iife" } },
    },
  });
  if (!("output" in built) || built.output.length !== 1) throw new Error("expected one script");
  return built.output[0].code;
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
