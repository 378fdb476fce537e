import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  PASSWORD,
  type PostgresServer,
  query,
  startPostgres,
} from "../../packages/runtime/test/support/postgres-server.ts";
import { Installation, runEnded } from "./cli.ts";

const PIPELINE = "examples/iron-path/pipeline.yaml";
const APPROVE = ["--approve", "release_manager", "--approve", "safety_officer"];

const elsewhere = new Installation();
const installation = new Installation();
let server: PostgresServer;
let env: Record<string, string>;
beforeAll(async () => {
  const folder = join(elsewhere.home, "server");
  mkdirSync(folder);
  server = await startPostgres(folder);
  env = { DATABASE_URL: server.url };
});
afterAll(async () => {
  await server.stop();
  await elsewhere.dispose();
  await installation.dispose();
});

describe("with a server in DATABASE_URL", () => {
  it("a whole run is done and proved there, and no embedded server is started", async () => {
    const ran = await installation.run(["run", PIPELINE, ...APPROVE, "--json"], env);
    const lines = ran.out.split("\n").filter((line) => line !== "");
    const ended = runEnded(lines.map((line) => JSON.parse(line) as Record<string, unknown>));
    expect(ended).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(ran.code).toBe(0);
    const stored = await query(server.url, "select count(*)::int as n from sovereign.entries");
    expect((stored.rows[0] as { n: number }).n).toBeGreaterThan(10);
    expect(existsSync(join(installation.home, "postgres", "data"))).toBe(false);
    const status = await installation.run(["status"], env);
    expect(status.out).toContain(`PostgreSQL at 127.0.0.1:${server.port}/app`);
    for (const text of [ran.out, ran.err, status.out, status.err, ...filesIn(installation.home)]) {
      expect(text.includes(PASSWORD)).toBe(false);
    }
  });

  it("says in one line what is wrong where the server can not be used", async () => {
    const wrong = { DATABASE_URL: server.url.replace(PASSWORD, "not-the-password") };
    const refused = await installation.run(["status"], wrong);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("ERR_POSTGRES_START");
    expect(refused.err).not.toContain("not-the-password");
    const nobody = { DATABASE_URL: "postgres://app:secret@127.0.0.1:1/app" };
    const gone = await installation.run(["status"], nobody);
    expect(gone).toMatchObject({ code: 1 });
    expect(gone.err).toContain("ERR_STORE_UNAVAILABLE");
    expect(gone.err).not.toMatch(/secret|^\s+at /m);
    for (const url of ["nonsense:secret", "mysql://app:secret@127.0.0.1/app", "secret"]) {
      const nonsense = await installation.run(["status"], { DATABASE_URL: url });
      expect(nonsense.code).toBe(2);
      expect(nonsense.err).toContain("ERR_DATABASE_URL");
      expect(nonsense.err).not.toContain("secret");
    }
  });
});

/** What every file below a folder holds. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"));
}
