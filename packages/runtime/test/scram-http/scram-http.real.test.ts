import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  base64Decode,
  canonicalize,
  digestOf,
  type Envelope,
  parseEnvelope,
  parseStatement,
  type ScramOrder,
  type Signer,
  verifyEnvelope,
} from "@sovereign/core";
import { describe, expect, it } from "vitest";
import type { DrillRig } from "../../src/services/index.ts";
import { signScramOrder } from "../../src/services/scram/issue-order.ts";
import { Journal, readKeyFile } from "../../src/scram/index.ts";
import { newSigner } from "../support/keys.ts";
import { pidsOf, rig, stateOf } from "../support/scram-rig.ts";
import { ask, ORDERS, type Served, serve } from "../support/scram-server.ts";

/** An order that differs from a good one, signed by whoever is said. */
function orderOf(
  one: DrillRig,
  change: Partial<ScramOrder>,
  signers?: readonly Signer[],
): Envelope {
  const { operator, architect } = one.signers;
  const good = parseStatement(base64Decode(one.order().payload), "scram-order").predicate;
  return signScramOrder({ ...good, ...change }, signers ?? [operator, architect]);
}

function halves(one: DrillRig): { whole: Envelope; first: Envelope; second: Envelope } {
  const whole = one.order();
  const [first, second] = whole.signatures;
  if (first === undefined || second === undefined) throw new Error("expected two signatures");
  return {
    whole,
    first: { ...whole, signatures: [first] },
    second: { ...whole, signatures: [second] },
  };
}

const minutes = (count: number): string =>
  new Date(new Date().getTime() + count * 60_000).toISOString();

const linesOf = (one: DrillRig): readonly { event: string; data: Record<string, unknown> }[] =>
  Journal.open(join(one.home, "scram", "journal.jsonl")).lines;

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < 60_000; waited += 20) {
    if (await what()) return;
    await sleep(20);
  }
  throw new Error("it did not come");
}

describe("an order over HTTP", () => {
  it("with both signatures kills what runs, and the answer proves it", async () => {
    const one = await rig();
    const server = await serve(one);
    await one.hold(5);
    const order = one.order();
    const { status, body } = await ask(server, ORDERS, order);
    expect(one.survivors()).toBe(0);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      kind: "stopped",
      event: { scram_state: "COMPLETE", execution_paths_terminated: 5 },
      receipt: { authorized: true, trigger: "order", order_digest: digestOf(order) },
    });
    const keys = readKeyFile(join(one.home, "scram"), null)?.keys.windows ?? [];
    const sentinel = keys.filter(({ record }) => record.purpose === "sentinel");
    const proof = verifyEnvelope(
      parseEnvelope(body["envelope"]),
      sentinel.map(({ key }) => key),
    );
    const receipt = parseStatement(proof.body, "kill-receipt").predicate;
    expect(canonicalize(receipt)).toBe(canonicalize(body["receipt"] as never));
    expect(server.events).toContainEqual({ event: "stopped", outcome: body });
    const health = await ask(server, "/healthz");
    expect(health).toMatchObject({ status: 503, body: { runner_status: "HALTED" } });
  });

  it("is set off by two people one after the other", async () => {
    const one = await rig();
    const server = await serve(one);
    await one.hold(2);
    const { first, second } = halves(one);
    const pending = await ask(server, ORDERS, first);
    expect(pending).toMatchObject({ status: 202, body: { kind: "pending", missing: "architect" } });
    expect(await stateOf(one)).toBe("ACTIVATING");
    expect(one.survivors()).toBeGreaterThan(0);
    const stopped = await ask(server, ORDERS, second);
    expect(stopped).toMatchObject({ status: 200, body: { receipt: { authorized: true } } });
    expect(one.survivors()).toBe(0);
  });

  it("stops everything where two people failed to authorise it", async () => {
    const one = await rig();
    const server = await serve(one);
    await one.hold(2);
    const tenant = { kind: "tenant", tenant_id: "nobody" } as const;
    const late = { scope: tenant, issued_at: minutes(-10), expires_at: minutes(-1) };
    const { status, body } = await ask(server, ORDERS, orderOf(one, late));
    expect(status).toBe(200);
    expect(body).toMatchObject({
      event: { scram_state: "COMPLETE", execution_paths_terminated: 2 },
      receipt: { authorized: false, trigger: "refused_order", scope: { kind: "all" } },
    });
    expect(one.survivors()).toBe(0);
  });
});

interface Refusal {
  readonly what: string;
  readonly send: (one: DrillRig, server: Served) => ReturnType<typeof ask>;
  readonly status: number;
  readonly code: string;
}

