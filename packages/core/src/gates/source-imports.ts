import type { SourceImports } from "./inputs.ts";

/**
 * What a source imports, as it is written: static and dynamic imports, requires, and the other ways
 * in which Node hands out a module of its own. Types alone start nothing.
 *
 * @param text TypeScript or JavaScript of ours, not of an attacker's: names that are put together
 *   at run time are not seen
 */
export function importsOf(path: string, text: string): SourceImports {
  const code = text.replaceAll(/\bimport type [^;]*;/g, "");
  const named = code.matchAll(
    /(?:\bfrom|\bimport|\brequire|\bgetBuiltinModule)\s*(?:\(\s*)?["'`]([^"'`]+)["'`]/g,
  );
  const imports = [...named].map((match) => match[1] ?? "");
  const inner = /\bprocess\s*\.\s*(_linkedBinding|binding)\b/.test(code);
  return { path, imports: inner ? [...imports, "child_process"] : imports };
}
