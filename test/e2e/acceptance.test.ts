import { spawn } from "node:child_process";
import { resolve } from "node:path";
import type { LedgerEntry } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { differencesOf } from "../../examples/acceptance/compare.ts";
import { ROWS } from "../../examples/acceptance/rows.ts";
import { type CliEnd, endOf } from "./cli.ts";

const PROGRAM = resolve("examples/acceptance/acceptance.ts");

interface Told {
  readonly id: string;
  readonly status: "PASS" | "FAIL";
  readonly found: string;
}

function accept(words: readonly string[], path = process.env["PATH"] ?? ""): Promise<CliEnd> {
  const options = ["--disable-warning=ExperimentalWarning", PROGRAM, ...words];
  const env = { ...process.env, PATH: path };
  return endOf(spawn(process.execPath, options, { env, stdio: ["ignore", "pipe", "pipe"] }));
}

const rowsIn = ({ out }: CliEnd): Told[] =>
  out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Told);

describe("the acceptance script", () => {
  it("shows each row on embedded defaults, and all of it holds", async () => {
    const ended = await accept(["--json"]);
    const rows = rowsIn(ended);
    expect(rows.filter(({ status }) => status !== "PASS")).toEqual([]);
    expect(rows.map(({ id }) => id)).toEqual(ROWS.map(({ id }) => id));
    expect(rows.every(({ found }) => found !== "")).toBe(true);
    expect(ended).toMatchObject({ code: 0, err: "" });
  });

  it("exits 1 where a row does not hold, as without a sandbox, and 2 for a row that there is not", async () => {
    const ended = await accept(["6.1", "6.3"], "/nowhere");
    expect(ended.code).toBe(1);
    expect(ended.out).toMatch(/^FAIL {2}6\.1 /m);
    expect(ended.out).toMatch(/^FAIL {2}6\.3 /m);
    expect(ended.out).toContain("2 rows do not hold");
    expect(await accept(["9.9"])).toMatchObject({ code: 2, out: "" });
  });
});

describe("the comparison of two runs' entries", () => {
  const entry = (data: object, more: object = {}): LedgerEntry =>
    ({
      ...{
        event_type: "execution.completed",
        run_id: "run_a",
        timestamp: "2026-01-01",
        sequence: 1,
      },
      ...more,
      data,
    }) as unknown as LedgerEntry;
  const one = entry({ status: "completed", usage: { wall_ms: 3, output_bytes: 2 }, steps: [1, 2] });
  const differ = (other: object, more: object = {}): string[] =>
    differencesOf([one], [entry({ ...one.data, ...other }, more)]).map(({ place }) => place);

  it("passes names, times and digests over these, and nothing else", () => {
    expect(differ({ usage: { wall_ms: 9, output_bytes: 2 } }, { run_id: "run_b" })).toEqual([]);
    expect(differ({ status: "failed" })).toEqual(["entries[0].data.status"]);
    expect(differ({ usage: { wall_ms: 3, output_bytes: 3 } })).toEqual([
      "entries[0].data.usage.output_bytes",
    ]);
    expect(differ({ steps: [2, 1] })).toEqual([
      "entries[0].data.steps[0]",
      "entries[0].data.steps[1]",
    ]);
    expect(differ({ steps: [1] })).toEqual(["entries[0].data.steps[1]"]);
    expect(differ({ more: null })).toEqual(["entries[0].data.more"]);
    expect(differ({}, { event_type: "execution.failed" })).toEqual(["entries[0].event_type"]);
    expect(differencesOf([one], [one, one])).toHaveLength(1);
  });

  it("takes what only one of the two has for a difference, though it be a time", () => {
    expect(differ({ usage: { output_bytes: 2 } })).toEqual(["entries[0].data.usage.wall_ms"]);
    expect(differ({ duration_ms: 1 })).toEqual(["entries[0].data.duration_ms"]);
  });

  it("leaves the caller of an API's run out, in the first entry alone", () => {
    const admitted = { event_type: "run.admitted" };
    const typed = entry({ name: "goal" }, admitted);
    const caller = { door: "http", token_id: "tok_a", scopes: [] };
    expect(differencesOf([typed], [entry({ name: "goal", caller }, admitted)])).toEqual([]);
    expect(differencesOf([entry({})], [entry({ caller })])).toHaveLength(1);
    expect(differencesOf([typed], [entry({ name: "goal", caller: 1 }, admitted)])).toHaveLength(1);
  });
});
