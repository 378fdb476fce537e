import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkSignature, type Signer } from "@sovereign/core";
import { openInstallation } from "../packages/runtime/src/installation/index.ts";
import { enrolLanes, type Note, openLane } from "./governed-lane.ts";
import { type BenchReport, type BenchRow, measure, quantiles, round } from "./report.ts";

const COUNT = 3000;
/** About what a policy binding of the lane's action has. */
const MESSAGE_BYTES = 1000;
const ORDER = ["issue", "preflight", "policy", "authority", "intent", "effect", "outcome", "whole"];

/** The whole governed path without an effect: issue, check, intent, outcome; on a real store. */
export async function run(): Promise<BenchReport> {
  const folder = mkdtempSync(join(tmpdir(), "sov-bench-"));
  const installation = await openInstallation({
    home: folder,
    databaseUrl: null,
    passphrase: null,
  });
  try {
    await enrolLanes(installation);
    const limit = await signatures(installation);
    const rows = [
      limit.row,
      ...(await bench(installation, 1, limit.rate)),
      ...(await bench(installation, 32, limit.rate)),
    ];
    return { title: "The governed path without the effect, microseconds", rows };
  } finally {
    await installation.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Opened = Awaited<ReturnType<typeof openInstallation>>;

/**
 * What the signatures of an action alone allow, on one thread as the path has it: the role's and the
 * binding's are each made once and checked once.
 */
async function signatures(installation: Opened): Promise<{ row: BenchRow; rate: number }> {
  const { keystore, keyLog } = installation;
  const windows = keyLog.current().windows;
  const [role, binding] = await Promise.all(
    (["role", "binding"] as const).map((purpose) => {
      const key = windows.find(({ record }) => record.purpose === purpose)?.record.key_id ?? "";
      return keystore.signer(key);
    }),
  );
  const message = new Uint8Array(MESSAGE_BYTES);
  const both = (at: number): void => {
    message[at % MESSAGE_BYTES] = at & 0xff;
    for (const signer of [role, binding] as Signer[]) {
      if (!checkSignature(signer.publicKey, message, signer.sign(message))) throw new Error("bad");
    }
  };
  const samples = measure(both, COUNT);
  const rate = COUNT / (samples.reduce((sum, one) => sum + one, 0) / 1e6);
  const { p50, p99 } = quantiles(samples);
  const values = { p50: round(p50), p99: round(p99), "actions/s": round(rate) };
  return { row: { name: "two signatures made and checked, nothing else", values }, rate };
}

async function bench(installation: Opened, inFlight: number, limit: number): Promise<BenchRow[]> {
  const stages = new Map<string, number[]>();
  const note: Note = (stage, ms) => {
    const samples = stages.get(stage);
    if (samples === undefined) stages.set(stage, [ms * 1000]);
    else samples.push(ms * 1000);
  };
  const start = performance.now();
  const lane = async (): Promise<void> => {
    const step = await openLane(installation, note);
    for (let index = 0; index < COUNT / inFlight; index++) await step();
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  const seconds = (performance.now() - start) / 1000;
  return ORDER.map((stage) => {
    const { p50, p99 } = quantiles(stages.get(stage) ?? []);
    const reached = COUNT / seconds;
    const rate =
      stage === "whole"
        ? { "actions/s": round(reached), "of the limit": round(reached / limit) }
        : {};
    return {
      name: `${inFlight} in flight: ${stage}`,
      values: { p50: round(p50), p99: round(p99), ...rate },
    };
  });
}
