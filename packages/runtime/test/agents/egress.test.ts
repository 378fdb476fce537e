import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, createServer, type Server, type TLSSocket } from "node:tls";
import type { AddressInfo } from "node:net";
import {
  type EntryData,
  entryData,
  type EventName,
  type JsonObject,
  parseFormat,
  sha256,
} from "@sovereign/core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  EgressDesk,
  EgressProcess,
  EgressProxy,
  type EgressProxyOptions,
} from "../../src/agents/index.ts";
import { readClientHello } from "../../src/agents/egress/client-hello.ts";
import { systemEntropy } from "../../src/system/index.ts";
import { certify } from "../support/certificate.ts";
import { deskOptions, HandGate, OWNER, type Recorded, TOKEN } from "../support/model-rig.ts";

const HOST = "files.example.org";
const LOCAL = (address: string): boolean => address === "127.0.0.1";
const toLocal = (): Promise<string[]> => Promise.resolve(["127.0.0.1"]);

const folder = mkdtempSync(join(tmpdir(), "egress-"));
let server: Server;
let port: number;
/** Names that clients asked the server for. */
const asked: (string | false | null)[] = [];
let proxy: EgressProxy;
let entries: Recorded[];
let gate: HandGate;
let number = 0;
let connections = 0;
let unrecordable = false;
const clients: Socket[] = [];

