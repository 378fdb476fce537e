import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { dataOf, type HostsWorld, LocalHosts } from "../support/local-hosts.ts";
import { execute, requestOf, sh } from "./support/exec-world.ts";
import { TestRepository } from "./support/repository.ts";

const HOST = "files.example.org";

let repo: TestRepository;
let hosts: LocalHosts;
let world: HostsWorld | null;
beforeEach(async () => {
  repo = new TestRepository();
  hosts = await LocalHosts.start();
  world = null;
});
afterEach(() => {
  hosts.close();
  repo.dispose();
});

const COMMANDS = [
  { id: "sh", executable: "sh", allowed_args: ["**"] },
  { id: "gone", executable: "no-such-program", allowed_args: ["**"] },
];

/** Runs a script as a step's command under a policy that names one host. */
async function run(script: string): Promise<{ code: string; reason: string }> {
  const policy = {
    network: { hosts: [`${HOST}:${hosts.port}`] },
    allowlist: { file_operations: ["write_file"], paths: ["**"], commands: COMMANDS },
  };
  const { code, reason } = await execute(repo, requestOf([[sh(script)]]), {
    folder: join(repo.folder, "run"),
    policy,
    egress: (made) => {
      world = made;
      return hosts.door(made);
    },
  });
  return { code, reason };
}

const told = (event: string): ReturnType<typeof dataOf> =>
  dataOf(world?.recorder.records ?? [], event);

/** Fetches by Node, which is told of the proxy by its environment. */
const fetching = (url: string): string => {
  const then = "then(r=>r.text()).then(t=>console.log('got',t),()=>console.log('failed'))";
  return `NODE_TLS_REJECT_UNAUTHORIZED=0 node -e "fetch('${url}').${then}"`;
};

describe("a command whose policy names a host", () => {
  it("reaches that host and no other, each connection recorded before it is made", async () => {
    const url = `https://${HOST}:${hosts.port}/`;
    const script = [
      `${fetching(url)} >one`,
      `curl -sk ${url} >two`,
      `${fetching(`https://other.example.org:${hosts.port}/`)} >three`,
      // Past the proxy there is no network, and the names of hosts lead nowhere.
      `curl -sk --noproxy "*" ${url} >four || echo none >four`,
      `curl -sk --noproxy "*" https://127.0.0.1:${hosts.port}/ >five || echo none >five`,
      `cat one two three four five >all`,
    ].join("; ");
    const { code } = await run(script);
    expect(code).toBe("none");
    expect(repo.read("all").split("\n").slice(0, -1)).toEqual([
      "got hello",
      "hellofailed",
      "none",
      "none",
    ]);
    const port = hosts.port;
    const connection = { role: "trainer", host: HOST, port, address: "127.0.0.1" };
    const action = { type: "network.connect", resource: `${HOST}:${port}`, params: {} };
    expect(told("egress.connected")).toMatchObject([
      { ...connection, action, decision: { effect: "allow" } },
      connection,
    ]);
    expect(told("egress.closed")).toMatchObject([{ ended: "closed" }, { ended: "closed" }]);
    for (const { sent, received } of told("egress.closed")) {
      expect(sent).toBeGreaterThan(100);
      expect(received).toBeGreaterThan(100);
    }
    expect(told("egress.refused")).toMatchObject([{ code: "ERR_EGRESS_DENIED" }]);
    expect(hosts.names).toEqual([HOST, HOST]);
    // The intent of the step and the connection stood there when the host saw the first.
    expect(hosts.recordedBefore[0]).toBe(2);
    expect(world?.recorder.records[1]?.event).toBe("egress.connected");
  });

  it("ends as it does without one: by its exit, its signal, or no such program", async () => {
    expect(await run("exit 7")).toMatchObject({ code: "ERR_COMMAND_FAILED" });
    expect((await run("echo said; exit 7")).reason).toMatch(/^exit 7 .*said/);
    // A file over the policy's limit is what the kernel ends it for.
    expect(await run("exec dd if=/dev/zero of=big bs=1M count=3 2>/dev/null")).toMatchObject({
      code: "ERR_COMMAND_FILE_SIZE",
    });
    expect(existsSync(`/proc/${hosts.proxy?.pid ?? 0}`)).toBe(false);
  });

  it("is cut from the host by the kill switch, and refused while it is tripped", async () => {
    const url = `https://${HOST}:${hosts.port}`;
    const script = `curl -sk ${url}/wait >/dev/null; curl -sk ${url}/ >after || echo none >after`;
    const ended = run(script);
    await expect.poll(() => hosts.names.length, { timeout: 30_000 }).toBe(1);
    hosts.trip();
    await ended;
    expect(repo.read("after")).toBe("none\n");
    expect(told("egress.closed")).toMatchObject([{ ended: "stopped" }]);
    expect(told("egress.refused")).toMatchObject([{ code: "ERR_SCRAM_TRIPPED" }]);
    expect(hosts.names.length).toBe(1);
  });

  it("loses the host when the proxy is killed, and the record says that nobody saw the end", async () => {
    const url = `https://${HOST}:${hosts.port}`;
    const script = `curl -sk ${url}/wait >/dev/null; curl -sk ${url}/ >after || echo none >after`;
    const ended = run(script);
    await expect.poll(() => hosts.names.length, { timeout: 30_000 }).toBe(1);
    process.kill(hosts.proxy?.pid ?? 0, "SIGKILL");
    await ended;
    expect(repo.read("after")).toBe("none\n");
    expect(told("egress.closed")).toMatchObject([{ ended: "unknown", sent: 0, received: 0 }]);
  });
});
