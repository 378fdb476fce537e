import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endOf, Installation } from "./cli.ts";

const BOTH = ["--operator-key", "alice", "--architect-key", "bob"];
let installation: Installation;
beforeAll(() => {
  installation = new Installation();
});
afterAll(async () => {
  await installation.dispose();
});

const file = (name: string, text: string): string => {
  const path = join(installation.home, name);
  writeFileSync(path, text);
  return path;
};

describe("the command line", () => {
  it.each([
    [["--help"], 0],
    [["run", "--help"], 0],
    [["keys", "--help"], 0],
    [["--version"], 0],
    [["nonsense"], 2],
    [["run"], 2],
    [["run", "no-such-file.yaml"], 2],
    [["keys", "revoke", "abc"], 2],
    [["verify"], 2],
    [["verify", "--bundle", "package.json"], 2],
    [["verify", "--surprise"], 2],
    [["bundle", "export", "run_x"], 2],
    [["run", "examples/iron-path/pipeline.yaml", "--mode", "loose"], 2],
    [["run", "examples/iron-path/pipeline.yaml", "--fault", "nobody"], 2],
  ])("answers %j with exit code %i", async (args, code) => {
    expect(await installation.run(args)).toMatchObject({ code });
  });

  it.each([
    [["scram", "drill", "--paths", "0"], "whole number from 1"],
    [["scram", "drill", "--trials", "-1"], "whole number from 1"],
    [["scram", "drill", "--trials", "many"], "whole number from 1"],
    [["scram", "prepare", "--out", "x", ...BOTH, "--valid-days", "-3"], "whole number from 1"],
    [["scram", "prepare", "--out", "x", ...BOTH, "--valid-days", "1e9"], "whole number from 1"],
    [["scram", "activate", "--order", "no-such-file"], "ERR_FILE_UNREADABLE"],
    [["nodes", "export", "no-such-folder/file"], "ERR_FILE_UNWRITABLE"],
    [["nodes", "watch"], "Expected DATABASE_URL"],
  ])("says what is wrong with %j", async (args, said) => {
    expect(await installation.run(args)).toMatchObject({
      code: 2,
      err: expect.stringContaining(said) as string,
    });
  });

  it("says which words it did not understand", async () => {
    expect((await installation.run(["verify"])).err).toContain("ERR_USAGE");
  });

  it.each(["../outside", "installation", "A B"])("refuses the tenant %j", async (tenant) => {
    const args = ["--tenant", tenant, "run", "examples/iron-path/pipeline.yaml"];
    const { code, err } = await installation.run(args);
    expect(code).toBe(2);
    expect(err).toContain("ERR_TENANT_INVALID");
  });

  it("says where a pipeline is wrong", async () => {
    const path = file("bad.yaml", "name: x\nstages: [\n");
    const { code, err } = await installation.run(["run", path]);
    expect(code).toBe(2);
    expect(err).toMatch(/bad\.yaml:\d+:\d+: /);
  });

  it("checks and explains policies", async () => {
    const policy = "examples/iron-path/policy.yaml";
    const checked = await installation.json(["policy", "check", policy]);
    expect(checked.documents[0]).toMatchObject({ mode: "enforce" });
    const explain = ["policy", "explain", policy, "--action"];
    const denied = await installation.run([...explain, "file.write", "--resource", "../x"]);
    expect(denied.code).toBe(3);
    const asked = await installation.run([...explain, "model.promote"]);
    expect(asked.out).toContain("needs: 2 of release_manager, safety_officer, data_steward");
    const bad = file("bad-policy.yaml", "policy_id: x\nsurprise: 1\n");
    expect(await installation.run(["policy", "check", bad])).toMatchObject({ code: 2 });
  });

  it("reports errors as JSON where asked", async () => {
    const { documents } = await installation.json(["run", "no-such-file.yaml"]);
    expect(documents[0]).toMatchObject({ error: { code: "ERR_FILE_UNREADABLE", exit: 2 } });
  });

  it("refuses keys inside a git work tree, and a data folder that is a file", async () => {
    mkdirSync(join(installation.home, "tree", ".git"), { recursive: true });
    const inTree = { SOVEREIGN_HOME: join(installation.home, "tree", "data") };
    const refused = await installation.run(["keys", "init"], inTree);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.err).toContain("ERR_KEYSTORE_IN_WORK_TREE");
    const asFile = { SOVEREIGN_HOME: join(file("plain", ""), "data") };
    expect((await installation.run(["status"], asFile)).err).toContain("ERR_DATA_FOLDER");
    const nowhere = { SOVEREIGN_HOME: "", XDG_DATA_HOME: "", HOME: "" };
    const lost = await installation.run(["status"], nowhere);
    expect(lost.err).toMatch(/no absolute path.*Set SOVEREIGN_HOME/);
  });

  it("encrypts keys with a passphrase file, and needs it from then on", async () => {
    const home = { SOVEREIGN_HOME: join(installation.home, "sealed") };
    const passphrase = file("passphrase", "a long enough phrase\n");
    chmodSync(passphrase, 0o600);
    const sealed = { ...home, SOVEREIGN_PASSPHRASE_FILE: passphrase };
    expect(await installation.run(["keys", "init"], sealed)).toMatchObject({ code: 0 });
    const without = await installation.run(["keys", "add", "--role", "late"], home);
    expect(without.err).toContain("ERR_KEY_PASSPHRASE");
    expect(without.err).not.toContain("a long enough phrase");
    expect(await installation.run(["keys", "add", "--role", "late"], sealed)).toMatchObject({
      code: 0,
    });
  });

  it("uses DATABASE_URL and nothing else when it is set", async () => {
    const env = { DATABASE_URL: "postgresql://nobody:secret@127.0.0.1:1/none" };
    const { code, err } = await installation.run(["run", "list"], env);
    expect(code).toBe(1);
    expect(err).toContain("ERR_STORE_UNAVAILABLE");
    expect(err).not.toContain("secret");
  });

  it("works when many start and stop the embedded database at once", async () => {
    const one = new Installation({ server: "started" });
    const several = Array.from({ length: 6 }, () => one.run(["run", "list"]));
    const codes = (await Promise.all(several)).map((end) => end.code);
    expect(codes).toEqual([0, 0, 0, 0, 0, 0]);
    await one.dispose();
  });

  it("names the data folder, the database and the sandbox level", async () => {
    const status = await installation.json(["status"]);
    expect(status.documents[0]).toMatchObject({ home: installation.home });
    const doctor = await installation.json(["doctor"]);
    expect(["G3", "G2"]).toContain(doctor.documents[0]?.["level"]);
    expect(doctor.documents[0]).toMatchObject({ minimum_level: "G2" });
  });

  it("calls an installation degraded that asks for no sandbox", async () => {
    const unsafe = new Installation();
    writeFileSync(join(unsafe.home, "config.yaml"), "scram: { minimum_level: G0 }\n");
    const { out } = await unsafe.run(["doctor"]);
    expect(out).toContain("DEGRADED: scram.minimum_level is G0");
    await unsafe.dispose();
  });
});

