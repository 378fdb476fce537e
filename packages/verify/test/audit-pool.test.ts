import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { verifyAudit } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuditPool } from "../src/audit-pool.ts";
import { writeAuditLog } from "./support/audit-log.ts";
import { chunked } from "./support/audit-file.ts";

const ENTRIES = 2500;
let genuine: string;
let pools: AuditPool[];
beforeAll(() => {
  const folder = mkdtempSync(join(tmpdir(), "sovereign-audit-"));
  const file = join(folder, "audit.jsonl");
  writeAuditLog(file, ENTRIES);
  genuine = readFileSync(file, "utf8");
  rmSync(folder, { recursive: true });
  pools = [new AuditPool(1, 0), new AuditPool(3, 1)];
});
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.close()));
});

/** The lines of the genuine file, changed. */
function changed(change: (lines: string[]) => void): string {
  const lines = genuine.split("\n");
  change(lines);
  return lines.join("\n");
}

function twoWrong(lines: string[]): void {
  lines[1200] = lines[1200]!.replace("step1200", "step1201");
  lines[20] = "{}";
}

describe("an audit file that several threads judge", { timeout: 60_000 }, () => {
  it.each<[string, (lines: string[]) => void, string | null]>([
    ["as it is", () => undefined, null],
    ["without its last line end", (lines) => lines.pop(), null],
    ["with an entry edited", (lines) => lines.splice(1700, 1, lines[1699]!), "line 1701"],
    ["with a line that is no JSON", (lines) => (lines[2300] = "{"), "line 2301"],
    ["with an empty line", (lines) => lines.splice(9, 0, ""), "line 10"],
    ["with a line dropped", (lines) => lines.splice(700, 1), "line 720"],
    ["with two lines swapped", (lines) => lines.splice(5, 2, lines[6]!, lines[5]!), "line 7"],
    ["cut in a line", (lines) => lines.splice(-1, 1, lines[3]!.slice(0, 99)), "line 2501"],
    ["wrong in two places", twoWrong, "line 21"],
    ["with a line too long", (lines) => (lines[2000] = "x".repeat(200_000)), "line 2001"],
    [
      "wrong before a line that is too long",
      (lines) => {
        lines[2000] = "x".repeat(3_000_000);
        lines[1999] = "[]";
      },
      "line 2000",
    ],
  ])("has the report of one thread: %s", async (_, change, place) => {
    const bytes = Buffer.from(changed(change));
    const alone = await verifyAudit(chunked(bytes), { checkpoint: null });
    expect(alone.first_failure?.place ?? null).toBe(place);
    for (const lines of pools) {
      for (const size of [1000, 100_000]) {
        const report = await verifyAudit(chunked(bytes, size), { checkpoint: null, lines });
        expect(JSON.stringify(report)).toBe(JSON.stringify(alone));
      }
    }
  });

  it("says that the machine failed, and nothing of the file, when a thread ends", async () => {
    const pool = new AuditPool(1, 0);
    const begun = verifyAudit(chunked(Buffer.from(genuine), 10_000), {
      checkpoint: null,
      lines: {
        ahead: pool.ahead,
        judge: (batch) => {
          const judged = pool.judge(batch);
          void pool.close();
          return judged;
        },
      },
    });
    await expect(begun).rejects.toMatchObject({ code: "ERR_VERIFY_RESOURCES" });
  });
});
