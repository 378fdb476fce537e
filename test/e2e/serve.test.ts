import type { ChildProcess } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Answer, askAt } from "../../packages/runtime/test/support/api-rig.ts";
import { OidcIssuer, oidcSection } from "../../packages/runtime/test/support/oidc-issuer.ts";
import { SovereignClient } from "../../packages/client/src/index.ts";
import { type CliEnd, endOf, Installation, type Json } from "./cli.ts";

let installation: Installation;
let target: Server;
let host: string;
let token: string;
/** Requests of steps that are not answered yet. */
const held: ServerResponse[] = [];
/** Requests that must not be made twice. */
const paid: string[] = [];
let holds = false;

beforeAll(async () => {
  installation = new Installation();
  target = createServer((request, response) => {
    if (request.method === "POST") paid.push(request.url ?? "");
    if (holds) held.push(response);
    else response.end("ok");
  });
  await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(target.address() as AddressInfo).port}`;
});
afterAll(async () => {
  target.closeAllConnections();
  target.close();
  await installation.dispose();
});

interface Served {
  readonly child: ChildProcess;
  readonly url: string;
  readonly told: Json[];
  readonly ended: Promise<CliEnd>;
}

async function serve(...more: string[]): Promise<Served> {
  const child = installation.start(["serve", "--listen", "127.0.0.1:0", "--json", ...more]);
  const ended = endOf(child);
  const told: Json[] = [];
  let rest = "";
  child.stdout?.on("data", (chunk) => {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) told.push(JSON.parse(line) as Json);
  });
  await until(() => told.some(({ event }) => event === "listening"));
  return { child, url: String(told[0]?.["url"]), told, ended };
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < 60_000; waited += 50) {
    if (await what()) return;
    await sleep(50);
  }
  throw new Error("it did not come");
}

const submit = (url: string): Promise<Answer> =>
  askAt(url, token, "POST", "/v1/runs", {
    body: {
      goal: "call a server",
      agent_id: "bot",
      plan: { steps: [{ id: "one", skill: "http_call", with: { url: `http://${host}/one` } }] },
    },
  });

async function statusOf(run: string): Promise<unknown> {
  const { documents } = await installation.json(["runs", "show", run, "--tenant", "acme"]);
  return documents[0]?.["status"];
}

function answerAll(): void {
  holds = false;
  for (const response of held.splice(0)) response.end("ok");
}

