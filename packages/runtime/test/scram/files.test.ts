import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readKeyFile, writeKeyFile } from "../../src/scram/index.ts";
import { parseSignal, readSignal } from "../../src/scram/signal-file.ts";
import { ScramKeys, signOrder } from "../support/scram-keys.ts";
import { World } from "../support/world.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-scram-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const ACTIVATE = JSON.stringify({
  command: "SCRAM_ACTIVATE",
  timestamp: "2026-01-12T19:45:00Z",
  pid: 12_345,
  reason: "operator_initiated",
});

describe("the signal file", () => {
  it("activates, with a reason of the nine or as the sentinel's own", async () => {
    const path = join(folder, "signal");
    expect(await readSignal(path)).toBeNull();
    writeFileSync(path, ACTIVATE, { mode: 0o600 });
    expect(await readSignal(path)).toEqual({ kind: "activate", reason: "operator_initiated" });
    const other = new TextEncoder().encode(ACTIVATE.replace("operator_initiated", "because"));
    expect(parseSignal(other)).toEqual({ kind: "activate", reason: "sentinel_trigger" });
  });

  it("may hold a signed order", async () => {
    const keys = new ScramKeys();
    const envelope = signOrder(keys.order(), keys.operator, keys.architect);
    writeFileSync(join(folder, "signal"), JSON.stringify(envelope), { mode: 0o600 });
    expect(await readSignal(join(folder, "signal"))).toEqual({ kind: "order", envelope });
  });

  it.each([
    ["half written", ACTIVATE.slice(0, 40)],
    ["another command", ACTIVATE.replace("ACTIVATE", "RELAX")],
    ["empty", ""],
    ["oversized", " ".repeat(70_000)],
  ])("is in doubt, and so a reason to stop, when it is %s", async (_, text) => {
    writeFileSync(join(folder, "signal"), text, { mode: 0o600 });
    expect(await readSignal(join(folder, "signal"))).toMatchObject({ kind: "unreadable" });
  });

  it("becomes whole while it is looked at", async () => {
    const path = join(folder, "signal");
    writeFileSync(path, ACTIVATE.slice(0, 40), { mode: 0o600 });
    setTimeout(() => {
      writeFileSync(path, ACTIVATE);
    }, 20);
    expect(await readSignal(path)).toMatchObject({ kind: "activate" });
  });

  it("is not obeyed as a symbolic link, a folder, a pipe, or one that others may write", async () => {
    const refused = { kind: "refused", code: "ERR_SCRAM_ORDER_MALFORMED" };
    writeFileSync(join(folder, "real"), ACTIVATE, { mode: 0o600 });
    symlinkSync(join(folder, "real"), join(folder, "link"));
    expect(await readSignal(join(folder, "link"))).toMatchObject(refused);
    mkdirSync(join(folder, "folder"));
    expect(await readSignal(join(folder, "folder"))).toMatchObject(refused);
    chmodSync(join(folder, "real"), 0o666);
    expect(await readSignal(join(folder, "real"))).toMatchObject(refused);
  });

  it.runIf(process.getuid?.() === 0)("is not obeyed when another user owns it", async () => {
    const path = join(folder, "signal");
    writeFileSync(path, ACTIVATE, { mode: 0o600 });
    chownSync(path, 65_534, 65_534);
    expect(await readSignal(path)).toMatchObject({ kind: "refused" });
  });
});

describe("the sentinel's list of keys", () => {
  it("is read back, and refused when it is older than what is known, or another's", async () => {
    const world = await World.create();
    const { keyLog, keystore } = world;
    const installationId = `ins_${"a".repeat(20)}`;
    writeKeyFile(folder, installationId, keyLog.events);
    const first = readKeyFile(folder, null);
    expect(first?.keys.count).toBe(keyLog.head().count);
    const shorter = keyLog.events.slice(0, -1);
    await keyLog.introduce(keystore, { purpose: "operator", role: "alice" });
    await keyLog.refresh();
    writeKeyFile(folder, installationId, keyLog.events);
    const longer = readKeyFile(folder, first);
    expect(longer?.keys.windows.at(-1)?.record.purpose).toBe("operator");
    writeKeyFile(folder, installationId, shorter);
    expect(() => readKeyFile(folder, longer)).toThrow(
      expect.objectContaining({ code: "ERR_SCRAM_KEYS_INVALID" }),
    );
    writeFileSync(join(folder, "keys.json"), "{}");
    expect(() => readKeyFile(folder, longer)).toThrow(
      expect.objectContaining({ code: "ERR_SCRAM_KEYS_INVALID" }),
    );
    world.dispose();
  });
});
