import { generateKeyPairSync, sign, verify } from "node:crypto";
import {
  canonicalBytes,
  canonicalize,
  checkSignature,
  Frontier,
  type JsonValue,
  leafHash,
  nodeHash,
  parseCanonicalJson,
  parsePublicKey,
  parseStrictJson,
  proveInclusionSet,
  sha256Hex,
  splitOf,
  utf8Decode,
  utf8Encode,
  verifyInclusionSet,
} from "@sovereign/core";
import { platform as portable } from "../packages/core/src/platform/portable.ts";
import { type BenchReport, type BenchRow, measure, quantiles, round } from "./report.ts";

const LEAVES = 100_000;

/** The primitives one by one, each beside the platform's bare work on the same bytes. */
export function run(): Promise<BenchReport> {
  const bytes = canonicalBytes(sampleEntry());
  return Promise.resolve({
    title: `Core primitives; the entry has ${bytes.length} bytes, the tree ${LEAVES} leaves`,
    rows: [...jsonRows(bytes), ...signatureRows(), ...treeRows(bytes)],
  });
}

function sampleEntry(): JsonValue {
  return {
    stream: "run_aaaaaaaaaaaaaaaaaaaa",
    sequence: 41,
    timestamp: "2026-01-01T00:00:00.000Z",
    event_type: "execution.completed",
    severity: "INFO",
    tenant_id: "bench",
    run_id: "run_aaaaaaaaaaaaaaaaaaaa",
    data: {
      step_id: "train",
      attempt: 1,
      action_digest: "0".repeat(64),
      outputs: [1, 2, 3].map((at) => ({ name: `part/${at}.json`, sha256: "1".repeat(64), at })),
      usage: { wall_ms: 1234.5, cpu_ms: 998, bytes_out: 4096 },
      note: "§ a sentence with 'quotes', \"double ones\" and a line\nbreak",
      envelopes: { binding: "2".repeat(64), role: "3".repeat(64) },
    },
    previous_hash: "4".repeat(64),
  };
}

function jsonRows(bytes: Uint8Array): BenchRow[] {
  const text = utf8Decode(bytes);
  const value = parseStrictJson(bytes);
  const bareWrite = measure(() => JSON.stringify(value), 30_000);
  const bareRead = measure(() => JSON.parse(text) as unknown, 30_000);
  const frontier = new Frontier();
  return [
    row("JSON.stringify", bareWrite),
    row(
      "canonicalize",
      measure(() => canonicalize(value), 30_000),
      bareWrite,
    ),
    row("JSON.parse", bareRead),
    row(
      "parseCanonicalJson",
      measure(() => parseCanonicalJson(bytes), 30_000),
      bareRead,
    ),
    row(
      "parseStrictJson",
      measure(() => parseStrictJson(bytes), 30_000),
      bareRead,
    ),
    row(
      "a verifier's entry: parse, hash, leaf, frontier",
      measure(() => {
        parseCanonicalJson(bytes);
        sha256Hex(bytes);
        frontier.append(leafHash(bytes));
      }, 30_000),
      bareRead,
    ),
  ];
}

function signatureRows(): BenchRow[] {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const spki = publicKey.export({ format: "der", type: "spki" });
  const key = parsePublicKey(spki);
  const message = utf8Encode("x".repeat(1000));
  const signature = sign(null, message, privateKey);
  const bare = measure(() => verify(null, message, publicKey, signature), 3000);
  const ours = measure(() => checkSignature(key, message, signature), 3000);
  const slow = measure(() => portable.verifyEd25519(key.raw, message, signature), 300);
  return [
    row("node:crypto verify, 1 kB", bare),
    row("checkSignature, 1 kB", ours, bare),
    row("the portable primitive, 1 kB", slow, bare),
    row(
      "parsePublicKey",
      measure(() => parsePublicKey(spki), 1000),
    ),
  ];
}

function treeRows(bytes: Uint8Array): BenchRow[] {
  const bare = measure(() => sha256Hex(bytes), 30_000);
  const leaves = Array.from({ length: LEAVES }, (_, at) => leafHash(utf8Encode(`leaf ${at}`)));
  const rangeRoot = subtreeRoots(leaves);
  const root = rangeRoot(0, LEAVES);
  const sets = [1, 1000, LEAVES].map((count) => {
    const step = LEAVES / count;
    const indices = Array.from({ length: count }, (_, at) => Math.floor(at * step));
    const proof = proveInclusionSet(LEAVES, indices, rangeRoot);
    const placed = indices.map((index) => ({ index, hash: leaves[index]! }));
    const times = measure(
      () => {
        verifyInclusionSet(root, LEAVES, placed, proof);
      },
      count === 1 ? 3000 : 10,
      1,
    );
    return row(`verifyInclusionSet of ${count}, proof of ${proof.length}`, times, undefined, count);
  });
  return [
    row("SHA-256 of the entry", bare),
    row(
      "leafHash of the entry",
      measure(() => leafHash(bytes), 30_000),
      bare,
    ),
    row(
      "nodeHash",
      measure((at) => nodeHash(leaves[at]!, root), 30_000),
      bare,
    ),
    row("Frontier.append", measure(appendTo(new Frontier(), leaves), 30_000), bare),
    ...sets,
  ];
}

function appendTo(frontier: Frontier, leaves: readonly Uint8Array[]): (at: number) => void {
  return (at) => {
    frontier.append(leaves[at]!);
  };
}

/** Roots of subtrees, each computed once. */
function subtreeRoots(leaves: readonly Uint8Array[]): (from: number, to: number) => Uint8Array {
  const known = new Map<string, Uint8Array>();
  const rootOf = (from: number, to: number): Uint8Array => {
    if (to - from === 1) return leaves[from]!;
    const id = `${from}-${to}`;
    const found = known.get(id);
    if (found !== undefined) return found;
    const middle = from + splitOf(to - from);
    const root = nodeHash(rootOf(from, middle), rootOf(middle, to));
    known.set(id, root);
    return root;
  };
  return rootOf;
}

function row(
  name: string,
  samples: readonly number[],
  baseline?: readonly number[],
  items = 1,
): BenchRow {
  const { p50, p99 } = quantiles(samples);
  const mean = samples.reduce((sum, one) => sum + one, 0) / samples.length;
  return {
    name,
    values: {
      "p50 µs": round(p50),
      "p99 µs": round(p99),
      "items/s (mean)": round((1e6 * items) / mean),
      ratio: baseline === undefined ? "" : round(p50 / quantiles(baseline).p50),
    },
  };
}