describe("the example under the kill switch", () => {
  it("ends its own work when everything is stopped", async () => {
    const child = spawn(process.execPath, ["examples/embed-scram/embed-scram.ts"], {
      env: { PATH: process.env["PATH"], HOME: installation.home },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const { code, out } = await endOf(child);
    expect(code).toBe(0);
    expect(out.trimEnd().split("\n").sort()).toEqual([
      "another path: ERR_SCRAM_TRIPPED",
      "armed: true, settled some: true",
      "hook: everything was stopped",
      "stopped: true, armed: false",
    ]);
  });
});

describe("the embedding example", () => {
  it("shows one effect, and three refusals with their codes", async () => {
    const child = spawn(process.execPath, ["examples/embed/embed.ts"], {
      env: { PATH: process.env["PATH"], HOME: installation.home },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const { code, out } = await endOf(child);
    expect(code).toBe(0);
    expect(out.trimEnd().split("\n")).toEqual([
      "  effect: hello, world",
      "with a permission: COMPLETED",
      "with the same permission again: BLOCKED ERR_NONCE_REPLAYED",
      "without a permission: BLOCKED ERR_BINDING_MISSING",
      "another action: DENIED ERR_ACTION_UNKNOWN",
    ]);
  });
});

describe("the example with an agent SDK", () => {
  it("makes the calls that policy allows, and no other, under evidence that holds", async () => {
    const child = spawn(process.execPath, ["examples/embed-agent/embed-agent.ts"], {
      env: { PATH: process.env["PATH"], HOME: installation.home },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const { code, out } = await endOf(child);
    expect(code).toBe(0);
    expect(out.trimEnd().split("\n")).toEqual([
      "tools with an execute:",
      '  lookup: {"order":"A-17","state":"shipped"}',
      '  readFile: "contents of docs/returns.md"',
      "  readFile: ERR_POLICY_DENIED",
      "  refund: there is no such tool",
      "  Your order has shipped.",
      "a permission callback:",
      "  Bash ls -l: allow",
      "  Bash rm -rf /: deny",
      "the session completed, its evidence is VALID",
    ]);
  });
});
