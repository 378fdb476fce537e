import { createConnection } from "node:net";
import { Validator } from "@seriousme/openapi-schema-validator";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiServer, ROUTES } from "../../src/api/index.ts";
import { parseListenAddress } from "../../src/scram-http/index.ts";
import { ALL, type ApiRig, askAt, askRaw, openApiRig } from "../support/api-rig.ts";
import { type FuzzRequest, type OpenApiDocument, requestsOf } from "../support/openapi-fuzz.ts";

let rig: ApiRig;
let acme: string;
/** A tenant without a policy: nothing of what it submits is begun. */
let initech: string;
let document: OpenApiDocument;
const MARK = "only acme may read this";
beforeAll(async () => {
  rig = await openApiRig();
  acme = await rig.tokenOf("acme");
  initech = await rig.tokenOf("initech");
  const { json } = await rig.ask(null, "GET", "/openapi.json");
  document = json as unknown as OpenApiDocument;
});
afterAll(() => rig.close());

describe("the description", () => {
  it("is valid OpenAPI 3.1, and has every route and nothing else", async () => {
    const found = await new Validator().validate(structuredClone(document) as never);
    expect(found.errors ?? []).toEqual([]);
    expect(found.valid).toBe(true);
    for (const [name, schema] of Object.entries(document.components.schemas))
      expect(schema, name).toMatchObject({ type: "object", properties: {} });
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(
        ([method, { operationId }]) => `${operationId} ${method} ${path}`,
      ),
    );
    const routes = ROUTES.map(({ id, method, path }) => `${id} ${method.toLowerCase()} ${path}`);
    expect(described.sort()).toEqual(routes.sort());
  });
});

