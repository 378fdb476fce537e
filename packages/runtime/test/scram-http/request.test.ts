import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { isSovereignError } from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkCaller } from "../../src/scram-http/request.ts";

const server = createServer((request, response) => {
  try {
    checkCaller(request, () => false);
    response.end("taken");
  } catch (error) {
    response.statusCode = 400;
    response.end(isSovereignError(error) ? error.code : "unknown");
  }
});

beforeAll(async () => {
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
});
afterAll(() => {
  server.close();
});

function send(headers: readonly string[], url = "/healthz"): Promise<string> {
  const { port } = server.address() as AddressInfo;
  const lines = [`GET ${url} HTTP/1.1`, ...headers, "Connection: close", "", ""];
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(lines.join("\r\n")));
    socket.on("data", (chunk) => (answer += String(chunk)));
    socket.on("close", () => {
      resolve(answer);
    });
    socket.on("error", () => undefined);
  });
}

describe("a request", () => {
  it("is taken with one of each header", async () => {
    expect(await send(["Host: localhost", "Content-Type: application/json"])).toContain("taken");
  });

  it.each([
    ["two hosts", ["Host: localhost", "Host: evil.example"]],
    ["the same host twice", ["Host: localhost", "Host: localhost"]],
    ["two hosts, spelled otherwise", ["Host: localhost", "HOST: evil.example"]],
    [
      "two types",
      ["Host: localhost", "Content-Type: text/plain", "Content-Type: application/json"],
    ],
    ["two encodings", ["Host: localhost", "Content-Encoding: identity", "Content-Encoding: gzip"]],
  ])("is refused with %s", async (_, headers) => {
    const answer = await send(headers);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain("ERR_HTTP_HEADER");
  });

  it.each(["http://evil.example/healthz", "http://localhost/healthz", "*"])(
    "is refused for %s, which is no path",
    async (url) => {
      expect(await send(["Host: localhost"], url)).toContain("ERR_HTTP_REQUEST");
    },
  );

  it("is refused where it is compressed", async () => {
    const answer = await send(["Host: localhost", "Content-Encoding: gzip"]);
    expect(answer).toContain("ERR_HTTP_MEDIA_TYPE");
  });

  it.each([
    ["no host", []],
    ["an empty one", ["Host:"]],
  ])("is refused with %s", async (_, headers) => {
    expect(await send(headers)).toMatch(/^HTTP\/1\.1 4/);
  });
});