beforeAll(async () => {
  const { certPem: cert, keyPem: key } = certify("stranger", null);
  server = createServer({ cert, key }, (socket: TLSSocket) => {
    asked.push(socket.servername);
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  server.on("tlsClientError", () => undefined);
  server.on("connection", () => (connections += 1));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(async () => {
  for (const client of clients.splice(0).reverse()) client.destroy();
  await proxy.close();
});

async function start(
  options: Partial<EgressProxyOptions> = {},
  more: JsonObject = {},
): Promise<string> {
  entries = [];
  gate = new HandGate();
  asked.length = 0;
  connections = 0;
  unrecordable = false;
  const record = (event_type: string, _severity: string, data: JsonObject): Promise<void> => {
    if (unrecordable) return Promise.reject(new Error("disk full"));
    entries.push({ event_type, data });
    return Promise.resolve();
  };
  const policy = {
    policy_id: "hosts",
    schema_version: "1.0",
    // Those that a tool's call may name open nothing.
    hosts: ["other.example.org:*"],
    network: { hosts: [`${HOST}:*`, `*.cdn.example.org:${port}`, "127.0.0.1:*"] },
    ...more,
  };
  const desk = await EgressDesk.open(
    { ...deskOptions({ entries, gate }, { policy, record }), entropy: systemEntropy },
    null,
  );
  proxy = new EgressProxy({
    tokenSha256: sha256(Buffer.from(TOKEN)),
    calls: desk,
    stopped: () => {
      const now = gate.preflight();
      return now.armed ? null : now;
    },
    resolver: toLocal,
    allowed: LOCAL,
    ...options,
  });
  const socket = join(folder, `${number++}.sock`);
  await proxy.listen(socket);
  return socket;
}

/** The answer to a CONNECT, and the connection behind it. */
async function tunnel(
  path: string,
  target: string,
  token = TOKEN,
): Promise<{ status: number; text: string; raw: Socket }> {
  const raw = connect(path);
  clients.push(raw);
  raw.on("error", () => undefined);
  const auth = Buffer.from(`run:${token}`).toString("base64");
  raw.write(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: Basic ${auth}\r\n\r\n`,
  );
  const [first] = (await once(raw, "data")) as [Buffer];
  const text = first.toString();
  return { status: Number(text.split(" ")[1]), text, raw };
}

/** TLS through a tunnel; null where it breaks off. */
async function handshake(raw: Socket, servername: string): Promise<TLSSocket | null> {
  const secure = connectTls({ socket: raw, servername, rejectUnauthorized: false });
  clients.push(secure);
  return new Promise((resolve) => {
    secure.once("secureConnect", () => {
      resolve(secure);
    });
    secure.on("error", () => {
      resolve(null);
    });
    secure.on("close", () => {
      resolve(null);
    });
  });
}

function events<K extends EventName>(event: K): EntryData<K>[] {
  return entries
    .filter(({ event_type: type }) => type === event)
    .map(({ data }) => parseFormat(entryData[event], data, event) as EntryData<K>);
}

describe("the egress proxy", () => {
  test("connects to a host that policy names, counts its bytes and records both ends", async () => {
    const { status, raw } = await tunnel(await start(), `${HOST}:${port}`);
    expect(status).toBe(200);
    const secure = await handshake(raw, HOST);
    secure?.write("hello");
    expect(String((await once(secure ?? raw, "data"))[0])).toBe("hello");
    expect(asked).toEqual([HOST]);
    const [connected] = events("egress.connected");
    expect(connected).toMatchObject({ host: HOST, port, address: "127.0.0.1", role: "coder" });
    secure?.end();
    await expect.poll(() => events("egress.closed").length).toBe(1);
    const [closed] = events("egress.closed");
    expect(closed).toMatchObject({ connection: connected?.connection, ended: "closed" });
    expect(closed?.sent).toBeGreaterThan(200);
    expect(closed?.received).toBeGreaterThan(200);
  });

  for (const target of ["other.example.org", "files.example.org.evil.net", "1.2.3.4"]) {
    test(`refuses ${target}, which policy does not name, and records it`, async () => {
      const { status, text } = await tunnel(await start(), `${target}:${port}`);
      expect(status).toBe(403);
      expect(text).toContain("ERR_EGRESS_DENIED");
      expect(events("egress.refused")).toMatchObject([{ code: "ERR_EGRESS_DENIED" }]);
      expect(asked).toEqual([]);
    });
  }

  test("opens no host that a policy which only observes does not name", async () => {
    const { text } = await tunnel(
      await start({}, { mode: "observe" }),
      `other.example.org:${port}`,
    );
    expect(text).toContain("ERR_EGRESS_DENIED");
    expect(asked).toEqual([]);
  });

  test("tries a name's other addresses, each of them recorded before it is tried", async () => {
    const path = await start({
      resolver: () => Promise.resolve(["127.0.0.9", "127.0.0.1"]),
      allowed: (address) => address.startsWith("127."),
    });
    const { raw } = await tunnel(path, `${HOST}:${port}`);
    expect(await handshake(raw, HOST)).not.toBeNull();
    expect(events("egress.connected").map((one) => one.address)).toEqual([
      "127.0.0.9",
      "127.0.0.1",
    ]);
    expect(events("egress.closed")).toMatchObject([{ ended: "failed", sent: 0, received: 0 }]);
  });

  test("connects nowhere while the beginning cannot be recorded", async () => {
    const path = await start();
    unrecordable = true;
    const { raw } = await tunnel(path, `${HOST}:${port}`);
    expect(await handshake(raw, HOST)).toBeNull();
    expect(asked).toEqual([]);
    expect(connections).toBe(0);
  });

  for (const target of ["x:0", "x:70000", "a b:443", "user@host:443", "http://x/", "x#y:443"]) {
    test(`takes no CONNECT to ${target}`, async () => {
      const { status } = await tunnel(await start(), target);
      expect([400, 403]).toContain(status);
      expect(asked).toEqual([]);
    });
  }

  test("says of what is no host and port what it expected", async () => {
    const { text } = await tunnel(await start(), "x:0");
    expect(text).toContain("ERR_EGRESS_REQUEST");
  });

  test("lets nobody through without the run's token", async () => {
    const { status } = await tunnel(await start(), `${HOST}:${port}`, "another");
    expect(status).toBe(407);
    expect(entries).toEqual([]);
  });

  test("cuts a connection that names another host than it was opened for", async () => {
    const { raw } = await tunnel(await start(), `${HOST}:${port}`);
    expect(await handshake(raw, "other.example.org")).toBeNull();
    await expect.poll(() => events("egress.refused")).toMatchObject([{ code: "ERR_EGRESS_NAME" }]);
    expect(asked).toEqual([]);
  });

  for (const [what, bytes] of [
    ["no TLS", "GET / HTTP/1.1\r\nHost: files.example.org\r\n\r\n"],
    ["half a hello that never ends", "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc"],
    ["SSH", "SSH-2.0-OpenSSH_9.0\r\n"],
  ] as const) {
    test(`cuts ${what}, and sends nothing of it`, async () => {
      const path = await start({ limits: { helloMs: 200 } });
      const { raw } = await tunnel(path, `${HOST}:${port}`);
      raw.write(Buffer.from(bytes, "latin1"));
      // On a slow machine it is cut before it has said a word.
      await expect.poll(() => raw.closed, { timeout: 10_000 }).toBe(true);
      await expect.poll(() => events("egress.refused").length).toBe(1);
      expect(events("egress.connected")).toEqual([]);
    });
  }

  for (const address of [
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "fd00::1",
    "::ffff:10.0.0.1",
  ]) {
    test(`refuses a name that leads to ${address}, also beside a public one`, async () => {
      const { isPublicAddress } = await import("../../src/agents/addresses.ts");
      const path = await start({
        resolver: () => Promise.resolve(["93.184.216.34", address]),
        allowed: isPublicAddress,
      });
      const { raw } = await tunnel(path, `${HOST}:${port}`);
      expect(await handshake(raw, HOST)).toBeNull();
      await expect
        .poll(() => events("egress.refused"))
        .toMatchObject([{ code: "ERR_EGRESS_ADDRESS" }]);
      expect(asked).toEqual([]);
    });
  }

  test("refuses a name that leads nowhere", async () => {
    const path = await start({ resolver: () => Promise.reject(new Error("no such name")) });
    const { raw } = await tunnel(path, `${HOST}:${port}`);
    expect(await handshake(raw, HOST)).toBeNull();
    await expect
      .poll(() => events("egress.refused"))
      .toMatchObject([{ code: "ERR_EGRESS_UNREACHABLE" }]);
    expect(asked).toEqual([]);
  });

  test("connects to the address that it looked at, whatever the name leads to afterwards", async () => {
    let times = 0;
    const path = await start({
      resolver: () => Promise.resolve([times++ === 0 ? "127.0.0.1" : "10.0.0.1"]),
    });
    const { raw } = await tunnel(path, `${HOST}:${port}`);
    expect(await handshake(raw, HOST)).not.toBeNull();
    expect(times).toBe(1);
  });

  test("bounds bytes and connections", async () => {
    const path = await start({ limits: { bytesMax: 20_000, connectionsMax: 2 } });
    const { raw } = await tunnel(path, `${HOST}:${port}`);
    const secure = await handshake(raw, HOST);
    secure?.write("x".repeat(60_000));
    await expect.poll(() => events("egress.closed")).toMatchObject([{ ended: "limit" }]);
    expect((await tunnel(path, `${HOST}:${port}`)).text).toContain("ERR_EGRESS_LIMIT");
  });

  test("refuses while the switch is tripped, and cuts what is open", async () => {
    const path = await start();
    const { raw } = await tunnel(path, `${HOST}:${port}`);
    const secure = await handshake(raw, HOST);
    gate.tripped = true;
    // It may be reset: that is an end, too.
    if (secure?.destroyed === false) await new Promise((resolve) => secure.once("close", resolve));
    await expect.poll(() => events("egress.closed")).toMatchObject([{ ended: "stopped" }]);
    expect((await tunnel(path, `${HOST}:${port}`)).text).toContain("ERR_SCRAM_TRIPPED");
  });
});

describe("the egress proxy's process", () => {
  test("that dies while a connection's beginning is recorded leaves it with an end", async () => {
    const begun = Promise.withResolvers<undefined>();
    const told: string[] = [];
    const record = async (event: string): Promise<void> => {
      if (event === "egress.connected") await begun.promise;
      told.push(event);
    };
    const policy = { policy_id: "x", schema_version: "1.0", network: { hosts: [HOST] } };
    const made = { entries: [], gate: new HandGate() };
    const desk = await EgressDesk.open(
      { ...deskOptions(made, { policy, record }), entropy: systemEntropy },
      null,
    );
    const connected = desk.connected(HOST, 443, "93.184.216.34");
    const abandoned = desk.abandon();
    begun.resolve(undefined);
    await Promise.all([connected, abandoned]);
    expect(told).toEqual(["egress.connected", "egress.closed"]);
  });

  test("that does not start is named, and leaves nothing open", async () => {
    const made = { entries: [] as Recorded[], gate: new HandGate() };
    const desk = await EgressDesk.open({ ...deskOptions(made, {}), entropy: systemEntropy }, null);
    const about = { home: folder, socket: join(folder, "none.sock"), owner: OWNER };
    const command = ["/bin/false"] as const;
    await expect(
      EgressProcess.start({ command, ...about, desk, entropy: systemEntropy }),
    ).rejects.toMatchObject({ code: "ERR_EGRESS_PROXY" });
    expect(made.entries).toEqual([]);
  });
});

describe("a client's hello", () => {
  test("is refused where it hides a second one, and where it is cut short", () => {
    const extension = (type: number, content: Buffer): Buffer => {
      const head = Buffer.alloc(4);
      head.writeUInt16BE(type, 0);
      head.writeUInt16BE(content.length, 2);
      return Buffer.concat([head, content]);
    };
    const name = Buffer.from("\x00\x00\x00\x00\x00a.example", "latin1");
    name.writeUInt16BE(name.length - 2, 0);
    name.writeUInt16BE(name.length - 5, 3);
    const hello = (...extensions: Buffer[]): Buffer => {
      const all = Buffer.concat(extensions);
      const body = Buffer.concat([
        Buffer.alloc(34),
        Buffer.from([0, 0, 2, 0x13, 1, 1, 0, all.length >> 8, all.length & 255]),
        all,
      ]);
      const message = Buffer.concat([
        Buffer.from([1, 0, body.length >> 8, body.length & 255]),
        body,
      ]);
      const { length } = message;
      return Buffer.concat([Buffer.from([22, 3, 1, length >> 8, length & 255]), message]);
    };
    const good = hello(extension(0, name));
    expect(readClientHello(good)).toEqual({ serverName: "a.example" });
    for (let end = 0; end < good.length; end++) {
      expect(readClientHello(good.subarray(0, end))).toBeNull();
    }
    expect(() => readClientHello(hello(extension(0, name), extension(0xfe0d, name)))).toThrow();
    expect(() => readClientHello(hello(extension(0, name), extension(0, name)))).toThrow();
    expect(() => readClientHello(hello(extension(0, name.subarray(0, -1))))).toThrow();
  });
});