describe("a request", () => {
  const post = (body: string, headers: Record<string, string> = {}): ReturnType<ApiRig["ask"]> =>
    rig.ask(initech, "POST", "/v1/runs", { body, headers });

  it.each([
    ["no JSON", "{", 400, "ERR_JSON_MALFORMED"],
    ["a key twice", '{"goal":"a","goal":"b"}', 400, "ERR_JSON_DUPLICATE_KEY"],
    ["JSON that is too deep", `${"[".repeat(100)}${"]".repeat(100)}`, 400, "ERR_JSON_TOO_DEEP"],
    ["more than a body may have", JSON.stringify("a".repeat(600_000)), 413, "ERR_HTTP_TOO_LARGE"],
    ["nothing", "", 400, "ERR_JSON_MALFORMED"],
  ])("with %s is refused", async (_what, body, status, code) => {
    const answer = await post(body);
    expect([answer.status, answer.json["code"]]).toEqual([status, code]);
  });

  it.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"])(
    "of the media type %s is refused",
    async (type) => {
      const { json } = await post("{}", { "content-type": type });
      expect(json["code"]).toBe("ERR_HTTP_MEDIA_TYPE");
    },
  );

  it("that is compressed, or to another server, is refused", async () => {
    const packed = await post("{}", { "content-encoding": "gzip" });
    expect([packed.status, packed.json["code"]]).toEqual([415, "ERR_HTTP_MEDIA_TYPE"]);
    for (const url of ["http://evil.example/v1/caller", "*", "//localhost/v1/caller"]) {
      const head = `GET ${url} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${acme}`;
      expect(await rawAnswer(`${head}\r\nconnection: close\r\n\r\n`)).toMatch(
        /^HTTP\/1.1 4(00|04) /,
      );
    }
  });

  it("of a web page, or under a name that is not ours, is refused", async () => {
    const asked = (headers: Record<string, string>): ReturnType<typeof askRaw> =>
      askRaw(rig.server.url, "/v1/runs", { authorization: `Bearer ${acme}`, ...headers });
    const page = await asked({ origin: "https://evil.example" });
    expect(page).toMatchObject({ status: 403, json: { code: "ERR_HTTP_ORIGIN" } });
    expect(page.headers.get("access-control-allow-origin")).toBeNull();
    expect(await asked({ host: "evil.example" })).toMatchObject({ status: 421 });
    const preflight = await rig.ask(null, "OPTIONS", "/v1/runs");
    expect(preflight).toMatchObject({ status: 405, json: { code: "ERR_HTTP_METHOD" } });
    expect(preflight.headers.get("allow")).toBe("POST, GET");
  });

  it("at no path of ours, or with another method, is told so", async () => {
    for (const path of [
      "/",
      "/v1",
      "/v1/runs/",
      "/v1/runs/../caller/x",
      "/V1/RUNS",
      "/v1/runs/%00",
      `/v1/runs/${"a".repeat(500)}`,
    ])
      expect((await rig.ask(acme, "GET", path)).status, path).toBe(404);
    expect((await rig.ask(acme, "DELETE", "/v1/runs")).status).toBe(405);
  });

  it("with huge headers is cut off, and one that comes too slowly, too", async () => {
    const huge = await rawAnswer(
      `GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ${"a".repeat(40_000)}\r\n\r\n`,
    );
    expect(huge).toMatch(/^HTTP\/1.1 431 /);
    const begun = performance.now();
    const slow = rawAnswer("GET /healthz HTTP/1.1\r\nhost: localhost\r\n");
    const body = rawAnswer(
      `POST /v1/runs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${acme}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`,
    );
    // Meanwhile others are answered.
    expect((await rig.ask(null, "GET", "/healthz")).status).toBe(200);
    expect(await slow).toMatch(/^HTTP\/1.1 408 /);
    expect(await body).toMatch(/^(HTTP\/1.1 4|$)/);
    expect(performance.now() - begun).toBeLessThan(60_000);
  });

  it("that says twice how long it is, or is no HTTP, is refused", async () => {
    const twice =
      "POST /v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    expect(await rawAnswer(twice)).toMatch(/^HTTP\/1.1 400 /);
    expect(await rawAnswer("\x16\x03\x01\x02\0\x01\0\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
  });
});

function rawAnswer(text: string): Promise<string> {
  const { hostname, port } = new URL(rig.server.url);
  return new Promise((resolve) => {
    let answer = "";
    const socket = createConnection(Number(port), hostname, () => socket.write(text));
    socket.on("data", (chunk) => (answer += chunk.toString()));
    socket.on("error", () => undefined);
    socket.on("close", () => {
      resolve(answer);
    });
  });
}

describe("too many requests", () => {
  const start = (perSecond: number): Promise<ApiServer> =>
    ApiServer.start({
      services: rig.api,
      listen: parseListenAddress("127.0.0.1:0"),
      ...{ tls: null, plaintext: false, names: [], rates: { perSecond } },
      onFault: (error) => rig.faults.push(error),
    });

  it("of one token, or without one that counts, wait; another token's do not", async () => {
    const server = await start(1);
    const other = await rig.tokenOf("acme");
    const ask = (token: string): ReturnType<typeof askAt> =>
      askAt(server.url, token, "GET", "/v1/caller");
    const statuses: number[] = [];
    for (let at = 0; at < 6; at++) statuses.push((await ask(acme)).status);
    expect(statuses.slice(0, 2)).toEqual([200, 200]);
    expect(statuses).toContain(429);
    expect((await ask(other)).status).toBe(200);
    let last = 401;
    for (let at = 0; at < 60 && last === 401; at++) last = (await ask("x")).status;
    expect(last).toBe(429);
    // Whoever comes with a token that counts is let in, however many come with others.
    for (let at = 0; at < 5; at++) {
      expect((await ask("x")).status).toBe(429);
      expect((await ask(await rig.tokenOf("acme"))).status).toBe(200);
    }
    const flood = Array.from({ length: 40 }, (_, at) => ask(`sovt_${String(at).padEnd(43, "A")}`));
    expect((await ask(await rig.tokenOf("acme"))).status).toBe(200);
    expect(new Set((await Promise.all(flood)).map(({ status }) => status))).toEqual(new Set([429]));
    await server.close();
  });

  it("of what costs much wait earlier", async () => {
    const server = await start(10);
    const path = `/v1/runs/run_${"z".repeat(20)}/proof`;
    const statuses: number[] = [];
    for (let at = 0; at < 5; at++)
      statuses.push((await askAt(server.url, acme, "GET", path)).status);
    expect(statuses).toContain(429);
    expect((await askAt(server.url, acme, "GET", "/v1/caller")).status).toBe(200);
    await server.close();
  });
});

describe("the server", () => {
  it("is not started where other machines could read the tokens, nor where it is taken", async () => {
    const start = (listen: string): Promise<ApiServer> =>
      ApiServer.start({
        services: rig.api,
        listen: parseListenAddress(listen),
        ...{
          tls: null,
          plaintext: false,
          names: [],
          rates: { perSecond: 1 },
          onFault: () => undefined,
        },
      });
    await expect(start("0.0.0.0:0")).rejects.toMatchObject({ code: "ERR_HTTP_CONFIG" });
    const { host } = new URL(rig.server.url);
    await expect(start(host)).rejects.toMatchObject({ code: "ERR_HTTP_LISTEN" });
  });
});

describe("requests that are made from the description", () => {
  it("fail no server, hang nowhere, and show nothing of another tenant", async () => {
    const steps = [{ id: "a", skill: "http_call", with: { url: `http://${rig.host}/a` } }];
    const theirs = await rig.carryOut(acme, { goal: MARK, agent_id: "bot", plan: { steps } });
    const known = [theirs, `run_${"z".repeat(20)}`, "0".repeat(64), "1"];
    const requests = fc.sample(requestsOf(document, known), { numRuns: 2400, seed: 20_260_101 });
    const statuses = new Map<string, number>();
    const ask = async (one: FuzzRequest): Promise<void> => {
      const { method, path, headers, body, operation } = one;
      const init = { method, headers: { ...headers, authorization: `Bearer ${initech}` } };
      const signal = AbortSignal.timeout(60_000);
      const answer = await fetch(`${rig.server.url}${path}`, {
        ...{ ...init, signal },
        ...(body === undefined ? {} : { body }),
      });
      const text = await answer.text();
      const faults = faultsOf(one, answer, text);
      if (`${path} ${body ?? ""}`.includes(theirs)) faults.delete("shows a run");
      expect([...faults], `${JSON.stringify(one)} ${text.slice(0, 300)}`).toEqual([]);
      const key = `${operation} ${answer.status}`;
      statuses.set(key, (statuses.get(key) ?? 0) + 1);
    };
    const faultsOf = (one: FuzzRequest, answer: Response, text: string): Set<string> => {
      const { status, headers } = answer;
      const isProblem = headers.get("content-type") === "application/problem+json";
      const route = ROUTES.find(({ id }) => id === one.operation);
      const schema = status < 400 ? route?.answers[status]?.schema : null;
      const faults: [string, boolean][] = [
        ["fails", status >= 500],
        ["shows a text", text.includes(MARK)],
        ["shows a run", text.includes(theirs)],
        ["is no problem document", status >= 400 && !isProblem],
        ["is not as described", Boolean(schema && !schema.safeParse(JSON.parse(text)).success)],
      ];
      return new Set(faults.flatMap(([what, wrong]) => (wrong ? [what] : [])));
    };
    const queue = [...requests];
    const worker = async (): Promise<void> => {
      for (let one = queue.pop(); one !== undefined; one = queue.pop()) await ask(one);
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    expect(rig.faults).toEqual([]);
    // Each operation was reached, and what was submitted came as far as the tenant's policy.
    for (const { id } of ROUTES)
      expect(
        [...statuses.keys()].some((key) => key.startsWith(`${id} `)),
        id,
      ).toBe(true);
    expect(statuses.get("listRuns 200")).toBeGreaterThan(0);
    expect((await rig.ask(await rig.tokenOf("acme", ALL), "GET", "/v1/caller")).status).toBe(200);
  });
});
