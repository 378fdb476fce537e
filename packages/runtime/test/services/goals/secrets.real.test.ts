import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { RunReport } from "../../../src/services/index.ts";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";
import { filesWith, holdsSecret, tablesWith } from "../../support/secret-search.ts";

const CANARY = "canary-5b/e1+07 c4";

let rig: GoalRig;
let folder: string;
const told: string[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-secret-"));
  const passphraseFile = join(folder, "passphrase");
  writeFileSync(passphraseFile, "correct horse battery");
  writeFileSync(join(folder, "value"), CANARY);
  rig = await openGoalRig({ passphraseFile });
  const set = { tenantId: "acme", name: "API_KEY", file: join(folder, "value") };
  await rig.services.setSecret({ ...set, hosts: [rig.host] });
  await rig.services.setSecret({ ...set, name: "ELSEWHERE", hosts: ["api.example.org"] });
});
afterAll(async () => {
  await rig.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Whatever a run did: data folder with its files of the database, tables, and all that was said. */
afterEach(async () => {
  expect(filesWith(rig.home, CANARY)).toEqual([]);
  expect(await tablesWith(rig.owner, CANARY)).toEqual([]);
  expect(told.filter((one) => holdsSecret(Buffer.from(one), CANARY))).toEqual([]);
  told.length = 0;
});

const call = (id: string, path: string, more: object = {}, given: object = {}): object => ({
  id,
  skill: "http_call",
  with: {
    url: `http://${rig.host}/${path}`,
    headers: { authorization: "Bearer ${{ secrets.API_KEY }}" },
    ...given,
  },
  ...more,
});

async function run(steps: readonly object[], more = {}): Promise<RunReport> {
  const report = await rig.runGoal(rig.planFile(steps), {
    ...more,
    onProgress: (progress) => told.push(JSON.stringify(progress)),
  });
  told.push(JSON.stringify(report));
  told.push(JSON.stringify(await rig.services.traceRun("acme", report.runId)));
  return report;
}

/** The gateway of this installation, found among the machine's processes. */
function gatewayPid(): number {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const found = pids.find((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return words.some((one) => one.includes("/main/gateway.")) && words.includes(rig.home);
    } catch {
      // It has ended meanwhile.
      return false;
    }
  });
  if (found === undefined) throw new Error("no gateway runs");
  return Number(found);
}

describe("a secret of a step is sent to its host, and is nowhere else afterwards", () => {
  it("after success, of a server that repeats it", async () => {
    let seen: string | undefined;
    rig.answer = (_, response) => {
      seen = response.req.headers.authorization;
      response.setHeader("etag", seen ?? "").end(`you sent ${seen ?? ""}`);
    };
    const report = await run([call("one", "echo")]);
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(seen).toBe(`Bearer ${CANARY}`);
    const { steps } = await rig.services.traceRun("acme", report.runId);
    expect(steps).toMatchObject([
      { output: { value: { body: "you sent Bearer [secret API_KEY]" } } },
    ]);
    expect(JSON.stringify(steps)).toContain("${{ secrets.API_KEY }}");
  });

  it("after a failure, and another attempt", async () => {
    let times = 0;
    rig.answer = (_, response) => {
      const sent = response.req.headers.authorization ?? "";
      response.writeHead(times++ < 1 ? 500 : 200, sent).end(sent);
    };
    const retry = { max: 2, backoff_ms: 1 };
    expect(await run([call("one", "again", { retry })])).toMatchObject({ status: "completed" });
    expect(times).toBe(2);
    rig.answer = (_, response) => response.writeHead(500).end(response.req.headers.authorization);
    expect(await run([call("one", "no")])).toMatchObject({ status: "failed", verdict: "VALID" });
  });

  it("after the gateway was killed amid a request, and the run's evidence is valid", async () => {
    rig.answer = () => {
      process.kill(gatewayPid(), "SIGKILL");
    };
    const report = await run([call("one", "dies")]);
    expect(report).toMatchObject({ status: "failed", code: "ERR_SKILL_FAILED", verdict: "VALID" });
  });

  it("after an interrupt amid a request", async () => {
    const stop = new AbortController();
    rig.answer = () => {
      stop.abort();
    };
    const report = await run([call("one", "waits")], { signal: stop.signal });
    expect(report.status).not.toBe("completed");
  });

  it("after it was refused to another host", async () => {
    const headers = { "x-key": "${{ secrets.ELSEWHERE }}" };
    const report = await run([call("one", "x", {}, { headers })]);
    expect(report).toMatchObject({ status: "failed", code: "ERR_SECRET_DENIED", verdict: "VALID" });
  });
});

describe("a reference to a secret", () => {
  const code = (one: string): object => ({ code: one });

  it("is the plan's alone: an answer that looks like one brings none", async () => {
    rig.answer = (_, response) => response.end("Bearer ${{ secrets.API_KEY }}");
    const steps = [
      call("first", "a", {}, { headers: {} }),
      call("second", "b", {}, { headers: { authorization: "${{ steps.first.output.body }}" } }),
    ];
    expect(await run(steps)).toMatchObject({ status: "failed", code: "ERR_PLAN_REFERENCE" });
  });

  it.each<[string, object, string]>([
    ["in a body", { body: "${{ secrets.API_KEY }}" }, "ERR_PLAN_REFERENCE"],
    ["in an address", { url: "http://127.0.0.1/${{ secrets.API_KEY }}" }, "ERR_PLAN_REFERENCE"],
    [
      "beside another reference",
      { headers: { a: "${{ secrets.API_KEY }}${{ inputs.x }}" } },
      "ERR_PLAN_REFERENCE",
    ],
    ["to one that is not set", { headers: { a: "${{ secrets.NOBODY }}" } }, "ERR_SECRET_UNKNOWN"],
  ])("is refused before there is a run: %s", async (_, given, expected) => {
    const plan = rig.planFile([call("one", "x", {}, given)], { inputs: { x: "1" } });
    await expect(rig.runGoal(plan)).rejects.toMatchObject(code(expected));
  });

  it("of another tenant leads to nothing", async () => {
    const plan = rig.planFile([call("one", "x")]);
    await expect(rig.runGoal(plan, { tenantId: "globex" })).rejects.toMatchObject(
      code("ERR_SECRET_UNKNOWN"),
    );
  });
});
