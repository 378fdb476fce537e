import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

/**
 * A copy of the example pipeline that a test may change.
 * @param folder is made
 * @returns the pipeline's file
 */
export function copyExample(folder: string): string {
  cpSync("examples/iron-path", folder, { recursive: true });
  symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  return join(folder, "pipeline.yaml");
}

/** The example up to its first promotion, and its export: for what does not turn on the agents. */
export function shortPipeline(folder: string): string {
  const path = copyExample(folder);
  const whole = readFileSync(path, "utf8");
  const [from, to] = ["model_training", "audit_export"].map((name) =>
    whole.indexOf(`  - name: ${name}\n`),
  ) as [number, number];
  if (from < 0 || to < from) throw new Error("expected model_training, then audit_export");
  writeFileSync(path, whole.slice(0, from) + whole.slice(to));
  return path;
}
