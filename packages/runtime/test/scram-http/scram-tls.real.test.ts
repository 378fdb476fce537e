import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ScramRemote } from "../../src/services/index.ts";
import { RemoteScram } from "../../src/services/scram/remote-switch.ts";
import { type Certified, certify } from "../support/certificate.ts";
import { clientHello, HostileClients } from "../support/hostile-clients.ts";
import { rig } from "../support/scram-rig.ts";
import { ask, serve } from "../support/scram-server.ts";

const HOSTILE = 400;
const FLOOD_MS = 500;

let folder: string;
let authority: Certified;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-tls-"));
  authority = certify("authority", null);
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function put(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

function remoteOf(
  home: string,
  url: string,
  ca: string | null,
  change: Partial<ScramRemote> = {},
): RemoteScram {
  const nothing = { clientCert: null, clientKey: null, installation: null };
  return new RemoteScram(home, { url, ca, ...nothing, ...change });
}

function certificate(): { tlsCert: string; tlsKey: string } {
  const { certPem, keyPem } = certify("server", authority);
  return { tlsCert: put("cert.pem", certPem), tlsKey: put("key.pem", keyPem) };
}

describe("over TLS", () => {
  it("an order stops, sent by who believes the server's certificate", async () => {
    const one = await rig();
    const server = await serve(one, certificate());
    expect(server.url).toMatch(/^https:/);
    await one.hold(1);
    const url = server.url;
    const strange = remoteOf(one.home, url, null);
    await expect(strange.send(one.order())).rejects.toMatchObject({ code: "ERR_HTTP_UNREACHABLE" });
    expect(one.survivors()).toBeGreaterThan(0);
    const ca = put("ca.pem", authority.certPem);
    const remote = remoteOf(one.home, url, ca);
    expect(await remote.send(one.order())).toMatchObject({ kind: "stopped", checked: true });
    expect(one.survivors()).toBe(0);
  });

  it("an order is carried out while many others begin handshakes and stop half-way", async () => {
    const one = await rig();
    const server = await serve(one, certificate());
    await one.hold(1);
    const place = { port: server.port };
    const flood = new HostileClients(place, await clientHello(), HOSTILE, 16);
    try {
      await sleep(FLOOD_MS);
      const remote = remoteOf(one.home, server.url, put("ca.pem", authority.certPem));
      expect(await remote.send(one.order())).toMatchObject({ kind: "stopped", checked: true });
      expect(one.survivors()).toBe(0);
    } finally {
      flood.end();
    }
  });

  it("plain text is not answered, and a name of the certificate is ours", async () => {
    const one = await rig();
    const server = await serve(one, certificate());
    await expect(ask(server, "/healthz")).rejects.toMatchObject({ code: "ECONNRESET" });
    const statusOf = (host: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const { port } = server;
        const headers = { host };
        const ca = authority.certPem;
        const path = "/healthz";
        const servername = "localhost";
        const options = { host: "127.0.0.1", port, path, headers, ca, servername };
        const sent = request(options, (got) => {
          got.resume();
          resolve(got.statusCode);
        });
        sent.on("error", reject);
        sent.end();
      });
    expect(await statusOf("localhost")).toBe(200);
    expect(await statusOf("other.example")).toBe(421);
  });

  it("lets in only those whom the CA for clients certified, where there is one", async () => {
    const one = await rig();
    const clients = certify("clients", null);
    const clientCa = put("clients.pem", clients.certPem);
    const server = await serve(one, { ...certificate(), clientCa });
    const { keyPem, certPem } = certify("monitor", clients);
    const ca = put("ca.pem", authority.certPem);
    const clientKey = put("monitor-key.pem", keyPem);
    const clientCert = put("monitor.pem", certPem);
    const asks = (identity: { key?: string; cert?: string }): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const options = { host: "127.0.0.1", port: server.port, path: "/healthz", ...identity };
        const sent = request({ ...options, ca: authority.certPem, agent: false }, (got) => {
          got.resume();
          resolve(got.statusCode);
        });
        sent.on("error", reject);
        sent.end();
      });
    await expect(asks({})).rejects.toThrow();
    expect(await asks({ key: keyPem, cert: certPem })).toBe(200);
    const stranger = certify("stranger", null);
    await expect(asks({ key: stranger.keyPem, cert: stranger.certPem })).rejects.toThrow();
    const remote = remoteOf(one.home, server.url, ca, { clientKey, clientCert });
    expect(await remote.send(one.order())).toMatchObject({ kind: "stopped", checked: true });
  });

  it("serves a renewed certificate without a new start", async () => {
    const one = await rig();
    const files = certificate();
    const server = await serve(one, files);
    writeFileSync(files.tlsCert, "rubbish");
    const failed = { event: "failed", what: "certificate", why: expect.any(String) as string };
    await expect.poll(() => server.events, { timeout: 20_000 }).toContainEqual(failed);
    const first = remoteOf(one.home, server.url, put("ca.pem", authority.certPem));
    expect(await first.send(one.order())).toMatchObject({ kind: "stopped" });
    const renewed = certify("another", null);
    writeFileSync(files.tlsKey, renewed.keyPem);
    writeFileSync(files.tlsCert, renewed.certPem);
    const ca = put("renewed.pem", renewed.certPem);
    const remote = remoteOf(one.home, server.url, ca);
    for (let tries = 0; ; tries++) {
      const outcome = await remote.send(one.order()).catch((error: unknown) => error);
      if (!(outcome instanceof Error)) break;
      if (tries > 200) throw outcome;
      await new Promise((next) => setTimeout(next, 100));
    }
  });
});

describe("a server is not started", () => {
  it.each([
    ["for other machines without TLS", { listen: "0.0.0.0:0" }],
    ["for other machines without TLS, by IPv6", { listen: "[::]:0" }],
    ["with a certificate that has no key", { tlsCert: "/dev/null" }],
    ["with a certificate that is none", { tlsCert: "package.json", tlsKey: "package.json" }],
    ["at a name", { listen: "example.org:7433" }],
    ["at no port", { listen: "127.0.0.1" }],
  ])("%s", async (_, change) => {
    const one = await rig();
    await expect(serve(one, change)).rejects.toMatchObject({ code: "ERR_HTTP_CONFIG" });
  });

  it("with a certificate that is not there", async () => {
    const one = await rig();
    const files = { tlsCert: join(folder, "nowhere"), tlsKey: join(folder, "nowhere") };
    await expect(serve(one, files)).rejects.toMatchObject({ code: "ERR_FILE_UNREADABLE" });
  });

  it("where another listens; and it is, for others, when plain text is asked for", async () => {
    const one = await rig();
    const first = await serve(one, { listen: "0.0.0.0:0", plaintext: true });
    const listen = `127.0.0.1:${first.port}`;
    await expect(serve(one, { listen })).rejects.toMatchObject({
      code: "ERR_HTTP_LISTEN",
      message: expect.stringContaining("in use") as string,
    });
  });
});

describe("over a local socket", () => {
  it("an order stops, also where a killed server left its socket behind", async () => {
    const one = await rig();
    const path = join(folder, "door.sock");
    const listen = `unix:${path}`;
    const first = await serve(one, { listen });
    await expect(serve(one, { listen })).rejects.toMatchObject({ code: "ERR_HTTP_LISTEN" });
    await first.end();
    const { spawnSync } = await import("node:child_process");
    const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", script]);
    const second = await serve(one, { listen });
    expect(second.url).toBe(listen);
    const remote = remoteOf(one.home, listen, null);
    expect(await remote.send(one.order())).toMatchObject({ kind: "stopped" });
  });
});
