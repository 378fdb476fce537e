import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Installation, type Json, runEnded } from "./cli.ts";

const POLICY = resolve("examples/exec/policy.json");
const REQUEST = resolve("examples/exec/request.json");
const installed = ["/usr/bin", "/usr/local/bin", "/bin"].some((at) => existsSync(`${at}/crun`));

let installation: Installation;
beforeAll(() => {
  installation = new Installation();
});
afterAll(async () => {
  await installation.dispose();
});

/** Run the example's request in a fresh repository; the same base each time. */
async function execute(name: string, policy: string): Promise<{ trees: string; proof: Json }> {
  const repo = join(installation.home, name);
  mkdirSync(repo);
  const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  const git = (...args: string[]): string =>
    execFileSync("git", [...identity, ...args], { cwd: repo, encoding: "utf8" }).trimEnd();
  git("init", "-q", "-b", "main");
  writeFileSync(join(repo, "README.md"), "# Mine\n");
  git("add", "-A");
  git("commit", "-q", "-m", "base");
  const args = ["exec", "run", "--policy", policy, "--request", REQUEST, "--repo", repo];
  const { code, documents } = await installation.json(args);
  const { run, status, verdict } = runEnded(documents);
  expect({ code, status, verdict }).toEqual({ code: 0, status: "completed", verdict: "VALID" });
  const gates = await installation.run(["gates", "run", run]);
  expect(gates.code).toBe(0);
  const path = join(installation.home, "runs", run, "03_executor/sandbox_proof.json");
  const proof = JSON.parse(readFileSync(path, "utf8")) as Json;
  return { trees: git("log", "--format=%T"), proof };
}

it("an execution in containers gives the same trees, and its proof says so", async () => {
  if (!installed) throw new Error("crun is not installed. Type: sudo apt-get install crun");
  const policy = JSON.parse(readFileSync(POLICY, "utf8")) as Json;
  const limits = { ...(policy["limits"] as Json), sandbox_backend: "container" };
  const contained = join(installation.home, "policy.json");
  writeFileSync(contained, JSON.stringify({ ...policy, limits }));
  const plain = await execute("plain", POLICY);
  const other = await execute("contained", contained);
  expect(other.trees).toBe(plain.trees);
  expect(plain.proof).toMatchObject({ sandbox_backend: "bubblewrap" });
  expect(other.proof).toMatchObject({
    sandbox_backend: "container",
    sandbox_level: plain.proof["sandbox_level"],
  });
});
