import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import {
  isSovereignError,
  type Mode,
  SovereignError,
  type VerificationReport,
} from "@sovereign/core";
import { AuditPool } from "./audit-pool.ts";
import { BUNDLE_BYTES_MAX } from "./bundle-file.ts";
import { EnvelopePool } from "./envelope-pool.ts";
import { printable } from "./printable.ts";
import { progressOn } from "./progress.ts";
import { parsePublicKeyPem, readReleaseSources, verifyReleaseReceipt } from "./release-receipt.ts";
import { chunksOf, readNamed } from "./read-named.ts";
import { isShortage } from "./step-recorder.ts";
import { STEP_TITLES } from "./step-titles.ts";
import { type AuditOptions, type AuditReport, verifyAudit } from "./verify-audit.ts";
import { openGitRepository } from "./git/index.ts";
import { verifyRepositoryCustody } from "./repository-custody.ts";
import { parseTrustRoot, TRUST_ROOT_BYTES_MAX } from "./trust-root.ts";
import { VERIFIER, type VerifyOptions, verifyBundleOn } from "./verify-bundle.ts";

const HELP = `sovereign-verify: verify evidence offline, without trusting who made it

  sovereign-verify [--bundle] BUNDLE --trust trust-root.json [--repo DIR] [--source FILE] [--output FILE]
  sovereign-verify audit immutable_audit.jsonl [--checkpoint NOTE --trust trust-root.json]
  sovereign-verify release RECEIPT --sources DIR [--key releaser.pub]

  --bundle FILE      a compliance bundle, .json or .zip
  --trust FILE       the trust root, received by another way than the bundle
  --level LEVEL      what must be proved: sovereign (default) or compatible
  --source FILE      the statement about the commit that lies beside the bundle
  --repo DIR         hold an execution's commits against this git repository, too
                     (the bundle must hold its artifacts' bytes)
  --sources DIR      the release's repository, checked out
  --key FILE         the releaser's public key, PEM, received by another way
  --output FILE      write the whole report as JSON
  --json             print the report as JSON
  --quiet            print the verdict alone
  --help, --version

Verdicts: VALID (the record is whole, by keys that the trust root knows: also the record of
a run that failed); UNTRUSTED_KEY (consistent, but not by such keys); INCOMPLETE (something is
missing); INVALID (something contradicts). An audit file without a checkpoint is at best
CONSISTENT: nothing says who wrote it, or that its end was not cut off.
Exit codes: 0 VALID, 4 any other verdict, 2 usage or input that is no evidence.
`;

/**
 * The command line of the verifier.
 * @param argv without node and script
 * @returns the process exit code
 */
export async function main(argv: readonly string[]): Promise<number> {
  let json = false;
  try {
    const { values, positionals, tokens } = parseArgs({
      args: [...argv],
      tokens: true,
      allowPositionals: true,
      options: {
        bundle: { type: "string" },
        trust: { type: "string" },
        repo: { type: "string" },
        source: { type: "string" },
        level: { type: "string", default: "sovereign" },
        checkpoint: { type: "string" },
        sources: { type: "string" },
        key: { type: "string" },
        output: { type: "string" },
        json: { type: "boolean", default: false },
        quiet: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
        version: { type: "boolean", default: false },
      },
    });
    json = values.json;
    refuseRepeated(tokens);
    if (values.help) return print(HELP);
    if (values.version) return print(`${VERIFIER.version}\n`);
    return await commandOf(positionals, values, tokens);
  } catch (error) {
    return reportProblem(error, json);
  }
}

/** Of two trust roots the last one would win without a word. */
function refuseRepeated(tokens: Tokens): void {
  const seen = new Set<string>();
  for (const { kind, name } of tokens) {
    if (kind !== "option" || name === undefined || name === "json") continue;
    if (seen.has(name)) throw usage(`--${name} is given twice; expected it once`);
    seen.add(name);
  }
}

function commandOf(
  words: readonly string[],
  values: Flags & { bundle?: string | undefined },
  tokens: Tokens,
): number | Promise<number> {
  const [word] = words;
  const command = word === "audit" || word === "release" ? word : "bundle";
  refuseForeign(command, tokens);
  const files = command === "bundle" ? [...words] : words.slice(1);
  if (command === "bundle" && values.bundle !== undefined) files.unshift(values.bundle);
  if (files.length > 1) throw usage(`expected one file, found also ${files[1] ?? ""}`);
  if (command === "audit") return auditCommand(files[0], values);
  if (command === "release") return releaseCommand(files[0], values);
  return bundleCommand(files[0], values);
}

