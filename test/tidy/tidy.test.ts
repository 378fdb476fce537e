import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { errorCatalogue } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { BANS, findBans } from "./bans.ts";
import { listFiles } from "./files.ts";

const sources = listFiles(/^(packages\/[^/]+\/(src|page)|examples|bench|tools)\/.*\.ts$/);
const tests = listFiles(/(^|\/)test\/.*\.ts$/);
const texts = listFiles(/\.(ts|md|json|yaml|mjs|js|sh|sql)$/).filter(
  (path) => !path.includes("package-lock") && !path.startsWith("test/tidy/"),
);
/** Nobody reads it from its beginning to its end. */
const isGenerated = (text: string): boolean => text.startsWith("// Generated from ");
const read = (path: string): string => readFileSync(path, "utf8");

describe("the sources", () => {
  it("use nothing that is banned outside the modules made for it", () => {
    expect(sources.flatMap((path) => findBans(path, read(path)))).toEqual([]);
  });

  it("have no file above 500 lines", () => {
    const written = [...sources, ...tests].filter((path) => !isGenerated(read(path)));
    const long = written.filter((path) => read(path).split("\n").length > 501);
    expect(long).toEqual([]);
  });

  it("have file names in kebab-case", () => {
    const odd = sources.filter((path) => !/^[a-z0-9]+([-.][a-z0-9]+)*\.ts$/.test(basename(path)));
    expect(odd).toEqual([]);
  });

  it("speak of the product alone", () => {
    const words = new RegExp(
      ["/wor" + "k/", "shared/(desi" + "gn|resea" + "rch|see" + "ds)"].join("|"),
    );
    expect(texts.filter((path) => words.test(read(path)))).toEqual([]);
  });
});

/** Codes that Node's own errors have. */
const OF_NODE = ["ERR_HTTP_REQUEST_TIMEOUT"];

describe("the error catalogue", () => {
  it("has no code that nothing throws", () => {
    const thrown = sources
      .filter((path) => !path.includes("/errors/codes/"))
      .map(read)
      .join("\n");
    const unused = Object.keys(errorCatalogue).filter((code) => !thrown.includes(code));
    expect(unused).toEqual([]);
  });

  it("has every code that sources and documents name, or the codes that begin so", () => {
    const codes = [...Object.keys(errorCatalogue), ...OF_NODE];
    const named = [...sources, ...listFiles(/\.md$/)].flatMap((path) =>
      [...read(path).matchAll(/(?<![\w"'])ERR_[A-Z0-9_]+/g)].map(([code]) => code),
    );
    const unknown = new Set(named.filter((one) => !codes.some((code) => code.startsWith(one))));
    expect([...unknown]).toEqual([]);
  });
});

describe("the tests", () => {
  it("name every code", () => {
    const named = tests
      .filter((path) => !path.startsWith("test/tidy/"))
      .map(read)
      .join("\n");
    const unnamed = Object.keys(errorCatalogue).filter((code) => !named.includes(code));
    expect(unnamed).toEqual([]);
  });
});

describe("the dependencies", () => {
  const manifests = listFiles(/(^|\/)package\.json$/).filter((path) => !path.includes("/bin/"));
  const all = manifests.flatMap((path) => {
    const manifest = JSON.parse(read(path)) as Record<string, Record<string, string> | undefined>;
    return ["dependencies", "devDependencies", "optionalDependencies"].flatMap((kind) =>
      Object.entries(manifest[kind] ?? {}),
    );
  });

  it("are pinned exactly", () => {
    expect(
      all.filter(([, version]) => !/^(npm:[^@]+@)?\d+\.\d+\.\d+(-[a-z0-9.]+)?$/.test(version)),
    ).toEqual([]);
  });

  it("each have a reason", () => {
    const reasons = read("docs/DEPENDENCIES.md");
    const names = new Set(
      all.map(([name]) => name).filter((name) => !name.startsWith("@sovereign/")),
    );
    expect([...names].filter((name) => !reasons.includes(`\`${name}\``))).toEqual([]);
  });

  it("name no host in the lock file", () => {
    expect(read("package-lock.json")).not.toMatch(/"resolved": "http/);
  });
});

describe("the bans themselves", () => {
  it.each(BANS.map((ban) => [ban.name, ban.example]))("finds %s", (_, example) => {
    expect(findBans("packages/runtime/src/example/example.ts", example)).toHaveLength(1);
  });
});
