import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import {
  canonicalBytes,
  canonicalize,
  createStatement,
  digestOf,
  judgeRelease,
  parsePublicKey,
  parseStrictJson,
  predicateType,
  type Signer,
  signEnvelope,
  STATEMENT_PAYLOAD_TYPE,
} from "@sovereign/core";
import { readReleaseSources } from "@sovereign/verify";
import { systemClock, timestampOf } from "../packages/runtime/src/system/index.ts";

/**
 * `npm run release-receipt -- [--key FILE] [--out FILE]`: judge our sources by the gates that are
 * about them, and write the receipt that goes with a release. `--key` is the releaser's Ed25519 key
 * in PEM (`openssl genpkey -algorithm ed25519`); without one the receipt is written unsigned.
 *
 * Exit code 4 where a gate fails; the receipt says so, too.
 */
const root = resolve(import.meta.dirname, "..");
const { values } = parseArgs({
  options: { key: { type: "string" }, out: { type: "string", default: "" } },
});
const out = values.out === "" ? join(root, "dist/release-receipt.json") : resolve(values.out);
const { version } = parseStrictJson(readFileSync(join(root, "package.json"))) as {
  version: string;
};
const judged = judgeRelease(readReleaseSources(root));
const receipt = {
  release: version,
  commit: commitOf(),
  ...judged,
  evaluated_at: timestampOf(systemClock),
};
const kind = predicateType("release-receipt");
const subject = [{ name: `sovereign@${version}`, digest: { sha256: digestOf(judged.inputs) } }];
const statement = createStatement(subject, kind, receipt);
const signer = values.key === undefined ? null : signerOf(values.key);
const signed =
  signer === null
    ? statement
    : signEnvelope(STATEMENT_PAYLOAD_TYPE, canonicalBytes(statement), [signer]);
mkdirSync(dirname(out), { recursive: true });
writeFileSync(out, `${canonicalize(signed)}\n`);
for (const { gate, verdict, message } of judged.results)
  console.log(`${gate} ${verdict}: ${message}`);
console.log(
  `${judged.status}, ${signer === null ? "UNSIGNED: no --key was given" : `signed by ${signer.publicKey.keyId}`}: ${out}`,
);
process.exitCode = judged.status === "PASS" ? 0 : 4;

/** Null where what is judged is not what is committed. */
function commitOf(): string | null {
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();
  try {
    return git("status", "--porcelain", "--", "packages") === "" ? git("rev-parse", "HEAD") : null;
  } catch {
    return null;
  }
}

function signerOf(path: string): Signer {
  const key = createPrivateKey(readFileSync(path));
  const spki = createPublicKey(key).export({ type: "spki", format: "der" });
  return { publicKey: parsePublicKey(spki), sign: (message) => sign(null, message, key) };
}