type Tokens = readonly { kind: string; name?: string }[];

const OPTIONS = {
  bundle: ["bundle", "trust", "repo", "source", "level", "output", "json", "quiet"],
  audit: ["checkpoint", "trust", "output", "json", "quiet"],
  release: ["sources", "key", "json", "quiet"],
};

/** An option that the command does not look at would be taken for one that was checked. */
function refuseForeign(command: keyof typeof OPTIONS, tokens: Tokens): void {
  for (const { kind, name } of tokens) {
    if (kind !== "option" || name === undefined || OPTIONS[command].includes(name)) continue;
    const others = OPTIONS[command].map((one) => `--${one}`).join(", ");
    throw usage(`--${name} is no option for a file of the kind ${command}; expected ${others}`);
  }
}

interface Flags {
  trust?: string | undefined;
  repo?: string | undefined;
  source?: string | undefined;
  level: string;
  checkpoint?: string | undefined;
  sources?: string | undefined;
  key?: string | undefined;
  output?: string | undefined;
  json: boolean;
  quiet: boolean;
}

async function bundleCommand(file: string | undefined, flags: Flags): Promise<number> {
  if (file === undefined) throw usage("expected a bundle: sovereign-verify --bundle FILE");
  if (flags.level !== "sovereign" && flags.level !== "compatible") {
    throw usage(`--level ${flags.level}: expected sovereign or compatible`);
  }
  const trustRoot = flags.trust === undefined ? null : readNamed(flags.trust, TRUST_ROOT_BYTES_MAX);
  const level: Mode = flags.level;
  const custody = flags.repo === undefined ? {} : { custody: custodyIn(flags.repo) };
  const source = flags.source === undefined ? {} : { source: readNamed(flags.source) };
  const bytes = readNamed(file, BUNDLE_BYTES_MAX);
  const pool = new EnvelopePool();
  const report = await verifyBundleOn(pool, bytes, { trustRoot, level, ...custody, ...source });
  if (flags.output !== undefined) save(flags.output, report);
  if (flags.json) print(`${JSON.stringify(report)}\n`);
  else if (flags.quiet) print(`${report.verdict}\n`);
  else print(renderReport(file, report));
  return report.verdict === "VALID" ? 0 : 4;
}

/** @throws ERR_REPOSITORY_UNREADABLE before anything is verified */
function custodyIn(folder: string): NonNullable<VerifyOptions["custody"]> {
  const repository = openGitRepository(folder);
  return (bundle, step) => {
    try {
      verifyRepositoryCustody(repository, bundle, step);
    } finally {
      repository.objects.close();
    }
  };
}

function releaseCommand(file: string | undefined, flags: Flags): number {
  if (file === undefined || flags.sources === undefined) {
    throw usage("expected a receipt and sources: sovereign-verify release FILE --sources DIR");
  }
  const key =
    flags.key === undefined ? null : parsePublicKeyPem(readNamed(flags.key).toString("utf8"));
  const sources = readReleaseSources(flags.sources);
  const report = verifyReleaseReceipt(readNamed(file), sources, key);
  if (flags.json) print(`${JSON.stringify(report)}\n`);
  else if (flags.quiet) print(`${report.verdict}\n`);
  else {
    const { release, commit, status, problems, verdict } = report;
    print(`release ${printable(release)} of ${commit ?? "no commit"}: ${report.sources} sources\n`);
    print(`gates: ${status}\n`);
    for (const problem of problems) print(`- ${printable(problem)}\n`);
    print(`Verdict: ${verdict}\n`);
  }
  return report.verdict === "VALID" && report.status === "PASS" ? 0 : 4;
}