const stranger = newSigner();
const post =
  (make: (one: DrillRig) => unknown, headers: Record<string, string> = {}): Refusal["send"] =>
  (one, server) =>
    ask(server, ORDERS, make(one), { headers: { "content-type": "application/json", ...headers } });

const REFUSALS: readonly Refusal[] = [
  {
    what: "a stranger's order",
    send: post((one) => orderOf(one, {}, [stranger, newSigner()])),
    status: 403,
    code: "ERR_SCRAM_ORDER_STRANGER",
  },
  {
    what: "a stranger's order that has expired, too",
    send: post((one) => orderOf(one, { expires_at: minutes(-1) }, [stranger])),
    status: 403,
    code: "ERR_SCRAM_ORDER_STRANGER",
  },
  {
    what: "an order that expired long ago",
    send: post((one) => orderOf(one, { issued_at: minutes(-200), expires_at: minutes(-100) })),
    status: 410,
    code: "ERR_SCRAM_ORDER_EXPIRED",
  },
  {
    what: "an order for another installation",
    send: post((one) => orderOf(one, { installation_id: `ins_${"x".repeat(20)}` })),
    status: 403,
    code: "ERR_SCRAM_ORDER_INSTALLATION",
  },
  {
    what: "JSON that is no envelope",
    send: post(() => ({ hello: "world" })),
    status: 400,
    code: "ERR_SCRAM_ORDER_MALFORMED",
  },
  {
    what: "what is no JSON",
    send: post(() => "\u0000{"),
    status: 400,
    code: "ERR_SCRAM_ORDER_MALFORMED",
  },
  {
    what: "a body above the limit",
    send: post(() => " ".repeat(64 * 1024 + 1)),
    status: 413,
    code: "ERR_HTTP_TOO_LARGE",
  },
  {
    what: "a good order in a body far above the limit",
    send: post((one) => JSON.stringify(one.order()) + " ".repeat(200_000)),
    status: 413,
    code: "ERR_HTTP_TOO_LARGE",
  },
  {
    what: "another content type",
    send: post((one) => one.order(), { "content-type": "text/plain" }),
    status: 415,
    code: "ERR_HTTP_MEDIA_TYPE",
  },
  {
    what: "a compressed body",
    send: post((one) => one.order(), { "content-encoding": "gzip" }),
    status: 415,
    code: "ERR_HTTP_MEDIA_TYPE",
  },
  {
    what: "a page in a browser",
    send: post((one) => one.order(), { origin: "http://127.0.0.1" }),
    status: 403,
    code: "ERR_HTTP_ORIGIN",
  },
  {
    what: "a name that somebody made stand for this address",
    send: post((one) => one.order(), { host: "rebound.example" }),
    status: 421,
    code: "ERR_HTTP_HOST",
  },
  {
    what: "another path",
    send: (one, server) => ask(server, "/v1/scram/reset", one.order()),
    status: 404,
    code: "ERR_HTTP_NOT_FOUND",
  },
  {
    what: "another method",
    send: (one, server) => ask(server, ORDERS, one.order(), { method: "PUT" }),
    status: 405,
    code: "ERR_HTTP_METHOD",
  },
];

describe("what is refused over HTTP stops nothing:", () => {
  it("each has its status and its code, and the one after is heard", async () => {
    const one = await rig();
    const server = await serve(one);
    await one.hold(1);
    for (const { what, send, status, code } of REFUSALS) {
      let answer = await send(one, server);
      // Whoever is refused often is told to wait, and may then ask again.
      while (answer.status === 429) {
        expect(answer.body["code"]).toBe("ERR_HTTP_RATE");
        await sleep(Number(answer.headers["retry-after"]) * 1000);
        answer = await send(one, server);
      }
      expect({ what, status: answer.status, code: answer.body["code"] }).toEqual({
        what,
        status,
        code,
      });
      expect(answer.headers["content-type"]).toBe("application/problem+json");
      expect(answer.headers).not.toHaveProperty("access-control-allow-origin");
      expect(one.survivors()).toBeGreaterThan(0);
    }
    expect(await stateOf(one)).toBe("ARMED");
    expect((await ask(server, ORDERS, one.order())).status).toBe(200);
    expect(one.survivors()).toBe(0);
  });
});

