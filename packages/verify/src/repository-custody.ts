import {
  base64Decode,
  type Checksums,
  type ComplianceBundle,
  type Dialect,
  type EntryData,
  fields,
  formats,
  GATE_DOCUMENTS,
  type JsonValue,
  parseFormat,
  parseStrictJson,
  type PlacedEntry,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import {
  diffTrees,
  type GitRepository,
  LinkReader,
  type ObjectStore,
  parseGitCommit,
  placesOf,
  type TreeChange,
  verifyPatch,
} from "./git/index.ts";
import { Memo } from "./memo.ts";
import { expectEqual, isLacking, type StepRecorder, wrong } from "./step-recorder.ts";
import { type CustodyRules, dialectOf, verifyTree } from "./tree-custody.ts";

const { gitId, digest } = fields;
const commitOutput = z.looseObject({
  commit: gitId,
  parent: gitId,
  tree: gitId,
  patch_sha256: digest,
});
const bringBackParams = z.looseObject({
  base: gitId,
  patches: z
    .array(
      z.looseObject({
        step_id: z.string().regex(/^step_\d{2,3}$/),
        commit: gitId,
        tree: gitId,
        sha256: digest,
      }),
    )
    .max(1000),
});
const bringBackOutput = z.looseObject({
  base: gitId,
  head: gitId,
  tree: gitId,
  commits: z.array(gitId).max(1000),
});
const rollbackOutput = z.looseObject({ base: gitId, head: gitId, tree: gitId });

/** An action that completed, with what it was asked and what it said. */
interface Done {
  readonly type: string;
  readonly resource: string;
  readonly params: JsonValue;
  readonly output: JsonValue;
}

/** One step as the evidence follows it: from its binding to the branch. */
interface CustodyLink {
  readonly step: string;
  readonly commit: string;
  readonly parent: string;
  readonly parentTree: string | null;
  readonly tree: string;
  readonly patch: string;
  /** Of its commit, as it was authorised. */
  readonly params: JsonValue;
}

/**
 * Walk the chain of custody of an execution, and hold each of its commits against a repository:
 * that the commit is there, on the commit and with the tree that were judged, that the patch
 * whose digest was signed, applied to that parent's files, gives the commit's byte for byte, and
 * that these have the SHA-256 that the checksums name. Where the
 * commit stands now is told, and proves nothing: branches move.
 *
 * @param repository untrusted, as all of the bundle is here
 */
export function verifyRepositoryCustody(
  repository: GitRepository,
  bundle: ComplianceBundle,
  step: StepRecorder,
): void {
  if (!isExecution(bundle)) {
    step.notApplicable("the run is no execution: it made no commits");
    return;
  }
  const completed = completedActions(bundle.entries);
  const back = doneOf(completed, "bring_back", "git.bring_back");
  const undone = doneOf(completed, "rollback", "git.rollback");
  if (back !== undefined) {
    step.check("bring_back", () => {
      verifyBroughtBack(repository, bundle, { back, completed, step });
    });
  } else if (undone !== undefined) {
    step.check("rollback", () => {
      verifyUndone(repository, bundle, undone, step);
    });
  } else if (endedWell(bundle) && !bundle.entries.some(asksCommit)) {
    step.notApplicable("no step of the run changed anything: it made no commits");
  } else {
    step.check("bring_back", () => {
      const text =
        "The evidence says of no commit that it came back: there is nothing to look for.";
      throw new SovereignError("ERR_VERIFY_INCOMPLETE", text);
    });
  }
}

/** A pipeline may have stages of these names: only git's actions are about commits. */
function isExecution({ entries }: ComplianceBundle): boolean {
  return entries.some(({ entry: { event_type: event, data } }) => {
    if (event === "evidence.recorded") return true;
    // The two events whose form has an action: others may have a further field of that name.
    if (event !== "execution.authorized" && event !== "execution.denied") return false;
    return (data as EntryData<typeof event>).action.type.startsWith("git.");
  });
}

/** Whether it says how it ended or not: a commit that was asked for may be somewhere. */
function asksCommit({ entry: { event_type: event, data } }: PlacedEntry): boolean {
  if (event !== "execution.authorized") return false;
  return (data as EntryData<"execution.authorized">).action.type === "git.commit";
}

/** The entry is held against the signed proof of the run, which says the same. */
function endedWell({ entries }: ComplianceBundle): boolean {
  return entries.some(
    ({ entry: { event_type: event, data } }) =>
      event === "run.sealed" && (data as EntryData<"run.sealed">).status === "completed",
  );
}

function doneOf(
  completed: ReadonlyMap<string, Done>,
  step: string,
  type: string,
): Done | undefined {
  const done = completed.get(step);
  return done?.type === type ? done : undefined;
}

/** By step; the last where one was tried again. */
function completedActions(entries: readonly PlacedEntry[]): Map<string, Done> {
  const asked = new Map<string, EntryData<"execution.authorized">>();
  const completed = new Map<string, Done>();
  for (const { entry } of entries) {
    if (entry.event_type === "execution.authorized") {
      const data = entry.data as EntryData<"execution.authorized">;
      asked.set(`${data.context.step_id} ${data.context.attempt}`, data);
    }
    if (entry.event_type !== "execution.completed") continue;
    const { step_id, attempt, output } = entry.data as EntryData<"execution.completed">;
    const action = asked.get(`${step_id} ${attempt}`)?.action;
    if (action === undefined) continue;
    completed.set(step_id, { ...action, output });
  }
  return completed;
}

/** The documents of a run that its steps are held against: each is read once for all of them. */
class Documents {
  readonly dialect: Dialect | null;
  readonly #named: ReadonlyMap<string, ComplianceBundle["artifacts"][number]>;
  readonly #steps = new Memo<ReadonlyMap<string, Checksums["steps"][number]>>();

  constructor({ artifacts, entries }: ComplianceBundle) {
    this.dialect = dialectOf(entries);
    this.#named = new Map([...artifacts].reverse().map((one) => [one.name, one]));
  }

  /** The bytes of an artifact, which the ledger names by their digest. */
  content(name: string): Uint8Array {
    const artifact = this.#named.get(name);
    if (artifact?.content === undefined) {
      const text = `The bundle does not hold the bytes of ${name}: export it --with-artifacts.`;
      throw new SovereignError("ERR_VERIFY_INCOMPLETE", text);
    }
    const bytes = base64Decode(artifact.content);
    expectEqual(sha256Hex(bytes), artifact.sha256, `The digest of the bytes of ${name}`);
    return bytes;
  }

  /** The checksums, by step: of one that stands there twice the first. */
  steps(): ReadonlyMap<string, Checksums["steps"][number]> {
    const name = GATE_DOCUMENTS.checksums;
    return this.#steps.get(name, () => {
      const value = parseStrictJson(this.content(name));
      const { steps } = parseFormat(formats.checksums, value, name, "ERR_VERIFY_INVALID");
      return new Map([...steps].reverse().map((one) => [one.step_id, one]));
    });
  }
}

