import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { request } from "node:http";
import { request as requestTls } from "node:https";
import { join, resolve } from "node:path";
import { Worker } from "node:worker_threads";
import type { Envelope } from "@sovereign/core";
import { connectScram } from "../packages/runtime/src/home/index.ts";
import { DrillRig } from "../packages/runtime/src/services/index.ts";
import { Journal, openEvents } from "../packages/runtime/src/scram/index.ts";
import { SENTINEL_SOCKET } from "../packages/runtime/src/scram/protocol.ts";
import { certify } from "../packages/runtime/test/support/certificate.ts";
import { clientHello } from "../packages/runtime/test/support/hostile-clients.ts";
import type { Flood } from "./http-flood.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";

const TRIALS = Number(process.env["SCRAM_TRIALS"] ?? 30);
const PATHS = Number(process.env["SCRAM_PATHS"] ?? 15);
const FLOOD = 24;
const ENVIRONMENT = { PATH: process.env["PATH"] };

/** Halves: connections, TLS handshakes, requests and frames that stop in the middle. */
const HALVES = 1500;
const ADDRESSES = 64;
const LOCAL = "local socket";
const HALVED = `${HALVES} halves`;
const MANNERS = [
  LOCAL,
  "HTTP",
  "HTTP, flooded",
  "HTTPS",
  `${LOCAL}, ${HALVED}`,
  `HTTPS, ${HALVED}`,
] as const;
type Manner = (typeof MANNERS)[number];

/**
 * From the moment an order is sent to the verified death of hostile paths: over the local socket,
 * over HTTP, and while others send all they can, whole requests or halves. The manners take turns.
 */
export async function run(): Promise<BenchReport> {
  const wanted = process.env["SCRAM_MANNERS"]?.split(";");
  const manners: readonly Manner[] = MANNERS.filter((one) => wanted?.includes(one) ?? true);
  const found = new Map(manners.map((manner) => [manner, [] as Trial[]]));
  for (let round = 0; round < TRIALS; round++) {
    for (const manner of manners) {
      const one = await trial(manner);
      found.get(manner)?.push(one);
      const [dead, reaped] = [one.dead, one.reaped].map((ms) => Math.round(ms));
      const times = `${dead} ms, by the sentinel ${reaped} ms, ${one.survivors} survivors`;
      console.error(`trial ${round + 1} of ${TRIALS}, ${manner}: ${times}`);
    }
  }
  const rows = manners.map((manner) => rowOf(manner, found.get(manner) ?? []));
  return { title: `Order to all dead, ${PATHS} paths, ms, ${TRIALS} trials a row`, rows };
}

interface Trial {
  /** From sending to the last process's end, by the clock on the wall. */
  readonly dead: number;
  /** From sending to the answer with the receipt. */
  readonly answered: number;
  /** From the sentinel's receipt of it to the last process's end. */
  readonly reaped: number;
  readonly survivors: number;
  /** Refused requests of the flood in each second. */
  readonly refused: number;
}

async function trial(manner: Manner): Promise<Trial> {
  const rig = await DrillRig.open(ENVIRONMENT);
  const secure = manner.includes("HTTPS") || manner.includes(HALVED);
  const server = manner === LOCAL ? null : await serve(rig, secure);
  await rig.hold(PATHS);
  const flood = server === null ? null : await floodOf(manner, rig, server.port);
  await new Promise((next) => setTimeout(next, flood === null ? 500 : 3000));
  const order = rig.order();
  const wall = new Date().getTime();
  const begun = performance.now();
  if (server === null || manner.startsWith(LOCAL)) await overSocket(rig, order);
  else await post(server.port, order, secure);
  const answered = performance.now() - begun;
  const survivors = rig.survivors();
  const refused = (await flood?.end()) ?? 0;
  const { at, reaped } = deathOf(rig);
  const dead = at - wall;
  if (server !== null) {
    server.child.kill("SIGINT");
    await new Promise((end) => server.child.once("close", end));
  }
  await rig.close();
  return { dead, reaped, answered, survivors, refused };
}

function rowOf(name: string, trials: readonly Trial[]): BenchRow {
  const dead = quantiles(trials.map((one) => one.dead));
  const reaped = quantiles(trials.map((one) => one.reaped));
  const answered = quantiles(trials.map((one) => one.answered));
  const flood = quantiles(trials.map(({ refused }) => refused)).p50;
  return {
    name,
    values: {
      p50: round(dead.p50),
      p99: round(dead.p99),
      max: round(dead.max),
      "by the sentinel p50": round(reaped.p50),
      "by the sentinel max": round(reaped.max),
      "receipt in hand p50": round(answered.p50),
      "receipt max": round(answered.max),
      "refused/s": round(flood),
      survivors: trials.reduce((sum, { survivors }) => sum + survivors, 0),
    },
  };
}

