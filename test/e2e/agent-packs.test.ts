import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { ComplianceBundle } from "@sovereign/core";
import { parseBundle, verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ScriptedModel } from "../../examples/agent/scripted-model.ts";
import { VendorStore } from "../../packages/runtime/src/agents/index.ts";
import { agentsFolder } from "../../packages/runtime/src/services/agents/agents-folder.ts";
import { endOf, Installation } from "./cli.ts";
import { killAt } from "./kill-at-entry.ts";

const KEY = "sk-of-the-vendor";
const PATIENCE_MS = 300_000;

let installation: Installation;
let model: ScriptedModel;
let repo: string;
let agents: Record<string, string>;

beforeAll(async () => {
  installation = new Installation();
  repo = join(installation.home, "repo");
  mkdirSync(repo);
  git("init", "-q", "-b", "main");
  writeFileSync(join(repo, "a.txt"), "a\n");
  git("add", "-A");
  git("commit", "-q", "-m", "base");
  const input = { file_path: "/workspace/b.txt", content: "b\n" };
  const write = { tools: [{ name: "Write", input }] };
  model = await ScriptedModel.start({ key: KEY, script: [write, { text: "done" }] });
  const vendors = new VendorStore(join(installation.home, "models"), null);
  const about = { name: "scripted", baseUrl: model.url, auth: "x-api-key" } as const;
  const prices = { provider: "anthropic", price: null, outputField: "max_tokens" } as const;
  const vendor = { ...about, ...prices, wires: ["anthropic_messages"] as const, key: KEY };
  await vendors.add(vendor, "2026-01-01T00:00:00.000Z", false);
  agents = { SOVEREIGN_AGENTS: agentsFolder({ ...process.env, HOME: homedir() }) };
});
afterAll(async () => {
  await model.close();
  await installation.dispose();
});

function git(...words: string[]): string {
  const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  return execFileSync("git", [...identity, ...words], { cwd: repo, encoding: "utf8" }).trimEnd();
}

/** A command that is killed once an entry is durable. */
async function killed(entry: string, ...words: string[]): Promise<string> {
  const { code, out, err } = await endOf(
    installation.start(words, { ...agents, ...killAt(entry) }),
  );
  expect(code).toBeNull();
  return out + err;
}

function statements({ entries }: ComplianceBundle): string[] {
  return entries.flatMap(({ entry }) => {
    const { predicate_type: type } = entry.data;
    const own = typeof type === "string" && type.startsWith("urn:");
    return own ? [type.split(":").at(-2) ?? ""] : [];
  });
}

describe("an agent's run whose process is killed", () => {
  it(
    "at each statement about its packs goes on, and signs each of them once",
    async () => {
      const order = ["agent", "run", "claude", "Make b.txt", "--repo", repo];
      const begun = await killed("attestation.issued", ...order);
      const run = /run_[a-z0-9]{20}/.exec(begun)?.[0] ?? "";
      const waits = await installation.run(["agent", "resume", run], agents);
      expect(waits.code).toBe(0);
      await killed("evidence.recorded", "agent", "apply", run);
      await killed("attestation.issued", "agent", "apply", run);
      const applied = await installation.run(["agent", "apply", run], agents);
      expect(applied.code).toBe(0);
      expect(git("show", "HEAD:b.txt")).toBe("b");
      const folder = join(installation.home, "runs", run);
      const bytes = readFileSync(join(folder, "compliance_bundle.json"));
      const trustRoot = readFileSync(join(folder, "trust-root.json"));
      expect(verifyBundle(bytes, { trustRoot, level: "sovereign" }).verdict).toBe("VALID");
      expect(statements(parseBundle(bytes))).toEqual(["tool-task", "tool-result", "gate-receipt"]);
      const gates = await installation.run(["gates", "run", run]);
      expect(gates.code).toBe(0);
      expect(gates.out).toMatch(/TL-C +pass/);
    },
    PATIENCE_MS,
  );
});