function verifyBroughtBack(
  repository: GitRepository,
  bundle: ComplianceBundle,
  run: {
    readonly back: Done;
    readonly completed: ReadonlyMap<string, Done>;
    readonly step: StepRecorder;
  },
): void {
  const { back, completed, step } = run;
  const links = linksOf(back, completed);
  const there: CustodyLink[] = [];
  const trees = { objects: repository.objects, reader: new LinkReader(repository.objects) };
  const documents = new Documents(bundle);
  const lacking = new Set<string>();
  for (const link of links) {
    const checked = step.check(link.step, () => {
      try {
        return verifyLink(trees, documents, link);
      } catch (error) {
        if (isLacking(error)) lacking.add(link.step);
        throw error;
      }
    });
    if (checked !== null) there.push(link);
  }
  const places = placesOf(
    repository,
    there.map((one) => one.commit),
    back.resource,
  );
  step.detail("branch", back.resource);
  for (const { step: name, commit } of links) {
    const unshown = lacking.has(name)
      ? "is not compared: bytes that it needs are missing"
      : "is not as the evidence says";
    step.detail(name, `${commit.slice(0, 12)} ${places.get(commit) ?? unshown}`);
  }
}

/** What the entries say of each other. @throws ERR_VERIFY_INVALID where they contradict */
function linksOf(back: Done, completed: ReadonlyMap<string, Done>): CustodyLink[] {
  const invalid = "ERR_VERIFY_INVALID";
  const { base, patches } = parseFormat(bringBackParams, back.params, "bring_back", invalid);
  const output = parseFormat(bringBackOutput, back.output, "bring_back", invalid);
  expectEqual(output.base, base, "Where the commits were brought to");
  expectEqual(output.commits.length, patches.length, "The number of commits that came back");
  expectEqual(
    output.head,
    output.commits.at(-1) ?? base,
    "The commit that the branch was moved to",
  );
  return patches.map((patch, index) => {
    const { step_id: name } = patch;
    const made = completed.get(`${name}.commit`);
    if (made === undefined) throw wrong(`No commit of ${name} completed, and its patch came back.`);
    const found = parseFormat(commitOutput, made.output, `${name}.commit`, invalid);
    expectEqual(
      patch.commit,
      found.commit,
      `The commit of ${name} that was authorised to come back`,
    );
    expectEqual(output.commits[index], found.commit, `The commit of ${name} that came back`);
    expectEqual(patch.tree, found.tree, `The tree of ${name}`);
    expectEqual(patch.sha256, found.patch_sha256, `The patch of ${name}`);
    expectEqual(found.parent, output.commits[index - 1] ?? base, `The parent of ${name}`);
    return {
      step: name,
      commit: found.commit,
      parent: found.parent,
      parentTree: patches[index - 1]?.tree ?? null,
      tree: found.tree,
      patch: patch.sha256,
      params: made.params,
    };
  });
}

