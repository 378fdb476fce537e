import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { leaveCall } from "../../src/scram/index.ts";
import { pendingStop } from "../../src/scram/pending.ts";
import type { Signal } from "../../src/scram/signal-file.ts";
import { watchCalls } from "../../src/sentinel/call-files.ts";
import { SmallDisk } from "../support/small-disk.ts";

const WORDS = JSON.stringify({
  command: "SCRAM_ACTIVATE",
  timestamp: "",
  pid: 7,
  reason: "security_breach",
});
const EVENT = { event: { scram_state: "COMPLETE" } };

let folder: string;
let heard: Signal[];
let end: () => void;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-call-"));
  heard = [];
  end = () => undefined;
});
afterEach(() => {
  end();
  rmSync(folder, { recursive: true, force: true });
});

/** What has come so far, and will, is answered with `outcome`. */
function listen(outcome: JsonObject = EVENT): void {
  end = watchCalls(folder, (signal) => {
    heard.push(signal);
    return Promise.resolve(outcome);
  });
}

function write(name: string, text: string): void {
  writeFileSync(join(folder, name), text, { mode: 0o600 });
}

async function answerTo(name: string): Promise<string> {
  const path = join(folder, `${name}.answer`);
  await vi.waitUntil(() => existsSync(path), { timeout: 10_000 });
  return readFileSync(path, "utf8");
}

describe("a call", () => {
  it("is heard when it says that it is whole, and not before", async () => {
    listen();
    write("call.1", WORDS);
    write("call.2", WORDS.replace("security_breach", "governance_mandate"));
    write("call.2.ready", "");
    expect(await answerTo("call.2")).toBe('{"event":{"scram_state":"COMPLETE"}}\n');
    expect(heard).toHaveLength(1);
    write("call.1.ready", "");
    await answerTo("call.1");
    expect(heard.at(-1)).toEqual({ kind: "activate", reason: "security_breach" });
    expect(existsSync(join(folder, "call.1"))).toBe(false);
    expect(existsSync(join(folder, "call.1.ready"))).toBe(false);
  });

  it("that was made while nobody listened is heard by the next who does", async () => {
    write("call.3", WORDS);
    write("call.3.ready", "");
    listen();
    await answerTo("call.3");
    expect(heard).toHaveLength(1);
  });

  it.each([
    ["without words", null],
    ["cut off, as on a full disk", WORDS.slice(0, 20)],
  ])("%s is in doubt, and so a reason to stop", async (_, text) => {
    listen();
    if (text !== null) write("call.4", text);
    write("call.4.ready", "");
    await answerTo("call.4");
    expect(heard).toMatchObject([{ kind: "unreadable" }]);
  });

  it("is not obeyed as a link, and heard of once", async () => {
    write("elsewhere", WORDS);
    symlinkSync(join(folder, "elsewhere"), join(folder, "call.5"));
    listen({ refused: { code: "ERR_SCRAM_ORDER_MALFORMED", reason: "it is a symbolic link" } });
    write("call.5.ready", "");
    expect(await answerTo("call.5")).toContain("symbolic link");
    expect(heard).toMatchObject([{ kind: "refused" }]);
    expect(existsSync(join(folder, "call.5.ready"))).toBe(false);
  });

  it("is answered without the receipt, and an answer that nobody took is removed", async () => {
    write("call.6.answer", "{}");
    listen({ ...EVENT, receipt: { payload: "long" }, body: {} });
    expect(existsSync(join(folder, "call.6.answer"))).toBe(false);
    write("call.6", WORDS);
    write("call.6.ready", "");
    expect(await answerTo("call.6")).not.toContain("long");
  });
});

describe("a call that one of our own programs leaves", () => {
  it("is a stop for whoever comes next, and says why", async () => {
    write("SETTLED", "");
    await leaveCall(folder, "the sentinel did not answer");
    expect(pendingStop(folder)).toMatch(/^call\.\d+$/);
    expect(existsSync(join(folder, "SETTLED"))).toBe(true);
    listen();
    await vi.waitUntil(() => heard.length > 0, { timeout: 10_000 });
    expect(heard).toEqual([
      { kind: "activate", reason: "system_critical", why: "the sentinel did not answer" },
    ]);
  });

  it("of which not even the name has room takes the proof away, without which nothing starts", async () => {
    // Room for the call, and none for what says that it is whole.
    const inodes = SmallDisk.mount(1, "nr_inodes=3");
    if (inodes === null) return;
    try {
      writeFileSync(join(inodes.path, "SETTLED"), "");
      await leaveCall(inodes.path, "why");
      expect(existsSync(join(inodes.path, "SETTLED"))).toBe(false);
    } finally {
      inodes.unmount();
    }
  });
});
