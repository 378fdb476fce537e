import { describe, expect, it } from "vitest";
import {
  HOST_RUN_NAMES,
  HOST_RUN_SECTIONS,
  REPOSITORY_NAMES,
  REPOSITORY_SECTION,
} from "../../src/gates/host-run/index.ts";

const TABLES = [
  ...HOST_RUN_SECTIONS.flatMap(({ rows }) => rows.map((row) => ({ row, table: HOST_RUN_NAMES }))),
  ...REPOSITORY_SECTION.rows.map((row) => ({ row, table: REPOSITORY_NAMES })),
];
const NAMES = TABLES.flatMap(({ row, table }) => row.names.map((name) => ({ name, table })));

/** A path that the name stands for. */
const sample = (name: string): string =>
  name.replace(/\/\*\*$/, "/deep/x").replaceAll("*", "any-thing.x");

/** How a hostile tree could spell a path so that some file system takes it for the one that is meant. */
const SPELLINGS: Readonly<Record<string, (path: string) => string>> = {
  "as it is": (path) => path,
  "in capitals": (path) => path.toUpperCase(),
  "in small letters": (path) => path.toLowerCase(),
  "in folders": (path) => `packages/Own one/${path}`,
  "with dots and spaces behind each name": (path) => path.replaceAll(/(?=\/)|$/g, ". ."),
  "with what cannot be seen": (path) => path.replaceAll(/(?<=[^/])/g, "\u200d"),
  "in wide letters": (path) =>
    path.replaceAll(/[!-.0-~]/g, (one) => String.fromCodePoint(one.charCodeAt(0) + 0xfee0)),
  "with a stream behind it": (path) => `${path}::$DATA`,
};

describe("the table of files that other machines run", () => {
  it("says of each row in one sentence or two what happens, and where that is written", () => {
    for (const { row } of TABLES) {
      expect(row.why, row.tool).toMatch(/^[A-Z\w].{8,170}\.$/);
      expect(row.source, row.tool).toMatch(/^(?:https:\/\/[\w.-]+\.[a-z]+\/|docs\/spec\/[\w.-]+$)/);
      expect(
        row.names.filter((name) => !/^[^\s*/][^\s/]*(?:\/[^\s/]+)*$|^\*[^\s/]+$/.test(name)),
      ).toEqual([]);
    }
  });

  it.each(Object.keys(SPELLINGS))("finds each of its names %s", (spelling) => {
    const missed = NAMES.filter(({ name, table }) => {
      const path = SPELLINGS[spelling]?.(sample(name)) ?? "";
      return table.find(path) === null;
    });
    expect(missed.map(({ name }) => name)).toEqual([]);
  });

  it("finds a link in the place of each folder on the way", () => {
    const missed = NAMES.filter(({ name, table }) => {
      const parts = sample(name.replace(/\/\*\*$/, "")).split("/");
      const ways = parts.map((_, at) => parts.slice(0, at + 1).join("/"));
      return ways.some((way) => table.find(`a/${way}`, true) === null);
    });
    expect(missed.map(({ name }) => name)).toEqual([]);
  });

  it("is looked through once, however long a name is", () => {
    // Two of them in one name of the table would go back over it.
    expect(NAMES.filter(({ name }) => /\*.*\*/.test(name.replace(/\/\*\*$/, "")))).toEqual([]);
    const before = performance.now();
    HOST_RUN_NAMES.find(`${". ".repeat(100_000)}x`);
    expect(performance.now() - before).toBeLessThan(1000);
  });

  it("does not find a name that only begins or ends like one", () => {
    const plain = NAMES.filter(({ name }) => /^[\w.-]+$/.test(name));
    const found = plain.filter(({ name, table }) => {
      const all = [`${name}qqq`, `qqq${name}`].map((path) => table.find(path));
      return all.every((row) => row !== null);
    });
    expect(found.map(({ name }) => name)).toEqual([]);
  });
});