function verifyLink(
  trees: { readonly objects: ObjectStore; readonly reader: LinkReader },
  documents: Documents,
  link: CustodyLink,
): true {
  const { objects } = trees;
  const found = parseGitCommit(objects.read(link.commit, "commit"));
  expectEqual(found.tree, link.tree, `The tree of the commit ${link.commit}`);
  expectEqual(found.parents.join(" "), link.parent, `The parents of the commit ${link.commit}`);
  const parent = parseGitCommit(objects.read(link.parent, "commit"));
  if (link.parentTree !== null) expectEqual(parent.tree, link.parentTree, "The parent's tree");
  const patch = documents.content(`patches/${link.step}.patch`);
  expectEqual(sha256Hex(patch), link.patch, `The digest of the patch of ${link.step}`);
  const expected = { commit: link.commit, before: parent.tree, after: link.tree };
  const changes = verifyPatch(objects, patch, expected);
  const { links } = verifyChecksums(objects, documents, link.step, changes);
  const { dialect } = documents;
  if (dialect !== null) {
    const rules = { dialect, links };
    verifyTree(trees, link.tree, [...changes.keys()], link.params, rules);
  }
  return true;
}

/** Git's own ids are SHA-1 in most repositories: each file is held by SHA-256, on both sides. */
function verifyChecksums(
  objects: ObjectStore,
  documents: Documents,
  step: string,
  changes: ReadonlyMap<string, TreeChange>,
): Pick<CustodyRules, "links"> {
  const name = GATE_DOCUMENTS.checksums;
  const said = documents.steps().get(step);
  const files = said?.files ?? [];
  expectEqual(files.length, changes.size, `How many files ${name} has of ${step}`);
  for (const { path, before, after } of files) {
    const change = changes.get(Buffer.from(path, "utf8").toString("latin1"));
    if (change === undefined) throw wrong(`${step} does not change ${path}, which ${name} names.`);
    expectEqual(digestOfBlob(objects, change.before), before, `SHA-256 of ${path} before ${step}`);
    expectEqual(digestOfBlob(objects, change.after), after, `SHA-256 of ${path} after ${step}`);
  }
  return { links: said?.links };
}

function digestOfBlob(objects: ObjectStore, entry: TreeChange["before"]): string | null {
  return entry === null ? null : sha256Hex(objects.read(entry.id, "blob"));
}

/**
 * A rollback made no commits: the one that it went back to is there, with the tree it says, and
 * each file of that tree has the SHA-256 that the proof names.
 */
function verifyUndone(
  repository: GitRepository,
  bundle: ComplianceBundle,
  undone: Done,
  step: StepRecorder,
): void {
  const output = parseFormat(rollbackOutput, undone.output, "rollback", "ERR_VERIFY_INVALID");
  const params = parseFormat(
    z.looseObject({ base: gitId, ref: z.string().nullable() }),
    undone.params,
    "rollback",
    "ERR_VERIFY_INVALID",
  );
  expectEqual(output.base, params.base, "Where the rollback went");
  const { tree } = parseGitCommit(repository.objects.read(output.base, "commit"));
  expectEqual(tree, output.tree, `The tree of the commit ${output.base}`);
  step.detail("files", verifyEveryFile(repository.objects, bundle, tree));
  const branch = params.ref ?? "HEAD";
  const place = placesOf(repository, [output.base], branch).get(output.base) ?? "";
  step.detail("branch", branch);
  step.detail("base", `${output.base.slice(0, 12)} ${place}`);
}

/** By git's bytes: what stands in a work tree now is no evidence. @returns what to tell of it */
function verifyEveryFile(objects: ObjectStore, bundle: ComplianceBundle, tree: string): string {
  const name = GATE_DOCUMENTS.rollbackProof;
  const value = parseStrictJson(new Documents(bundle).content(name));
  const proof = parseFormat(formats.repositoryRollbackProof, value, name, "ERR_VERIFY_INVALID");
  expectEqual(proof.tree, tree, `The tree in ${name}`);
  const files = diffTrees(objects, null, tree);
  const { every_file: every } = proof;
  if (every === null) return `${proof.details.length} that the run had changed, by signature alone`;
  const other = proof.details.filter(({ path, sha256 }) => {
    const entry = files.get(Buffer.from(path, "utf8").toString("latin1"))?.after ?? null;
    return digestOfBlob(objects, entry) !== sha256;
  });
  expectEqual(other.length, every.converted, "How many restored files are not git's bytes");
  const lines = [...files]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([path, { after }]) => {
      if (after === null) return [];
      const digest = after.mode === GITLINK ? after.id : digestOfBlob(objects, after);
      return Buffer.from(`${after.mode} ${digest ?? ""} ${path}\0`, "latin1");
    });
  expectEqual(every.total, lines.length, "How many files the tree has");
  expectEqual(every.sha256, sha256Hex(Buffer.concat(lines)), "SHA-256 over every file of the tree");
  return `${every.total} by SHA-256, ${every.as_base} of them in the work tree`;
}

const GITLINK = "160000";
