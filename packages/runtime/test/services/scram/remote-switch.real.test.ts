import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf } from "@sovereign/core";
import { afterEach, describe, expect, it } from "vitest";
import type { ScramRemote } from "../../../src/services/index.ts";
import { RemoteScram } from "../../../src/services/scram/remote-switch.ts";
import { installationIdOf } from "../../../src/home/installation-file.ts";
import { newSigner } from "../../support/keys.ts";
import { rig } from "../../support/scram-rig.ts";
import { ask, ORDERS, serve } from "../../support/scram-server.ts";

const folders: string[] = [];
const servers: Server[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  for (const server of servers.splice(0)) server.close();
});

/** A machine of an operator: a data folder of its own, in which nothing is. */
function elsewhere(): string {
  const folder = mkdtempSync(join(tmpdir(), "sov-elsewhere-"));
  folders.push(folder);
  return folder;
}

function remoteOf(home: string, url: string, change: Partial<ScramRemote> = {}): RemoteScram {
  const nothing = { ca: null, clientCert: null, clientKey: null, installation: null };
  return new RemoteScram(home, { url, ...nothing, ...change });
}

const CONTENT = {
  scope: { kind: "all" },
  reason: "operator_initiated",
  statement: null,
  metadata: {},
} as const;
const TENANT = { ...CONTENT, scope: { kind: "tenant", tenant_id: "acme" } } as const;

describe("two people on machines of their own", () => {
  it("authorise one after the other, by the server's word of what waits", async () => {
    const one = await rig();
    const { url } = await serve(one);
    const installation = installationIdOf(one.home);
    const there = (): RemoteScram => remoteOf(elsewhere(), url, { installation });
    const { operator, architect } = one.signers;
    expect(await there().authorize(CONTENT, operator)).toMatchObject({ missing: "architect" });
    // Who wants to stop something else does not sign it.
    expect(await there().authorize(TENANT, architect)).toMatchObject({ missing: "operator" });
    const stopped = await there().authorize(CONTENT, architect);
    expect(stopped).toMatchObject({
      kind: "stopped",
      checked: false,
      receipt: { authorized: true, scope: { kind: "all" } },
    });
  });

  it("must say for whom an order is, where their folder does not", async () => {
    const remote = remoteOf(elsewhere(), "http://127.0.0.1:1");
    await expect(remote.authorize(CONTENT, newSigner())).rejects.toMatchObject({
      code: "ERR_HTTP_CONFIG",
      message: expect.stringContaining("--installation") as string,
    });
  });

  it.each(["ftp://127.0.0.1", "http://127.0.0.1/path", "127.0.0.1:7433", ""])(
    "cannot send to %j",
    async (url) => {
      const one = await rig();
      await expect(remoteOf(one.home, url).send(one.order())).rejects.toMatchObject({
        code: "ERR_HTTP_CONFIG",
      });
    },
  );

  it("are told that nobody answers", async () => {
    const one = await rig();
    const sent = remoteOf(one.home, "http://127.0.0.1:1").send(one.order());
    await expect(sent).rejects.toMatchObject({ code: "ERR_HTTP_UNREACHABLE" });
  });

  it("are told why they are refused", async () => {
    const one = await rig();
    const { url } = await serve(one);
    const order = one.order();
    const remote = remoteOf(one.home, url);
    await remote.send(order);
    await expect(remote.send(order)).rejects.toMatchObject({ code: "ERR_SCRAM_ORDER_REPLAYED" });
  });
});

/** Somebody on the way, who answers what they like. */
async function impostor(status: number, body: unknown): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(status, { "content-type": "application/json" });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("an answer that somebody on the way made", () => {
  it("is not taken for a stop", async () => {
    const one = await rig();
    const server = await serve(one);
    const order = one.order();
    const { body } = await ask(server, ORDERS, order);
    const { event, receipt, envelope } = body as Record<string, Record<string, unknown>>;
    const genuine = remoteOf(one.home, await impostor(200, body));
    expect(await genuine.send(order)).toMatchObject({ kind: "stopped", checked: true });

    const fields = Object.entries(event ?? {}).filter(([name]) => name !== "content_hash");
    const content = { ...Object.fromEntries(fields), receipt_digest: digestOf(receipt as never) };
    const consistent = { ...content, content_hash: digestOf(content) };
    const forgeries: [string, number, unknown][] = [
      ["no JSON", 200, "<html>"],
      ["JSON that says nothing", 200, { kind: "stopped" }],
      ["an event that was changed", 200, { ...body, event: { ...event, scram_state: "FAILED" } }],
      ["a receipt that was changed", 200, { ...body, receipt: { ...receipt, processes: 99 } }],
      ["a receipt without its envelope", 200, { ...body, envelope: null }],
      [
        "an envelope with another signature",
        200,
        {
          ...body,
          envelope: { ...envelope, signatures: [{ keyid: "", sig: order.signatures[0]?.sig }] },
        },
      ],
      ["a status that is none of ours", 302, body],
      ["an error that we do not know", 400, { code: "ERR_OTHER", detail: "no" }],
    ];
    for (const [what, status, forged] of forgeries) {
      const url = await impostor(status, forged);
      const found = await remoteOf(one.home, url)
        .send(order)
        .catch((error: unknown) => error);
      expect(found, what).toMatchObject({ code: "ERR_HTTP_ANSWER" });
    }
    // The answer to another order, which is genuine in itself.
    const again = genuine.send(one.order());
    await expect(again).rejects.toMatchObject({ code: "ERR_HTTP_ANSWER" });
    // Unsigned, but consistent: taken as what it is, a receipt that nobody signed.
    const bare = { ...body, event: consistent, envelope: null };
    const unsigned = await remoteOf(one.home, await impostor(200, bare)).send(order);
    expect(unsigned).toMatchObject({ checked: false, envelope: null });
  });

  it("has nothing signed that differs from what was asked for", async () => {
    const one = await rig();
    const { operator, architect } = one.signers;
    const home = elsewhere();
    const here = remoteOf(one.home, "http://127.0.0.1:1");
    const offers = [
      here.issue(TENANT, [operator]),
      remoteOf(home, "http://127.0.0.1:1", { installation: `ins_${"x".repeat(20)}` }).issue(
        CONTENT,
        [operator],
      ),
      { hello: "world" },
    ];
    const waiting = { kind: "pending", order_id: "ord_1", missing: "operator", waiting: offers };
    const url = await impostor(202, waiting);
    expect(await remoteOf(one.home, url).authorize(CONTENT, architect)).toEqual({
      kind: "pending",
      order_id: "ord_1",
      missing: "operator",
    });
  });
});