describe("sovereign serve", () => {
  it("is refused without a token that counts, and serves with one that is shown once", async () => {
    const refused = await installation.json(["serve", "--listen", "127.0.0.1:0"]);
    expect(refused).toMatchObject({ code: 2, documents: [{ error: { code: "ERR_TOKEN_NONE" } }] });
    const create = ["tokens", "create", "--tenant", "acme", "--scope", "runs:read", "runs:write"];
    const { documents } = await installation.json([...create, "--expires", "1h"]);
    token = String(documents[0]?.["token"]);
    expect(token).toMatch(/^sovt_/);
    const listed = await installation.run(["tokens", "list", "--tenant", "acme"]);
    expect(listed.out).toContain(String(documents[0]?.["token_id"]));
    expect(listed.out).not.toContain(token);
    mkdirSync(join(installation.home, "policies"));
    const operations = [{ type: "skill.http_call", resources: [host] }];
    const policy = { policy_id: "acme", schema_version: "1.0.0", operations };
    writeFileSync(join(installation.home, "policies", "acme.yaml"), JSON.stringify(policy));
    const wide = await installation.json(["serve", "--listen", "0.0.0.0:0"]);
    expect(wide).toMatchObject({ code: 2, documents: [{ error: { code: "ERR_HTTP_CONFIG" } }] });
  });

  it("is used by the client package: submitted once, followed to its end, cancelled", async () => {
    const { child, url, ended } = await serve();
    const client = new SovereignClient({ url, token });
    const goal = {
      goal: "call a server",
      agent_id: "bot",
      plan: { steps: [{ id: "one", skill: "http_call", with: { url: `http://${host}/one` } }] },
    };
    const { run_id: run } = await client.submit(goal, "once");
    expect(await client.submit(goal, "once")).toEqual({ run_id: run, is_new: false });
    const types: string[] = [];
    for await (const { type } of client.follow(run)) types.push(type);
    expect([types[0], types.at(-1)]).toEqual(["run.admitted", "run.sealed"]);
    const trace = await client.call("traceRun", { params: { run } });
    expect(trace.steps).toMatchObject([{ step_id: "one", status: "completed" }]);
    expect(await client.call("listBreakers", {})).toEqual({ breakers: [] });
    await expect(client.call("listIncidents", {})).rejects.toMatchObject({
      status: 403,
      code: "ERR_HTTP_SCOPE",
    });
    holds = true;
    const { run_id: stopped } = await client.submit(goal);
    await until(() => held.length > 0);
    const cancel = { params: { run: stopped }, body: { reason: "not needed" } };
    expect(await client.call("cancelRun", cancel)).toMatchObject({ status: "failed" });
    answerAll();
    child.kill("SIGTERM");
    expect((await ended).code).toBe(0);
  });

  it("takes tokens of an identity provider, and the operator is told why one does not count", async () => {
    const issuer = await OidcIssuer.start();
    const config = join(installation.home, "config.yaml");
    writeFileSync(config, JSON.stringify({ oidc: oidcSection(issuer.url) }), { mode: 0o600 });
    const file = join(installation.home, "token");
    const check = async (text: string): ReturnType<Installation["json"]> => {
      writeFileSync(file, `${text}\n`);
      return installation.json(["tokens", "check", "--file", file]);
    };
    const good = await issuer.sign(issuer.claims());
    expect((await check(good)).documents).toMatchObject([
      { tenant: "acme", scopes: ["runs:read", "runs:write"] },
    ]);
    expect((await check(token)).documents).toMatchObject([{ tenant: "acme" }]);
    for (const [text, why] of [
      [await issuer.sign(issuer.claims({ aud: "other" })), "expected the audience sovereign-api"],
      [await issuer.sign(issuer.claims({ tenant: "initech" })), "has no policy"],
      [`${good.slice(0, -6)}AAAAAA`, "signature"],
      [`${token}x`, "none of ours"],
    ] as const) {
      const { code, documents } = await check(text);
      const error = { code: "ERR_TOKEN_REFUSED", message: expect.stringContaining(why) as string };
      expect({ code, documents }).toMatchObject({ code: 3, documents: [{ error }] });
      expect(JSON.stringify(documents)).not.toContain(text.slice(-40));
    }
    const { child, url, ended, told } = await serve();
    const client = new SovereignClient({ url, token: good });
    expect(await client.call("getCaller", {})).toMatchObject({ tenant_id: "acme" });
    const { run_id: run } = await client.submit({
      ...{ goal: "call a server", agent_id: "bot" },
      plan: { steps: [{ id: "one", skill: "http_call", with: { url: `http://${host}/one` } }] },
    });
    await until(async () => (await statusOf(run)) === "completed");
    child.kill("SIGTERM");
    expect((await ended).code).toBe(0);
    expect(JSON.stringify(told)).not.toContain(good.slice(-40));
    rmSync(config);
    await issuer.close();
  });

  it("that is killed at work leaves a run that the next one carries to its end", async () => {
    const first = await serve();
    holds = true;
    const { json, status } = await submit(first.url);
    expect(status).toBe(202);
    const run = String(json["run_id"]);
    await until(() => held.length > 0);
    first.child.kill("SIGKILL");
    await first.ended;
    expect(await statusOf(run)).toBe("running");
    answerAll();
    const second = await serve();
    await until(() =>
      second.told.some(({ event, run: of }) => event === "run.ended" && of === run),
    );
    expect(second.told).toContainEqual({ event: "run.recovered", tenant: "acme", run, why: null });
    expect(await statusOf(run)).toBe("completed");
    const proof = await installation.json(["runs", "proof", run, "--tenant", "acme"]);
    expect(proof.code).toBe(0);
    second.child.kill("SIGTERM");
    expect((await second.ended).code).toBe(0);
  });

  it("that is ended waits for the run at work, and takes no other", async () => {
    const served = await serve();
    holds = true;
    const run = String((await submit(served.url)).json["run_id"]);
    await until(() => held.length > 0);
    served.child.kill("SIGTERM");
    await until(() => served.told.some(({ event }) => event === "ending"));
    await until(() =>
      submit(served.url).then(
        () => false,
        () => true,
      ),
    );
    answerAll();
    expect((await served.ended).code).toBe(0);
    expect(await statusOf(run)).toBe("completed");
  });

  it("leaves a step of which nobody knows whether it was done to a worker, once somebody says so", async () => {
    const pays = (): number => paid.length;
    const plan = {
      steps: [
        { id: "pay", skill: "http_call", with: { url: `http://${host}/pay`, method: "POST" } },
      ],
    };
    const first = await serve();
    holds = true;
    const body = { goal: "pay once", agent_id: "bot", plan };
    const begun = await askAt(first.url, token, "POST", "/v1/runs", { body });
    const run = String(begun.json["run_id"]);
    await until(() => held.length > 0);
    first.child.kill("SIGKILL");
    await first.ended;
    answerAll();
    const waits = await installation.json(["run", "resume", run, "--tenant", "acme"]);
    expect(waits.documents.at(-1)).toMatchObject({
      status: "pending",
      code: "ERR_OUTCOME_UNKNOWN",
    });
    const before = pays();
    const worker = installation.start(["worker", "--json"]);
    const ended = endOf(worker);
    const second = await serve("--no-worker");
    const goOn = (how: string): Promise<Answer> =>
      askAt(second.url, token, "POST", `/v1/runs/${run}/${how}`);
    // To go on with it does nothing anew: it comes back to whoever has to say so.
    expect((await goOn("resume")).status).toBe(202);
    await until(async () => (await statusOf(run)) === "pending");
    expect(pays()).toBe(before);
    expect((await goOn("retry")).status).toBe(202);
    await until(async () => (await statusOf(run)) === "completed");
    expect(pays()).toBe(before + 1);
    const told = await askAt(second.url, token, "GET", `/v1/runs/${run}/events`);
    expect(told.text.match(/"retry_failed":true/g)).toHaveLength(1);
    worker.kill("SIGTERM");
    second.child.kill("SIGTERM");
    await Promise.all([ended, second.ended]);
    const proof = await installation.json(["runs", "proof", run, "--tenant", "acme"]);
    expect(proof.code).toBe(0);
  });

  it("interrupts what is not at its end in time, and the next one goes on with it", async () => {
    const first = await serve("--drain", "0");
    holds = true;
    const run = String((await submit(first.url)).json["run_id"]);
    await until(() => held.length > 0);
    first.child.kill("SIGTERM");
    expect((await first.ended).code).toBe(0);
    expect(await statusOf(run)).toBe("pending");
    answerAll();
    const second = await serve();
    await until(async () => (await statusOf(run)) === "completed");
    second.child.kill("SIGTERM");
    await second.ended;
  });
});
