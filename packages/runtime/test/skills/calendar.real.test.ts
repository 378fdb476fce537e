import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject } from "@sovereign/core";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { filesWith } from "../support/secret-search.ts";
import { openSkillRig, type SkillRig } from "../support/skill-rig.ts";

const AT = "2026-11-29T00:00:00.000Z";
const CANARY = "canary-cal-5f10aa";

let rig: SkillRig;
let folder: string;
let radicale: ChildProcess;
let host: string;
let url: string;

beforeAll(async () => {
  rig = await openSkillRig();
  folder = mkdtempSync(join(tmpdir(), "sov-radicale-"));
  host = `127.0.0.1:${await freePort()}`;
  url = `http://${host}/ann/diary/`;
  mkdirSync(join(folder, "collections"));
  writeFileSync(join(folder, "users"), `ann:${CANARY}\n`);
  const config = [
    `[server]\nhosts = ${host}`,
    `[auth]\ntype = htpasswd\nhtpasswd_filename = ${join(folder, "users")}\nhtpasswd_encryption = plain`,
    `[storage]\nfilesystem_folder = ${join(folder, "collections")}`,
    "[logging]\nlevel = warning",
  ];
  writeFileSync(join(folder, "config"), config.join("\n"));
  // Debian's package: apt-get install radicale
  radicale = spawn("radicale", ["--config", join(folder, "config")], { stdio: "ignore" });
  await untilItListens();
  await fetch(url, {
    method: "MKCOL",
    headers: {
      authorization: `Basic ${Buffer.from(`ann:${CANARY}`).toString("base64")}`,
      "content-type": "application/xml",
    },
    body: '<?xml version="1.0"?><mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><set><prop><resourcetype><collection/><C:calendar/></resourcetype></prop></set></mkcol>',
  });
  await rig.secrets.set({ name: "CAL", hosts: [host], value: CANARY }, AT);
  await rig.secrets.set({ name: "WRONG", hosts: [host], value: "another-password" }, AT);
});
afterAll(async () => {
  radicale.kill("SIGKILL");
  await rig.close();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(() => {
  expect(filesWith(rig.folder, CANARY, ["/secrets/"])).toEqual([]);
  expect(filesWith(join(folder, "collections"), CANARY)).toEqual([]);
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function untilItListens(): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const [name = "", port = ""] = host.split(":");
    const answers = await new Promise<boolean>((resolve) => {
      const socket = connect(Number(port), name);
      socket.on("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.on("error", () => {
        resolve(false);
      });
    });
    if (answers) return;
    await sleep(100);
  }
  throw new Error("radicale does not listen. Type: apt-get install radicale");
}

const given = (event: JsonObject = {}, more: JsonObject = {}): JsonObject => ({
  url,
  user: "ann",
  password: "${{ secrets.CAL }}",
  event: {
    summary: "Überprüfung; of a, report that has a rather long name, so that its line is folded 🗓",
    start: "2026-12-01T10:00:00+01:00",
    end: "2026-12-01T11:00:00+01:00",
    ...event,
  },
  ...more,
});
const events = (): string[] => {
  const at = join(folder, "collections/collection-root/ann/diary");
  return readdirSync(at)
    .filter((name) => name.endsWith(".ics"))
    .map((name) => readFileSync(join(at, name), "utf8"));
};

it("writes an event that the server takes, and the same step again writes no second one", async () => {
  expect(await rig.codeOf("calendar_write", given())).toBe("completed");
  expect(await rig.codeOf("calendar_write", given())).toBe("completed");
  const [event = "", ...others] = events();
  expect(others).toEqual([]);
  const unfolded = event.replaceAll(/\r?\n[ \t]/g, "");
  expect(unfolded).toContain("Überprüfung\\; of a\\, report");
  expect(unfolded).toContain("🗓");
  expect(unfolded).toMatch(/DTSTART:20261201T090000Z/);
});

it("writes over an event where it is told to, and else does not", async () => {
  const meeting = { uid: "meeting-1", summary: "First" };
  expect(await rig.codeOf("calendar_write", given(meeting))).toBe("completed");
  const second = { ...meeting, summary: "Second" };
  expect(await rig.codeOf("calendar_write", given(second))).toBe("ERR_SKILL_FAILED");
  expect(await rig.codeOf("calendar_write", given(second, { replace: true }))).toBe("completed");
  expect(events().filter((one) => one.includes("meeting-1"))).toEqual([
    expect.stringContaining("Second"),
  ]);
});

it("fails with a wrong password, in a calendar that is not there, and of an unnamed host", async () => {
  const wrong = given({}, { password: "${{ secrets.WRONG }}" });
  expect(await rig.codeOf("calendar_write", wrong)).toBe("ERR_SKILL_FAILED");
  const nowhere = given({}, { url: `http://${host}/eve/diary/` });
  expect(await rig.codeOf("calendar_write", nowhere)).toBe("ERR_SKILL_FAILED");
  expect(await rig.codeOf("calendar_write", given(), { named: false })).toBe("ERR_SKILL_ADDRESS");
});

it("ends with its time, and may be tried again", async () => {
  radicale.kill("SIGSTOP");
  try {
    const late = await rig.codeOf("calendar_write", given({ uid: "late" }), { timeoutMs: 300 });
    expect(late).toBe("ERR_SKILL_TIMEOUT");
  } finally {
    radicale.kill("SIGCONT");
  }
  expect(await rig.codeOf("calendar_write", given({ uid: "late" }, { replace: true }))).toBe(
    "completed",
  );
});
