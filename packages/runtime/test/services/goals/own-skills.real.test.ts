import { appendFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";
import {
  ANY_OBJECT,
  COUNT,
  COUNTS,
  program,
  WORD_COUNT,
  writeOwnSkill,
} from "../../support/own-skill.ts";
import { filesWith, tablesWith } from "../../support/secret-search.ts";

const CANARY = "canary-of-own-skills-31";

let rig: GoalRig;
let folder: string;
let outside: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-own-"));
  rig = await openGoalRig();
  outside = join(folder, "outside.mjs");
  writeFileSync(outside, "export const found = 1;");
  await trust(WORD_COUNT, { "main.mjs": COUNTS, "lib/count.mjs": COUNT });
});
afterAll(async () => {
  await rig.close();
  rmSync(folder, { recursive: true, force: true });
});

async function trust(
  manifest: { readonly name: string },
  files: Readonly<Record<string, string>>,
): Promise<string> {
  const source = join(folder, manifest.name);
  rmSync(source, { recursive: true, force: true });
  writeOwnSkill(source, manifest, files);
  const asked = { tenantId: "acme", folder: source };
  const seen = await rig.services.addSkill({ ...asked, dryRun: true });
  expect(seen.trusted).toBe(false);
  return (await rig.services.addSkill({ ...asked, dryRun: false })).digest;
}

const step = (given: object, id = "one", more = {}): object => ({
  ...{ id, skill: "own", with: given },
  ...more,
});
const run = (...steps: object[]): ReturnType<GoalRig["runGoal"]> =>
  rig.runGoal(rig.planFile(steps));
const counts = (text: string): object => ({ name: "word_count", input: { text } });

/** A skill that does something that no skill may do, and says what came of it. */
async function tries(body: string, imports = ""): ReturnType<GoalRig["runGoal"]> {
  const manifest = { ...WORD_COUNT, name: "naughty", input: ANY_OBJECT, output: {} };
  await trust(manifest, { "main.mjs": program(body, imports) });
  return run(step({ name: "naughty" }));
}

describe("a skill of one's own", () => {
  it("runs in the sandbox, and its digest is in the plan and in the evidence", async () => {
    const { digest } = (await rig.services.ownSkills("acme"))[0] ?? {};
    const report = await run(
      step(counts("a b c")),
      step(counts("${{ steps.one.output.words }} d"), "two"),
    );
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
    const { steps } = await rig.services.traceRun("acme", report.runId);
    expect(steps).toMatchObject([
      { skill: "own", resource: "word_count", output: { value: { words: 3 } } },
      { output: { value: { words: 2 } } },
    ]);
    const [first] = steps;
    expect(first?.input).toMatchObject({ input: { name: "word_count", digest } });
    const proof = await rig.services.proveRun("acme", report.runId);
    expect(proof.integrity).toMatchObject({ verification_status: "VERIFIED" });
  });

  it("is refused before there is a run where nobody trusted it, or policy does not name it", async () => {
    await expect(run(step({ name: "stranger" }))).rejects.toMatchObject({
      code: "ERR_SKILL_UNKNOWN",
    });
    const other = { ...WORD_COUNT, name: "unnamed" };
    await trust(other, { "main.mjs": COUNTS, "lib/count.mjs": COUNT });
    await expect(run(step({ ...counts("a"), name: "unnamed" }))).rejects.toMatchObject({
      code: "ERR_POLICY_DENIED",
    });
    await rig.services.removeSkill("acme", "unnamed");
  });

  it("that is changed while its run goes on is not run", async () => {
    rig.answer = (_, response) => {
      const kept = join(rig.home, "skills", "acme");
      const copy = readdirSync(kept).find((name) => name.startsWith("word_count-")) ?? "";
      appendFileSync(join(kept, copy, "main.mjs"), "// more");
      response.end("ok");
    };
    const call = { id: "first", skill: "http_call", with: { url: `http://${rig.host}/x` } };
    const report = await run(call, step(counts("a"), "own", { needs: ["first"] }));
    expect(report).toMatchObject({ status: "failed", code: "ERR_SKILL_CHANGED", verdict: "VALID" });
    await trust(WORD_COUNT, { "main.mjs": COUNTS, "lib/count.mjs": COUNT });
    expect(await run(step(counts("a")))).toMatchObject({ status: "completed" });
  });

  it("that gives what its manifest does not say fails, and so does one that fails", async () => {
    await trust(WORD_COUNT, { "main.mjs": program('return { value: { words: "many" } };') });
    expect(await run(step(counts("a")))).toMatchObject({ code: "ERR_EFFECT_RESULT" });
    await trust(WORD_COUNT, { "main.mjs": program('return { error: "not today" };') });
    const failed = await run(step(counts("a")));
    expect(failed).toMatchObject({ status: "failed", code: "ERR_SKILL_FAILED" });
    expect(failed.reason).toContain("word_count: not today");
    await trust(WORD_COUNT, { "main.mjs": "process.exit(3);" });
    expect((await run(step(counts("a")))).reason).toContain("ended with code 3");
    await trust(WORD_COUNT, { "main.mjs": COUNTS, "lib/count.mjs": COUNT });
  });

  it("imports nothing that is not in its folder", async () => {
    for (const what of [outside, "../outside.mjs", "zod", join(import.meta.dirname, "x.ts")]) {
      const report = await tries("return { value: 1 };", `import ${JSON.stringify(what)};`);
      expect(report).toMatchObject({ status: "failed", code: "ERR_SKILL_FAILED" });
    }
    const report = await tries("return { value: 1 };", 'import "node:path";');
    expect(report).toMatchObject({ status: "completed" });
  });

  it("reads nothing of this machine, and writes nothing into its folder", async () => {
    const read = (path: string): string =>
      `try { fs.readFileSync(${JSON.stringify(path)}); found.push(1); } catch { found.push(0); }`;
    const body = `const found = [];
      ${read(outside)} ${read(join(rig.home, "policy.json"))} ${read(join(rig.home, "skills"))}
      try { fs.writeFileSync("/skill/new", ""); found.push(1); } catch { found.push(0); }
      found.push(fs.existsSync("/skill/main.mjs") ? 1 : 0);
      return { value: found };`;
    const report = await tries(body, 'import fs from "node:fs";');
    const { steps } = await rig.services.traceRun("acme", report.runId);
    expect(steps).toMatchObject([{ output: { value: [0, 0, 0, 0, 1] } }]);
  });

  it("without a host reaches none", async () => {
    let asked = 0;
    rig.answer = (_, response) => {
      asked += 1;
      response.end("ok");
    };
    const body = `const { SOVEREIGN_GATEWAY, SOVEREIGN_TOKEN } = process.env;
      const direct = await fetch("http://HOST/").then(() => "reached", () => "no");
      return { value: [direct, SOVEREIGN_GATEWAY ?? null, SOVEREIGN_TOKEN ?? null] };`;
    const report = await tries(body.replace("HOST", rig.host));
    const { steps } = await rig.services.traceRun("acme", report.runId);
    expect(steps).toMatchObject([{ output: { value: ["no", null, null] } }]);
    expect(asked).toBe(0);
  });

  it("that does not end in time is ended", async () => {
    const manifest = { ...WORD_COUNT, name: "naughty", input: ANY_OBJECT, output: {} };
    await trust(manifest, { "main.mjs": "setInterval(() => undefined, 1000);" });
    const report = await run(step({ name: "naughty" }, "one", { timeout_ms: 3000 }));
    expect(report).toMatchObject({ status: "failed", code: "ERR_SKILL_TIMEOUT", verdict: "VALID" });
  });
});