describe("bytes that were seen on the way", () => {
  it("stop nothing when they are sent again, whole or in part", async () => {
    const one = await rig();
    const server = await serve(one);
    const { whole, first, second } = halves(one);
    expect((await ask(server, ORDERS, first)).status).toBe(202);
    expect((await ask(server, ORDERS, first)).status).toBe(202);
    expect((await ask(server, ORDERS, whole)).status).toBe(200);
    await one.reset();
    await one.hold(1);
    const parts = [
      whole,
      first,
      second,
      { ...whole, signatures: [...first.signatures, ...first.signatures] },
    ];
    // Who sends the same too often is told to wait: then the answer is still to come.
    const again = async (bytes: Envelope): ReturnType<typeof ask> => {
      for (;;) {
        const answer = await ask(server, ORDERS, bytes);
        if (answer.status !== 429) return answer;
        await sleep(300);
      }
    };
    for (const bytes of parts) {
      expect(await again(bytes)).toMatchObject({
        status: 409,
        body: { code: "ERR_SCRAM_ORDER_REPLAYED" },
      });
    }
    // Nor does a new sentinel believe them.
    const { pid } = await pidsOf(one.link);
    process.kill(pid, "SIGKILL");
    await until(async () => (await ask(server, "/v1/scram/status")).status === 200);
    for (const bytes of parts) expect((await again(bytes)).status).toBe(409);
    expect(linesOf(one).filter(({ event }) => event === "authorization.pending")).toHaveLength(1);
  });
});