/** Over a connection of its own, as a command does. */
async function overSocket(rig: DrillRig, envelope: Envelope): Promise<void> {
  const link = await connectScram(rig.home, ENVIRONMENT);
  await link.request({ t: "order", envelope });
  link.close();
}

/** The command itself, in a process of its own. */
async function serve(
  rig: DrillRig,
  secure: boolean,
): Promise<{ child: ChildProcess; port: number }> {
  const program = resolve("packages/runtime/bin/sovereign.js");
  const args = [program, "scram", "serve", "--listen", "127.0.0.1:0"];
  if (secure) {
    const { certPem, keyPem } = certify("server", null);
    for (const [name, text] of [
      ["cert", certPem],
      ["key", keyPem],
    ] as const) {
      const path = join(rig.home, `${name}.pem`);
      writeFileSync(path, text, { mode: 0o600 });
      args.push(`--tls-${name}`, path);
    }
  }
  // No database: what is measured needs none, and none is to start beside it.
  const env = {
    ...ENVIRONMENT,
    SOVEREIGN_HOME: rig.home,
    DATABASE_URL: "postgres://127.0.0.1:1/x",
  };
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  const port = await new Promise<number>((found) => {
    child.stdout.on("data", (chunk) => {
      const [, digits] = /listening: https?:\/\/127\.0\.0\.1:(\d+)/.exec(String(chunk)) ?? [];
      if (digits !== undefined) found(Number(digits));
    });
  });
  return { child, port };
}

function post(port: number, order: Envelope, secure: boolean): Promise<void> {
  const headers = { "content-type": "application/json" };
  const options = { host: "127.0.0.1", port, path: "/v1/scram/orders", method: "POST", headers };
  const ask = secure ? requestTls : request;
  return new Promise((done, fail) => {
    const sent = ask({ ...options, agent: false, rejectUnauthorized: false }, (response) => {
      response.resume();
      response.on("end", () => {
        if (response.statusCode === 200) done();
        else fail(new Error(`status ${String(response.statusCode)}`));
      });
    });
    sent.on("error", fail);
    sent.end(JSON.stringify(order));
  });
}

async function floodOf(
  manner: Manner,
  rig: DrillRig,
  port: number,
): Promise<{ end: () => Promise<number> } | null> {
  if (manner === "HTTP, flooded") {
    const bodies = [wrongKeys(rig), "garbage"];
    return start({ kind: "requests", port, bodies, connections: FLOOD });
  }
  if (!manner.includes(HALVED)) return null;
  const path = join(rig.home, "scram", SENTINEL_SOCKET);
  const connections = HALVES / 3;
  const text = "POST /v1/scram/orders HTTP/1.1\r\nhost: localhost\r\ncontent-le";
  const each = [
    { place: { port }, bytes: await clientHello(), connections, addresses: ADDRESSES },
    {
      place: { port },
      bytes: Buffer.from(text),
      connections: connections / 2,
      addresses: ADDRESSES,
    },
    { place: { port }, bytes: Buffer.alloc(0), connections: connections / 2, addresses: ADDRESSES },
    { place: { path }, bytes: Buffer.from([0, 0, 1, 0, 0, 0x7b]), connections, addresses: 0 },
  ];
  return start({ kind: "halves", each });
}

/** In a thread of its own. */
function start(workerData: Flood): { end: () => Promise<number> } {
  const worker = new Worker(new URL("./http-flood.ts", import.meta.url), { workerData });
  return {
    end: () =>
      new Promise((told) => {
        worker.once("message", told);
        worker.postMessage("end");
      }),
  };
}

/** What costs most to refuse: it names keys that are enrolled, under a stranger's signatures. */
function wrongKeys(rig: DrillRig): string {
  const { privateKey } = generateKeyPairSync("ed25519");
  const order = rig.order();
  const sig = sign(null, Buffer.from("something else"), privateKey).toString("base64");
  const signatures = order.signatures.map(({ keyid }) => ({ keyid, sig }));
  return JSON.stringify({ ...order, signatures });
}

/** When the last path was verified dead, by the sentinel's record, and how long that took. */
function deathOf(rig: DrillRig): { at: number; reaped: number } {
  const { lines } = Journal.open(join(rig.home, "scram/journal.jsonl"));
  const begun = lines.find(({ event }) => event === "scram.activated");
  const [event] = openEvents(lines);
  if (begun === undefined || event === undefined) throw new Error("no stop is recorded");
  const reaped = event.termination_latency_ms ?? Number.POSITIVE_INFINITY;
  return { at: Date.parse(begun.at) + reaped, reaped };
}