async function auditCommand(file: string | undefined, flags: Flags): Promise<number> {
  if (file === undefined) throw usage("expected a file: sovereign-verify audit FILE");
  if ((flags.checkpoint === undefined) !== (flags.trust === undefined)) {
    throw usage("--checkpoint and --trust belong together");
  }
  const checkpoint =
    flags.checkpoint === undefined || flags.trust === undefined
      ? null
      : {
          note: readNamed(flags.checkpoint).toString("utf8"),
          trust: parseTrustRoot(readNamed(flags.trust, TRUST_ROOT_BYTES_MAX)),
        };
  const report = await auditOf(file, checkpoint, flags);
  if (flags.output !== undefined) save(flags.output, report);
  if (flags.json) print(`${JSON.stringify(report)}\n`);
  else if (flags.quiet) print(`${report.verdict}\n`);
  else {
    print(`${report.verdict}: ${report.entries} entries in ${report.streams} streams\n`);
    const failure = report.first_failure;
    if (failure !== null) print(`  ${placeOf(failure)}\n`);
    if (report.root !== null) print(`  root: ${report.root}\n`);
    for (const part of report.not_checked) print(`  not checked: ${part}\n`);
  }
  return report.verdict === "VALID" ? 0 : 4;
}

/** On all cores; the report is the same as with one. */
async function auditOf(
  file: string,
  checkpoint: AuditOptions["checkpoint"],
  { json, quiet }: Flags,
): Promise<AuditReport> {
  const lines = new AuditPool();
  const progress = progressOn(process.stderr, !json && !quiet);
  try {
    return await verifyAudit(chunksOf(file), { checkpoint, lines, progress: progress.tell });
  } finally {
    progress.end();
    await lines.close();
  }
}

function renderReport(file: string, report: VerificationReport): string {
  const line = "=".repeat(72);
  const steps = report.steps.flatMap((step, index) => {
    const details = Object.entries(step.details).map(
      ([name, value]) => `${name} ${printable(String(value))}`,
    );
    const failure = step.first_failure;
    // A commit a line: one reads where each of them stands.
    const apart = step.name === "repository_custody" ? details.map((one) => `   ${one}`) : null;
    const beside = details.length > 0 && apart === null ? ` (${details.join(", ")})` : "";
    return [
      `${index + 1}. ${STEP_TITLES[step.name]}: ${step.status}`,
      `   checked ${step.passed} / ${step.checked}${beside}`,
      ...(apart ?? []),
      ...(failure === null ? [] : [`   at ${placeOf(failure)}`]),
    ];
  });
  const authorities = report.authorities.map(({ key_id, purpose, role, signatures, verified }) => {
    const who = printable(role === null ? purpose : `${purpose} ${role}`);
    return `   ${who}: ${verified} / ${signatures} verified, key ${key_id.slice(0, 16)}`;
  });
  const { run_id, run_status, tenant_id } = report.subject;
  return [
    line,
    "SOVEREIGN VERIFICATION",
    line,
    `Bundle: ${printable(file)}`,
    `Run: ${run_id ?? ""} (${printable(run_status ?? "not ended")}), tenant ${tenant_id ?? ""}, level ${report.level ?? ""}`,
    "",
    ...steps,
    "",
    "Authorities:",
    ...authorities,
    "",
    `Attestation ID: ${report.attestation_id}`,
    line,
    `Verdict: ${report.verdict}`,
    ...meaningOf(report),
    line,
    "",
  ].join("\n");
}

/** A verdict is about the record, and people take it for one about the work. */
function meaningOf({ verdict, subject }: VerificationReport): string[] {
  if (verdict !== "VALID" || subject.run_status === "completed") return [];
  return [
    `The run did not succeed (${printable(subject.run_status ?? "not ended")}). VALID says that the`,
    "record of that is whole and signed, and not that the work was done.",
  ];
}

function placeOf(failure: { place: string; code: string; message: string }): string {
  return `${printable(failure.place)}: ${printable(failure.message)} (${failure.code})`;
}

function save(file: string, report: VerificationReport | AuditReport): void {
  try {
    writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unknown";
    throw usage(`--output ${file}: expected a file that can be written: ${why}`);
  }
}

function usage(expected: string): SovereignError {
  return new SovereignError("ERR_USAGE", `${expected} (see --help)`);
}

function reportProblem(error: unknown, json: boolean): number {
  const ours = isSovereignError(error);
  const isUsage = error instanceof TypeError && "code" in error;
  const short = isShortage(error);
  if (!ours && !isUsage && !short) throw error;
  const code = ours ? error.code : isUsage ? "ERR_USAGE" : "ERR_VERIFY_RESOURCES";
  const exit = code === "ERR_VERIFY_RESOURCES" ? 1 : 2;
  const { message } = error as Error;
  if (json) print(`${JSON.stringify({ error: { code, message, exit } })}\n`);
  else process.stderr.write(`sovereign-verify: ${printable(message)} (${code})\n`);
  return exit;
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}
