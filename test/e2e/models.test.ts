import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ScriptedModel, type ScriptedTurn } from "../../examples/agent/scripted-model.ts";
import { certify } from "../../packages/runtime/test/support/certificate.ts";
import { type CliEnd, Installation } from "./cli.ts";

const KEY = "sk-canary-77aa01";
const installation = new Installation({ cluster: "made", processes: "one" });
const keyFile = join(installation.home, "key.txt");
let turn: ScriptedTurn = { text: "ok", usage: { input: 12, output: 3 } };
let vendor: ScriptedModel;

beforeAll(async () => {
  vendor = await ScriptedModel.start({ script: () => turn, key: KEY });
  writeFileSync(keyFile, `${KEY}\n`, { mode: 0o600 });
});
afterAll(async () => {
  await vendor.close();
  await installation.dispose();
});

const add = (...more: string[]): Promise<CliEnd> =>
  installation.run(
    ["models", "add", "local", "--kind", "anthropic-compatible", "--replace", ...more],
    { MY_KEY: KEY },
  );
const tryIt = (): Promise<CliEnd> =>
  installation.run(["models", "test", "local", "--model", "claude-sonnet-4-5"]);

describe("sovereign models", () => {
  it("sets up a vendor with a key of a file or the environment, and shows it nowhere", async () => {
    for (const source of [
      ["--key-file", keyFile],
      ["--key-env", "MY_KEY"],
    ]) {
      const added = await add("--base-url", vendor.url, ...source);
      expect(added.code).toBe(0);
      const listed = await installation.run(["models", "list"]);
      expect(listed.out).toContain("local");
      for (const { out, err } of [added, listed]) expect(`${out}${err}`).not.toContain(KEY);
      const tried = await tryIt();
      expect(tried).toMatchObject({ code: 0 });
      expect(tried.out).toContain("12 in, 3 out; cost: 81 millionths");
    }
    const file = readFileSync(join(installation.home, "models", "local.vendor.json"), "utf8");
    expect(file).toContain('"protection":"none"');
  });

  const answers: readonly (readonly [ScriptedTurn, string])[] = [
    [{ fault: { kind: "status", status: 401 } }, "key is not accepted"],
    [{ fault: { kind: "status", status: 503 } }, "The vendor fails (503)"],
    [{ fault: { kind: "html" } }, "does not speak the vendor's protocol"],
  ];
  it.each(answers)("says what %j means", async (answer, meaning) => {
    turn = answer;
    const { code, out } = await tryIt();
    expect({ code, out }).toMatchObject({ code: 1 });
    expect(out).toContain(meaning);
  });

  it("says that nobody answers, and that nobody vouches for a certificate", async () => {
    await add("--base-url", "http://127.0.0.1:9", "--key-file", keyFile);
    expect((await tryIt()).out).toContain("cannot be reached");
    const { certPem: cert, keyPem: key } = certify("stranger", null);
    const stranger = await ScriptedModel.start({ script: [], tls: { cert, key } });
    await add("--base-url", stranger.url, "--key-file", keyFile);
    expect((await tryIt()).out).toContain("Nobody vouches");
    expect(stranger.requests).toEqual([]);
    await stranger.close();
  });

  it("refuses what it cannot use, and forgets what it is told to forget", async () => {
    expect((await add("--base-url", "http://example.org", "--key-file", keyFile)).code).toBe(2);
    expect((await add("--base-url", vendor.url, "--key-env", "NOT_SET")).code).toBe(2);
    expect((await installation.run(["models", "remove", "local"])).code).toBe(0);
    expect((await tryIt()).err).toContain("ERR_MODEL_VENDOR_UNKNOWN");
  });
});
