import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HookServer } from "../../src/coding/hook-server.ts";

const HOOK = fileURLToPath(new URL("../../src/coding/inside/hook.ts", import.meta.url));
const DENIAL = '{"denied":true}';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "hook-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function runHook(socket: string, body: string, deadlineMs = 5000): Promise<Ended> {
  const words = ["--disable-warning=ExperimentalWarning", HOOK, socket, DENIAL, String(deadlineMs)];
  const child = spawn(process.execPath, words, { stdio: "pipe" });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (part) => (stdout += String(part)));
  child.stderr.on("data", (part) => (stderr += String(part)));
  child.stdin.end(body);
  return new Promise((resolve) => {
    child.on("close", (code) => {
      resolve({ code, stdout, stderr });
    });
  });
}

/** A socket that answers every hook with the same bytes, or with `null` never. */
async function answering(
  name: string,
  reply: string | null,
): Promise<{ path: string; server: Server }> {
  const path = join(folder, name);
  const server = createServer({ allowHalfOpen: true }, (socket: Socket) => {
    socket.resume();
    socket.on("error", () => undefined);
    if (reply !== null) socket.on("end", () => socket.end(reply));
  });
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  return { path, server };
}

describe("the hook in the sandbox", () => {
  test.each<[string, string | null]>([
    ["nothing", ""],
    ["half an answer", "allow 20\n{}"],
    ["more than an answer", "allow 2\n{}{}"],
    ["another word", "perhaps 2\n{}"],
    ["no length", "allow\n{}"],
    ["no answer in time", null],
  ])("denies in all three forms for %s", async (name, reply) => {
    const { path, server } = await answering(name.replaceAll(" ", "-"), reply);
    const ended = await runHook(path, "{}", reply === null ? 300 : 5000);
    server.close();
    server.unref();
    expect(ended.code).toBe(2);
    expect(ended.stdout).toBe(DENIAL);
    expect(ended.stderr).toMatch(/^sovereign: .+\n$/);
  });

  test("denies where nobody listens", async () => {
    const ended = await runHook(join(folder, "nobody"), "{}");
    expect(ended).toMatchObject({ code: 2, stdout: DENIAL, stderr: "sovereign: nobody listens\n" });
  });

  test("hands a large call over whole, and the answer back", async () => {
    const path = join(folder, "server");
    const bodies: string[] = [];
    const server = new HookServer((body) => {
      bodies.push(body);
      const word = bodies.length === 1 ? "allow" : "deny";
      return Promise.resolve({ word, answer: `{"word":"${word}"}`, reason: "no\nsuch thing" });
    });
    await server.listen(path);
    const body = `{"x":"${"ä".repeat(400_000)}"}`;
    const allowed = await runHook(path, body);
    const denied = await runHook(path, "{}");
    server.close();
    expect(bodies[0]).toBe(body);
    expect(allowed).toMatchObject({ code: 0, stdout: '{"word":"allow"}', stderr: "" });
    const stderr = "sovereign: denied: no such thing\n";
    expect(denied).toMatchObject({ code: 2, stdout: '{"word":"deny"}', stderr });
  });

  test("is denied where its answer fails", async () => {
    const path = join(folder, "failing");
    const server = new HookServer(() => Promise.reject(new Error("no ledger")));
    await server.listen(path);
    const ended = await runHook(path, "{}");
    server.close();
    expect(ended).toMatchObject({ code: 2, stdout: DENIAL });
  });
});
