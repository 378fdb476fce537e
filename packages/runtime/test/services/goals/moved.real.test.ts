import { cpSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verifyBundle } from "@sovereign/verify";
import { canonicalBytes } from "@sovereign/core";
import { Settings } from "../../../src/home/index.ts";
import { evidenceServices } from "../../../src/services/evidence-services.ts";
import { type GoalRunInput, goalServices } from "../../../src/services/goals/goal-services.ts";
import type { Opened } from "../../../src/services/opened.ts";
import { runServices } from "../../../src/services/runs/run-services.ts";
import { answerJson, policyFor } from "../../support/goal-rig.ts";
import { NodeRig, type TestNode } from "../../support/node-rig.ts";

let rig: NodeRig;
/** Whether the server hangs up on whoever posts, so that nobody knows what came of it. */
let hangsUp = true;
const server = createServer((request, response) => {
  if (request.method === "POST" && hangsUp) response.socket?.destroy();
  else answerJson(request.url ?? "", response);
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  rig = await NodeRig.open(2, "{ lease_ms: 30000 }");
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rig.close();
});

function servicesOf(node: TestNode) {
  const settings = Settings.of(node.home, { PATH: process.env["PATH"], DATABASE_URL: node.url });
  const opened: Opened = (work) => work(node.installation);
  return {
    ...runServices(settings, opened),
    ...goalServices(settings, opened),
    ...evidenceServices(opened),
  };
}

describe("a goal whose machine is gone", () => {
  it("goes on on another, with the policy and the artifacts of the first", async () => {
    const [a, b] = rig.nodes as [TestNode, TestNode];
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const files = { policy: join(rig.folder, "policy.json"), plan: join(rig.folder, "plan.json") };
    writeFileSync(files.policy, JSON.stringify(policyFor(host)));
    const url = `http://${host}/`;
    const steps = [
      { id: "first", skill: "http_call", with: { url } },
      { id: "second", needs: ["first"], skill: "http_call", with: { url, method: "POST" } },
    ];
    writeFileSync(files.plan, JSON.stringify({ steps }));
    const input: GoalRunInput = {
      tenantId: "acme",
      approvers: [],
      signal: new AbortController().signal,
      onProgress: () => undefined,
      goal: "look twice",
      agentId: "bot",
      originSystemId: "billing",
      planFile: files.plan,
      planner: "file",
      policyFile: files.policy,
      inputs: {},
      role: "runner",
      idempotencyKey: null,
      limits: {},
      priority: null,
    };
    const { runId, code } = await servicesOf(a).runGoal(input);
    expect(code).toBe("ERR_OUTCOME_UNKNOWN");
    // The second has the runner's key, too, which the first one's run enrolled.
    cpSync(join(a.home, "keys"), join(b.home, "keys"), { recursive: true });
    await b.off();
    await b.on();
    // Nothing of the first machine is within reach any more.
    await a.off();
    renameSync(join(a.home, "runs"), join(a.home, "gone"));
    hangsUp = false;
    const there = servicesOf(b);
    const { approvers, signal, onProgress, tenantId } = input;
    const again = { tenantId, approvers, signal, onProgress, retryFailed: true };
    expect(await there.resume(runId, again)).toMatchObject({ status: "completed" });
    expect(await there.proveRun(tenantId, runId)).toMatchObject({
      integrity: { verification_status: "VERIFIED" },
    });
    const bundle = await there.exportBundle(tenantId, runId, true);
    const { verdict, artifacts } = verdictOf(bundle, b);
    expect({ verdict, artifacts }).toEqual({ verdict: "VALID", artifacts: 2 });
  });
});

function verdictOf(
  bytes: Uint8Array,
  { installation }: TestNode,
): { verdict: string; artifacts: number } {
  const trustRoot = canonicalBytes(installation.keyLog.trustRoot());
  const found = JSON.parse(Buffer.from(bytes).toString("utf8")) as {
    artifacts: { content?: string }[];
  };
  return {
    verdict: verifyBundle(bytes, { trustRoot }).verdict,
    artifacts: found.artifacts.filter(({ content }) => content !== undefined).length,
  };
}
