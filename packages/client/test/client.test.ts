import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ApiError, type RunEvent, SovereignClient } from "../src/index.ts";

const TOKEN = "sovt_secret-of-the-tenant";
const RUN = `run_${"a".repeat(20)}`;
let server: Server;
let url: string;
let asked: { method: string; path: string; headers: IncomingMessage["headers"]; body: string }[];
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeEach(async () => {
  asked = [];
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      const { method = "", url: path = "", headers } = request;
      asked.push({ method, path, headers, body });
      answer(request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const json = (response: ServerResponse, status: number, value: object, more: object = {}): void => {
  response.writeHead(status, { "content-type": "application/json", ...more });
  response.end(JSON.stringify(value));
};
const client = (): SovereignClient => new SovereignClient({ url, token: TOKEN });

describe("a request", () => {
  it("has the token, the key, the query and the body that it was given, and no more", async () => {
    answer = (_request, response) => {
      json(response, 202, { run_id: RUN, is_new: true });
    };
    const begun = await client().submit({ goal: "g", agent_id: "bot" }, "invoice-7");
    expect(begun).toEqual({ run_id: RUN, is_new: true });
    expect(asked[0]).toMatchObject({
      method: "POST",
      path: "/v1/runs",
      body: '{"goal":"g","agent_id":"bot"}',
      headers: {
        authorization: `Bearer ${TOKEN}`,
        "content-type": "application/json",
        "idempotency-key": "invoice-7",
      },
    });
    answer = (_request, response) => {
      json(response, 200, { runs: [], next: null });
    };
    await client().call("listRuns", { query: { limit: 2, status: "failed" } });
    expect(asked[1]?.path).toBe("/v1/runs?limit=2&status=failed");
  });

  it("stays within its path, whatever a part of it says", async () => {
    answer = (_request, response) => {
      json(response, 404, {});
    };
    await expect(client().call("showRun", { params: { run: "../../x?y#z" } })).rejects.toThrow();
    expect(asked[0]?.path).toBe("/v1/runs/..%2F..%2Fx%3Fy%23z");
    for (const run of ["", ".", ".."]) {
      await expect(client().call("showRun", { params: { run } })).rejects.toThrow(TypeError);
    }
    expect(asked).toHaveLength(1);
  });

  it("that is refused says why, and never holds the token", async () => {
    const problem = { code: "ERR_HTTP_BUSY", detail: "Nothing was begun.", exit: 1 };
    answer = (_request, response) => {
      const more = { "content-type": "application/problem+json", "retry-after": "2" };
      json(response, 503, problem, more);
    };
    const error: unknown = await client()
      .call("getCaller", {})
      .catch((found: unknown) => found);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({
      status: 503,
      code: "ERR_HTTP_BUSY",
      message: "Nothing was begun.",
      exit: 1,
      retryAfterMs: 2000,
    });
    expect(JSON.stringify(error) + String(error)).not.toContain(TOKEN);
    answer = (_request, response) => response.writeHead(502).end("<html>");
    await expect(client().call("getCaller", {})).rejects.toMatchObject({
      status: 502,
      code: "ERR_HTTP_ANSWER",
      retryAfterMs: null,
    });
  });

  it("takes the token to no other server", async () => {
    const other = createServer((_request, response) => response.end("{}"));
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    let reached = 0;
    other.on("request", () => (reached += 1));
    const location = `http://127.0.0.1:${(other.address() as AddressInfo).port}/v1/caller`;
    answer = (_request, response) => response.writeHead(307, { location }).end();
    await expect(client().call("getCaller", {})).rejects.toThrow(TypeError);
    expect(reached).toBe(0);
    other.close();
    for (const bad of ["http://sovereign.example", "http://127.0.0.1.example", "file:///x"]) {
      expect(() => new SovereignClient({ url: bad, token: TOKEN })).toThrow(TypeError);
    }
    const plain = { url: "http://sovereign.example", token: TOKEN, allowPlaintext: true };
    expect(new SovereignClient(plain)).toBeInstanceOf(SovereignClient);
  });

  it("that is not answered ends after its time, or when its caller ends it", async () => {
    answer = () => undefined;
    const impatient = new SovereignClient({ url, token: TOKEN, timeoutMs: 50 });
    await expect(impatient.call("getCaller", {})).rejects.toThrow(/timeout/);
    const ends = new AbortController();
    const waiting = client().call("getCaller", { signal: ends.signal });
    ends.abort(new Error("not needed"));
    await expect(waiting).rejects.toThrow("not needed");
  });
});

describe("the events of a run", () => {
  const block = (id: number, type: string): string =>
    `id: ${id}\nevent: ${type}\ndata: {"sequence":${id},"text":"ä"}\n\n`;

  it("go on after the last one that was read, however the connection was lost", async () => {
    const answers: ((response: ServerResponse) => void)[] = [
      (response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        const bytes = Buffer.from(`: alive\n\n${block(0, "run.admitted")}${block(1, "a")}id: 2\n`);
        // Cut within a character, and within a block.
        response.write(bytes.subarray(0, bytes.indexOf("ä") + 1));
        response.write(bytes.subarray(bytes.indexOf("ä") + 1), () => response.destroy());
      },
      (response) => response.writeHead(503, { "retry-after": "0" }).end(),
      (response) => response.destroy(),
      (response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.end(`${block(2, "b")}${block(3, "run.sealed")}`);
      },
    ];
    answer = (_request, response) => answers.shift()?.(response);
    const read: RunEvent[] = [];
    for await (const event of client().follow(RUN)) read.push(event);
    expect(read.map(({ id, type }) => `${id} ${type}`)).toEqual([
      "0 run.admitted",
      "1 a",
      "2 b",
      "3 run.sealed",
    ]);
    expect(read[0]?.data).toBe('{"sequence":0,"text":"ä"}');
    expect(asked.map(({ headers }) => headers["last-event-id"])).toEqual([
      undefined,
      "1",
      "1",
      "1",
    ]);
  });

  it("end where nothing follows, where the server refuses, and when the caller ends them", async () => {
    answer = (_request, response) => response.writeHead(204).end();
    expect(await client().follow(RUN, { from: "9" }).next()).toMatchObject({ done: true });
    expect(asked[0]?.headers["last-event-id"]).toBe("9");
    answer = (_request, response) => {
      json(
        response,
        401,
        { code: "ERR_HTTP_TOKEN" },
        { "content-type": "application/problem+json" },
      );
    };
    await expect(client().follow(RUN).next()).rejects.toMatchObject({ code: "ERR_HTTP_TOKEN" });
    answer = (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(block(0, "run.admitted"));
    };
    const ends = new AbortController();
    const events = client().follow(RUN, { signal: ends.signal });
    expect((await events.next()).value).toMatchObject({ id: "0" });
    const next = events.next();
    ends.abort(new Error("not needed"));
    await expect(next).rejects.toThrow("not needed");
  });

  it("with a line that has no end fill no memory", async () => {
    answer = (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const more = (): void => {
        if (!response.destroyed) response.write("a".repeat(1024 * 1024), more);
      };
      more();
    };
    await expect(client().follow(RUN).next()).rejects.toThrow(RangeError);
  });
});
