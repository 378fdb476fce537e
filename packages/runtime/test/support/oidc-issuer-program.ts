/**
 * `node oidc-issuer-program.ts`: an identity provider. It publishes keys, and signs what it is told to.
 * Its first line of output is its URL.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";

type Algorithm = "RS256" | "PS256" | "ES256" | "ES384" | "EdDSA";
interface Pair {
  readonly kid: string;
  readonly alg: Algorithm;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

/** Those that it signs with; and those that it says it has. */
const pairs: Pair[] = [];
let published: string[] = [];
let manner = "good";
let asked = 0;

async function addKey(kid: string, alg: Algorithm): Promise<void> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: "sig" };
  pairs.push({ kid, alg, privateKey, jwk });
  published.push(kid);
}

interface Words {
  readonly kid: string;
  readonly alg: Algorithm;
  readonly header: object;
  readonly payload: JWTPayload;
  readonly kids: string[];
  readonly as: string;
}

const COMMANDS: Record<string, (words: Words) => unknown> = {
  sign: async ({ kid, header, payload }) => {
    const pair = pairs.find((one) => one.kid === kid);
    if (pair === undefined) throw new Error("no such key");
    return new SignJWT(payload)
      .setProtectedHeader({ alg: pair.alg, kid, ...header })
      .sign(pair.privateKey);
  },
  key: async ({ kid, alg }) => {
    await addKey(kid, alg);
    return null;
  },
  publish: ({ kids }) => {
    published = kids;
    return null;
  },
  behave: ({ as }) => {
    manner = as;
    return null;
  },
  asked: () => asked,
};

/** What is wrong with its answers, by the manner that it was told. */
const MANNERS: Record<string, (request: IncomingMessage, response: ServerResponse) => unknown> = {
  hangs: () => undefined,
  "is broken": (_request, response) => response.writeHead(500).end("no"),
  redirects: (request, response) =>
    response.writeHead(302, { location: `${url}/elsewhere${request.url ?? ""}` }).end(),
  "is of another": (_request, response) =>
    tell(response, { issuer: "https://other.example", jwks_uri: `${url}/keys` }),
  "sends no JSON": (_request, response) => response.end("<html>"),
  "names a key twice": (_request, response) =>
    response.end(`{"issuer":"${url}","issuer":"${url}","jwks_uri":"${url}/keys"}`),
  "has keys elsewhere": (_request, response) =>
    tell(response, { issuer: url, jwks_uri: "http://192.0.2.1/keys" }),
  "has keys in a file": (_request, response) =>
    tell(response, { issuer: url, jwks_uri: "file:///etc/passwd" }),
};
const KEY_MANNERS: Record<string, (response: ServerResponse) => unknown> = {
  "has huge keys": (response) => {
    response.end(JSON.stringify({ keys: [], more: "a".repeat(2_000_000) }));
  },
  "has keys without end": (response) => {
    const more = (): void => {
      while (response.write("a".repeat(65_536)));
    };
    response.on("drain", more);
    response.write('{"keys":[');
    more();
  },
  "has packed huge keys": (response) => {
    const text = JSON.stringify({ keys: [], more: "a".repeat(50_000_000) });
    response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(text));
  },
  "has keys that hang": (response) => {
    response.writeHead(200).write('{"keys":');
  },
  "has too many keys": (response) =>
    tell(response, { keys: Array.from({ length: 101 }, () => ({ kty: "RSA" })) }),
  "has no keys": (response) => tell(response, { keys: "none" }),
};

function tell(response: ServerResponse, value: unknown): ServerResponse {
  return response.setHeader("content-type", "application/json").end(JSON.stringify(value));
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? "").replace(/^\/elsewhere/, "");
  if (request.method === "POST") {
    let text = "";
    for await (const part of request) text += String(part);
    const command = COMMANDS[path.slice(1)];
    tell(response, await command?.(JSON.parse(text) as Words));
    return;
  }
  asked += 1;
  const other = MANNERS[manner];
  const isElsewhere = request.url?.startsWith("/elsewhere") === true;
  if (other !== undefined && !isElsewhere) {
    other(request, response);
    return;
  }
  if (path === "/.well-known/openid-configuration") {
    tell(response, { issuer: url, jwks_uri: `${url}/keys`, response_types_supported: ["code"] });
    return;
  }
  const keys = KEY_MANNERS[manner];
  if (keys !== undefined) keys(response);
  else
    tell(response, {
      keys: pairs.filter(({ kid }) => published.includes(kid)).map(({ jwk }) => jwk),
    });
}

await addKey("first", "RS256");
const server = createServer((request, response) => {
  response.on("error", () => undefined);
  answer(request, response).catch((error: unknown) => {
    response.writeHead(400).end(String(error));
  });
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
process.stdout.write(`${url}\n`);
