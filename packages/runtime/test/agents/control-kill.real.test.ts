import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ScriptedModel } from "../../../../examples/agent/scripted-model.ts";
import { ModelCallDesk, VendorStore } from "../../src/agents/index.ts";
import {
  ADDED_AT,
  ask,
  CANARY,
  deskOptions,
  HandGate,
  type Recorded,
  REQUESTS,
  scriptedVendor,
} from "../support/model-rig.ts";

/** A control in a process of its own: it records into a file, and says its proxy's pid and token. */
const CONTROL = `
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
const [, , home] = process.argv;
const root = ${JSON.stringify(resolve("packages/runtime"))};
const { ModelCallDesk, ModelProxyProcess } = await import(root + "/src/agents/index.ts");
const { programCommand } = await import(root + "/src/home/index.ts");
const { systemEntropy } = await import(root + "/src/system/index.ts");
const { deskOptions, HandGate, OWNER } = await import(root + "/test/support/model-rig.ts");
const record = (event_type, _severity, data) => {
  appendFileSync(join(home, "stream"), JSON.stringify({ event_type, data }) + "\\n");
  return Promise.resolve();
};
const desk = await ModelCallDesk.open(
  deskOptions({ entries: [], gate: new HandGate() }, { record }),
  null,
);
const proxy = await ModelProxyProcess.start({
  command: programCommand("model-proxy"),
  home,
  socket: join(home, "m.sock"),
  environment: { PATH: process.env.PATH },
  entropy: systemEntropy,
});
const run = { owner: OWNER, vendor: "scripted", models: [], calls: desk };
const { token } = await proxy.admit(run);
writeFileSync(join(home, "ready"), JSON.stringify({ token, pid: proxy.pid }));
`;

let home: string;
let vendor: ScriptedModel;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "control-"));
  mkdirSync(join(home, "scram"), { mode: 0o700 });
  writeFileSync(join(home, "control.ts"), CONTROL);
  const script = [{ text: "x".repeat(4000), pieces: 4000, delayMs: 5 }];
  vendor = await ScriptedModel.start({ script, key: CANARY });
  await new VendorStore(join(home, "models"), null).add(
    scriptedVendor(vendor.url),
    ADDED_AT,
    false,
  );
});
afterEach(async () => {
  await vendor.close();
  rmSync(home, { recursive: true, force: true });
});

test("a control that is killed takes its proxy with it, and the call counts when it is gone on with", async () => {
  const control = spawn(process.execPath, [join(home, "control.ts"), home], { stdio: "inherit" });
  const ready = join(home, "ready");
  await expect.poll(() => existsSync(ready), { timeout: 60_000 }).toBe(true);
  const { token, pid } = JSON.parse(readFileSync(ready, "utf8")) as { token: string; pid: number };
  const body = { ...REQUESTS["messages"]?.body, stream: true };
  const reply = ask(join(home, "m.sock"), "POST", "/v1/messages", body, { "x-api-key": token });
  await expect.poll(() => vendor.requests.length, { timeout: 20_000 }).toBe(1);
  control.kill("SIGKILL");
  await once(control, "exit");
  const whole = await reply.then(
    (one) => one.whole,
    () => false,
  );
  expect(whole).toBe(false);
  await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 5000 }).toBe(false);

  const recorded = readFileSync(join(home, "stream"), "utf8").trimEnd().split("\n");
  const earlier = recorded.map((line) => JSON.parse(line) as Recorded);
  expect(earlier.map(({ event_type: type }) => type)).toEqual(["llm.reserved"]);
  const entries: Recorded[] = [];
  const gate = new HandGate();
  const desk = await ModelCallDesk.open(deskOptions({ entries, gate }, {}), streamOf(earlier));
  const held = earlier[0]?.data["reserved"];
  expect(entries).toMatchObject([
    { event_type: "llm.called", data: { ended: "unknown", usage: null, charged: held } },
  ]);
  expect(desk.totals).toMatchObject({ calls: 1, ...(held as object), reserved_tokens: 0 });
});

async function* streamOf(entries: readonly Recorded[]): AsyncGenerator<Recorded, void> {
  for (const entry of entries) yield await Promise.resolve(entry);
}
