import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonicalBytes, sha256 } from "@sovereign/core";
import { ScriptedModel } from "../examples/agent/scripted-model.ts";
import { ModelProxy, type ModelCalls, proxyLimits } from "../packages/runtime/src/agents/index.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";

const TOKEN = "bench".repeat(8);
const ROUNDS = 150;
const PIECES = 100;
const PACE_MS = 2;
const OWNER = { tenant_id: "default", run_id: `run_${"a".repeat(20)}` };

interface Place {
  readonly socketPath?: string;
  readonly port?: number;
}

/** Milliseconds from the request to the first and the last byte, and the instant of each piece. */
interface Timed {
  readonly first: number;
  readonly last: number;
  readonly pieces: readonly number[];
}

/**
 * What the proxy adds to a call, beside the same call without it, in turn and in one process. The
 * record is in memory: what a commit takes is measured by the ledger's own benchmark.
 */
export async function run(): Promise<BenchReport> {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  const model = await ScriptedModel.start({
    script: ({ body }) =>
      body["stream"] === true
        ? { text: "x".repeat(PIECES * 20), pieces: PIECES, delayMs: PACE_MS }
        : { text: "ok" },
  });
  const proxy = new ModelProxy({
    gate: { preflight: () => ({ armed: true }) },
    limits: proxyLimits.parse({}),
  });
  const socketPath = join(folder, "proxy.sock");
  await proxy.listen(socketPath);
  const calls: ModelCalls = {
    reserve: () => Promise.resolve({ allowed: true, call: `call_${"a".repeat(20)}` }),
    settle: () => Promise.resolve(),
  };
  proxy.admit({
    owner: OWNER,
    tokenSha256: sha256(Buffer.from(TOKEN)),
    models: [],
    calls,
    vendor: {
      name: "bench",
      wires: ["anthropic_messages"],
      base: new URL(model.url),
      auth: "none",
      key: null,
      outputField: "max_tokens",
    },
  });
  const direct: Place = { port: model.port };
  const behind: Place = { socketPath };
  try {
    return {
      title: "Model proxy, milliseconds",
      rows: [
        ...(await compare("request, 100 bytes", direct, behind, 100, ROUNDS)),
        ...(await compare("request, 90 kB", direct, behind, 90_000, ROUNDS)),
        ...(await compareStreams(direct, behind)),
      ],
    };
  } finally {
    await proxy.close();
    await model.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function compare(
  name: string,
  direct: Place,
  behind: Place,
  bytes: number,
  rounds: number,
): Promise<BenchRow[]> {
  const [plain, proxied]: [number[], number[]] = [[], []];
  const agent = new Agent({ keepAlive: true });
  for (let round = -20; round < rounds; round++) {
    const one = await call(direct, bytes, false, agent);
    const other = await call(behind, bytes, false, agent);
    if (round < 0) continue;
    plain.push(one.last);
    proxied.push(other.last);
  }
  agent.destroy();
  return rowsOf(name, plain, proxied);
}

/** The gap between two pieces is the server's pace; what is above it was added. */
async function compareStreams(direct: Place, behind: Place): Promise<BenchRow[]> {
  const [plain, proxied]: [number[], number[]] = [[], []];
  const [first, firstBehind]: [number[], number[]] = [[], []];
  const agent = new Agent({ keepAlive: true });
  for (let round = -2; round < 15; round++) {
    const one = await call(direct, 100, true, agent);
    const other = await call(behind, 100, true, agent);
    if (round < 0) continue;
    first.push(one.first);
    firstBehind.push(other.first);
    plain.push(...gapsOf(one.pieces));
    proxied.push(...gapsOf(other.pieces));
  }
  agent.destroy();
  return [
    ...rowsOf("stream, to its first byte", first, firstBehind),
    ...rowsOf(`stream, from piece to piece at ${PACE_MS} ms`, plain, proxied),
  ];
}

function gapsOf(instants: readonly number[]): number[] {
  return instants.slice(1).map((at, index) => at - (instants[index] ?? at));
}

function rowsOf(name: string, plain: readonly number[], proxied: readonly number[]): BenchRow[] {
  const [a, b] = [quantiles(plain), quantiles(proxied)];
  const values = (found: typeof a): BenchRow["values"] => ({
    p50: round(found.p50),
    p99: round(found.p99),
    samples: plain.length,
  });
  return [
    { name: `${name}: direct`, values: values(a) },
    { name: `${name}: proxy`, values: { ...values(b), "p50 added": round(b.p50 - a.p50) } },
  ];
}

function call(place: Place, bytes: number, stream: boolean, agent: Agent): Promise<Timed> {
  const body = canonicalBytes({
    model: "bench",
    max_tokens: 100,
    stream,
    messages: [{ role: "user", content: "x".repeat(bytes) }],
  });
  const headers = {
    "content-type": "application/json",
    "content-length": body.length,
    "x-api-key": TOKEN,
  };
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const options = { ...place, agent, method: "POST", path: "/v1/messages", headers };
    const outgoing = request(options, (response) => {
      const pieces: number[] = [];
      response.on("data", () => pieces.push(performance.now() - start));
      response.on("end", () => {
        if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode ?? 0}`));
        const [first = 0] = pieces;
        resolve({ first, last: performance.now() - start, pieces });
      });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