describe("a connection", () => {
  it("carries one request: what follows in the same breath is not looked at", async () => {
    const one = await rig();
    const { port } = await serve(one);
    const request = (body: string): string =>
      `POST ${ORDERS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    const socket = connect(port, "127.0.0.1");
    let answer = "";
    socket.on("data", (chunk) => (answer += String(chunk)));
    socket.on("error", () => undefined);
    socket.write(request("{}") + request(JSON.stringify(one.order())));
    await new Promise((end) => socket.on("close", end));
    expect(answer).toContain("400 Bad Request");
    expect(answer).not.toContain("200 OK");
    expect(await stateOf(one)).toBe("ARMED");
  });

  it("is answered when the server is ended meanwhile", async () => {
    const one = await rig();
    const server = await serve(one);
    await one.hold(5);
    const answered = ask(server, ORDERS, one.order());
    await until(async () => (await stateOf(one)) !== "ARMED");
    await server.end();
    expect((await answered).status).toBe(200);
    await expect(ask(server, "/healthz")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it.each([
    ["that says no HTTP", "hello\r\n\r\n", "400"],
    ["whose headers are too long", `GET / HTTP/1.1\r\nx: ${"y".repeat(20_000)}`, "431"],
    ["that names no host", "GET /healthz HTTP/1.1\r\n\r\n", "400"],
    [
      "whose body does not come",
      `POST ${ORDERS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{`,
      "408",
    ],
  ])("%s is ended", async (_, bytes, status) => {
    const one = await rig();
    const { port } = await serve(one);
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    let answer = "";
    socket.on("data", (chunk) => (answer += String(chunk)));
    socket.on("error", () => undefined);
    await new Promise((end) => socket.on("close", end));
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });
});

describe("an order that somebody has seen, and sends without end", () => {
  it("is not handed on, and the other signature over it is", async () => {
    const one = await rig();
    const server = await serve(one);
    const { first, second } = halves(one);
    let limited = 0;
    for (let times = 0; times < 30; times++) {
      const { status, headers, body } = await ask(server, ORDERS, first);
      if (status === 202) continue;
      expect({ status, code: body["code"], after: headers["retry-after"] }).toEqual({
        status: 429,
        code: "ERR_HTTP_RATE",
        after: "1",
      });
      limited += 1;
    }
    expect(limited).toBeGreaterThan(0);
    expect((await ask(server, ORDERS, second)).status).toBe(200);
  });
});

const KEYS = ["operator", "architect"] as const;

/** Costs most to refuse: it names keys that are enrolled, under signatures that do not hold. */
function wrongKeys(one: DrillRig): string {
  const { payloadType, payload, signatures } = orderOf(one, {}, [stranger, newSigner()]);
  const named = signatures.map(({ sig }, at) => ({
    keyid: one.signers[KEYS[at] ?? "operator"].publicKey.keyId,
    sig,
  }));
  return JSON.stringify({ payloadType, payload, signatures: named });
}

/** Connections that send without end, each from an address of its own. */
function flood({ port }: Served, bodies: readonly string[], count: number): () => void {
  let over = false;
  const sockets = new Set<Socket>();
  const start = (index: number): void => {
    if (over) return;
    const body = bodies[index % bodies.length] ?? "";
    const socket = connect({ port, host: "127.0.0.1", localAddress: `127.0.0.${2 + index}` });
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", () => undefined);
    socket.on("close", () => {
      sockets.delete(socket);
      setImmediate(start, index);
    });
    const head = `POST ${ORDERS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`;
    socket.write(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  };
  for (let index = 0; index < count; index++) start(index);
  return () => {
    over = true;
    for (const socket of sockets) socket.destroy();
  };
}

describe("a real order gets through", () => {
  it("a flood of garbage and of orders that name our keys, which the journal survives", async () => {
    const one = await rig();
    const server = await serve(one);
    await one.hold(2);
    const bodies = [wrongKeys(one), "garbage", JSON.stringify({ a: "b".repeat(60_000) })];
    const end = flood(server, bodies, 24);
    try {
      const early = linesOf(one).length;
      await until(async () => {
        const answer = await ask(server, ORDERS, wrongKeys(one));
        return answer.status === 429 && linesOf(one).length > early;
      });
      const { status, body } = await ask(server, ORDERS, one.order());
      expect(status).toBe(200);
      expect(body).toMatchObject({ receipt: { authorized: true } });
      expect(one.survivors()).toBe(0);
    } finally {
      end();
    }
    const refused = linesOf(one).filter(({ event }) => event === "order.refused");
    expect(refused.length).toBeLessThanOrEqual(100);
    expect(refused.some(({ data }) => Number(data["left_out"]) > 0)).toBe(true);
  });

  it.each([
    ["from one address", (index: number) => `127.0.1.${1 + (index % 1)}`],
    ["from many", (index: number) => `127.0.1.${1 + (index % 200)}`],
  ])("hundreds of connections that send next to nothing, %s", async (_, addressOf) => {
    const one = await rig();
    const server = await serve(one);
    const sockets = Array.from({ length: 400 }, (__, index) => {
      const options = { port: server.port, host: "127.0.0.1", localAddress: addressOf(index) };
      const socket = connect(options, () => socket.write("POST /v1/scram/orders HTTP/1.1\r\nx: "));
      socket.on("error", () => undefined);
      return socket;
    });
    const drip = setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write("y");
    }, 100);
    try {
      await until(() => sockets.every(({ connecting }) => !connecting));
      expect((await ask(server, ORDERS, one.order())).status).toBe(200);
      // The slow ones are ended, all of them.
      await until(() => sockets.every(({ destroyed }) => destroyed));
    } finally {
      clearInterval(drip);
      for (const socket of sockets) socket.destroy();
    }
  });
});

describe("without a sentinel that answers", () => {
  it("says 503; an order waits for the next sentinel, and stops", async () => {
    const one = await rig();
    const server = await serve(one);
    const { pid, dead_man } = await pidsOf(one.link);
    // Else another sentinel would be there at once.
    process.kill(dead_man, "SIGSTOP");
    process.kill(pid, "SIGSTOP");
    await until(async () => (await ask(server, "/healthz")).status === 503);
    expect(await ask(server, "/healthz")).toMatchObject({
      body: { runner_status: "UNAVAILABLE", scram_state: "UNKNOWN", scram_armed: false },
    });
    expect(await ask(server, "/v1/scram/status")).toMatchObject({
      status: 503,
      headers: { "retry-after": "1" },
    });
    const order = one.order();
    expect(await ask(server, ORDERS, order)).toMatchObject({
      status: 503,
      body: { code: "ERR_SCRAM_SENTINEL_LOST" },
    });
    process.kill(dead_man, "SIGKILL");
    process.kill(pid, "SIGKILL");
    await until(async () => (await ask(server, ORDERS, order)).status === 200);
    expect(server.events.map(({ event }) => event)).toEqual(
      expect.arrayContaining(["sentinel.lost", "sentinel.back"]),
    );
    expect((await ask(server, ORDERS, order)).status).toBe(409);
  });
});

describe("the ledger", () => {
  it("is told of a stop when it can be, and nobody waits for it", async () => {
    const one = await rig();
    let tries = 0;
    let told = 0;
    const anchor = (): Promise<void> => {
      tries += 1;
      if (tries < 3) return Promise.reject(new Error("the database is down"));
      told += 1;
      return Promise.resolve();
    };
    const server = await serve(one, {}, anchor);
    expect((await ask(server, ORDERS, one.order())).status).toBe(200);
    await until(() => told === 1);
    expect(tries).toBe(3);
    // That it failed is told, and once.
    expect(server.events.filter(({ event }) => event === "failed")).toEqual([
      { event: "failed", what: "ledger", why: "the database is down" },
    ]);
  });
});
