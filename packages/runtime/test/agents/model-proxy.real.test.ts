import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ScriptedModel, type ScriptedTurn } from "../../../../examples/agent/scripted-model.ts";
import { ModelCallDesk, ModelProxyProcess, VendorStore } from "../../src/agents/index.ts";
import { programCommand } from "../../src/home/index.ts";
import { ScramLatch } from "../../src/scram/index.ts";
import { systemEntropy } from "../../src/system/index.ts";
import {
  ADDED_AT,
  ask,
  CANARY,
  deskOptions,
  HandGate,
  OWNER,
  PRICED,
  type Recorded,
  REQUESTS,
  type Reply,
  scriptedVendor,
} from "../support/model-rig.ts";

const SLOW: ScriptedTurn = { text: "x".repeat(2000), pieces: 2000, delayMs: 5 };
const BODY = { ...REQUESTS["messages"]?.body, stream: true };

let home: string;
let vendor: ScriptedModel;
let proxy: ModelProxyProcess;
let desk: ModelCallDesk;
let entries: Recorded[];
let token: string;
let gate: HandGate;
let turn: ScriptedTurn;

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "proxy-"));
  mkdirSync(join(home, "scram"), { mode: 0o700 });
  turn = { text: "hello" };
  vendor = await ScriptedModel.start({ script: () => turn, key: CANARY });
  const passphrase = join(home, "passphrase");
  writeFileSync(passphrase, "correct horse battery\n", { mode: 0o600 });
  const store = new VendorStore(join(home, "models"), "correct horse battery");
  await store.add(scriptedVendor(vendor.url), ADDED_AT, false);
  entries = [];
  gate = new HandGate();
  desk = await ModelCallDesk.open(deskOptions({ entries, gate }, {}), null);
  proxy = await ModelProxyProcess.start({
    command: programCommand("model-proxy"),
    home,
    socket: join(home, "m.sock"),
    environment: {
      ...process.env,
      SOVEREIGN_PASSPHRASE_FILE: passphrase,
      ANTHROPIC_API_KEY: "of somebody else",
    },
    entropy: systemEntropy,
  });
  const run = { owner: OWNER, vendor: "scripted", models: [PRICED], calls: desk };
  token = (await proxy.admit(run)).token;
});

afterEach(async () => {
  await proxy.close();
  await vendor.close();
  rmSync(home, { recursive: true, force: true });
});

const post = (): Promise<Reply> =>
  ask(proxy.socket, "POST", "/v1/messages", BODY, { "x-api-key": token });
const called = (): unknown[] =>
  entries.filter(({ event_type: type }) => type === "llm.called").map(({ data }) => data);
const inFlight = async (): Promise<void> => {
  turn = SLOW;
  const reply = post().then(
    ({ whole }) => whole,
    () => null,
  );
  await expect.poll(() => vendor.requests.length).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  begun = reply;
};
let begun: Promise<boolean | null>;

describe("the model proxy's process", () => {
  test("asks the control for each call, and holds the only open key", async () => {
    const reply = await post();
    expect(reply).toMatchObject({ status: 200, whole: true });
    expect(called()).toMatchObject([{ ended: "completed", usage: { input: 100, output: 20 } }]);
    // What others can see of it: its words, its environment, everything that lies on the disk.
    const seen = ["cmdline", "environ"].map((file) =>
      readFileSync(`/proc/${proxy.pid ?? 0}/${file}`, "latin1"),
    );
    const files = readdirSync(home, { recursive: true, withFileTypes: true })
      .filter((one) => one.isFile())
      .map((one) => readFileSync(join(one.parentPath, one.name), "latin1"));
    for (const text of [...seen, ...files, JSON.stringify(entries), JSON.stringify(reply)]) {
      expect(text).not.toContain(CANARY);
      expect(text).not.toContain(Buffer.from(CANARY).toString("base64").slice(0, -4));
      expect(text).not.toContain("of somebody else");
      if (text !== seen[0]) expect(text).not.toContain(token);
    }
  });

  test("counts what was held when the proxy is killed in the middle of an answer", async () => {
    await inFlight();
    process.kill(proxy.pid ?? 0, "SIGKILL");
    await proxy.closed;
    expect(await begun).not.toBe(true);
    const [reserved] = entries;
    expect(called()).toMatchObject([
      { ended: "unknown", usage: null, charged: reserved?.data["reserved"] },
    ]);
    await expect(
      proxy.admit({ owner: OWNER, vendor: "scripted", models: [], calls: desk }),
    ).rejects.toMatchObject({ code: "ERR_MODEL_PROXY" });
  });

  test("cuts its streams when the latch appears, with nobody to tell it", async () => {
    await inFlight();
    new ScramLatch(join(home, "scram")).trip({
      event_id: "SCRAM-20261128220000000000",
      scope: { kind: "all" },
      reason: "operator_initiated",
      tripped_at: "2026-11-28T22:00:00.000Z",
    });
    expect(await begun).toBe(false);
    await expect.poll(called).toMatchObject([{ ended: "stopped" }]);
    expect((await post()).status).toBe(403);
    expect(vendor.requests.length).toBe(1);
  });

  test("cuts its streams when it is told to stop, and dies when it does not", async () => {
    await inFlight();
    proxy.stop("the kill switch is tripped");
    expect(await begun).toBe(false);
    await proxy.closed;
    expect(called()).toMatchObject([{ ended: "stopped" }]);
  });

  test("opens no vendor that is not set up", async () => {
    const run = { owner: OWNER, vendor: "nobody", models: [], calls: desk };
    await expect(proxy.admit(run)).rejects.toMatchObject({ code: "ERR_MODEL_VENDOR_UNKNOWN" });
  });
});