describe("a skill of one's own with a host", () => {
  const ASK = `import { connect } from "node:net";
const ask = (url, headers = {}) => new Promise((resolve, reject) => {
  const { SOVEREIGN_GATEWAY: path, SOVEREIGN_TOKEN: token } = process.env;
  const parts = [];
  const socket = connect(path);
  socket.on("error", reject).on("data", (part) => parts.push(part));
  socket.on("close", () => resolve(JSON.parse(Buffer.concat(parts))));
  socket.write(JSON.stringify({ kind: "http", token, url, method: "GET", headers, body: null }) + "\\n");
});`;

  const caller = (): object & { readonly name: string } => ({
    ...WORD_COUNT,
    ...{ name: "caller", host: rig.host, secrets: ["headers.*"], input: ANY_OBJECT, output: {} },
  });

  it("reaches it through the gateway alone, which puts its secrets in", async () => {
    const file = join(folder, "value");
    writeFileSync(file, CANARY);
    await rig.services.setSecret({ tenantId: "acme", name: "OWN_KEY", hosts: [rig.host], file });
    let seen: string | undefined;
    rig.answer = (_, response) => {
      seen = response.req.headers.authorization;
      response.end(`you sent ${seen ?? ""}`);
    };
    const body = `const { ok, answer } = await ask(input.url, input.headers);
      return { value: [ok, Buffer.from(answer.body, "base64").toString()] };`;
    await trust(caller(), { "main.mjs": program(body, ASK) });
    const headers = { authorization: "Bearer ${{ secrets.OWN_KEY }}" };
    const input = { url: `http://${rig.host}/x`, headers };
    const report = await run(step({ name: "caller", input }));
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(seen).toBe(`Bearer ${CANARY}`);
    const { steps } = await rig.services.traceRun("acme", report.runId);
    expect(steps).toMatchObject([
      {
        resource: `${rig.host}/caller`,
        output: { value: [true, "you sent Bearer [secret OWN_KEY]"] },
      },
    ]);
    await rig.services.removeSecret("acme", "OWN_KEY");
    expect(filesWith(rig.home, CANARY)).toEqual([]);
    expect(await tablesWith(rig.owner, CANARY)).toEqual([]);
  });

  it("reaches no other, and what it tried is recorded", async () => {
    const body = `const { ok, code } = await ask("http://127.0.0.1:9/"); return { value: [ok, code] };`;
    await trust(caller(), { "main.mjs": program(body, ASK) });
    const report = await run(step({ name: "caller" }));
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
    const { steps } = await rig.services.traceRun("acme", report.runId);
    expect(steps).toMatchObject([{ output: { value: [false, "ERR_EGRESS_DENIED"] } }]);
    const { rows } = await rig.owner.query<{ n: string }>(
      "select count(*) n from sovereign.entries where convert_from(bytes, 'UTF8') like '%egress.refused%'",
    );
    expect(Number(rows[0]?.n)).toBeGreaterThan(0);
  });

  it("that dies leaves a step of which nobody knows whether it happened", async () => {
    await trust(caller(), { "main.mjs": "process.exit(1);" });
    expect(await run(step({ name: "caller" }))).toMatchObject({
      status: "pending",
      code: "ERR_OUTCOME_UNKNOWN",
    });
    const safe = await run(step({ name: "caller", idempotent: true }));
    expect(safe).toMatchObject({ status: "failed", code: "ERR_SKILL_FAILED" });
  });
});
