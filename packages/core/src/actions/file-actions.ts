import { z } from "zod";
import { base64Decode, utf8Encode } from "../bytes/index.ts";
import { sha256Hex } from "../digest/index.ts";
import { canonicalBytes } from "../json/index.ts";
import { SovereignError } from "../errors/index.ts";
import { fields, type JsonObject } from "../formats/index.ts";
import { type ActionDeclaration, type PlannedAction, requestForm } from "./declaration.ts";

/** Each operation on the run's tree names the tree that it starts from. */
const before = { before: fields.gitId };
/** Contents go by digest: the action names exactly these bytes, and stays small. */
const pinned = { sha256: fields.digest, bytes: fields.count };

/** What an operation's outcome says: the tree before it is in its action. */
export const treeOutput = z.looseObject({
  tree: fields.gitId,
  files_changed: fields.count,
  /** Of the files that it changed, those that tools on other machines run; absent for none. */
  ci_files: z.array(z.string()).optional(),
});

const path = z.string().min(1).max(1024);
const contentAsked = z.strictObject({
  path,
  content: z.string(),
  encoding: z.enum(["utf8", "base64"]).default("utf8"),
  executable: z.boolean().default(false),
});
const patchAsked = z.strictObject({
  path,
  patch: z.string(),
  encoding: z.enum(["utf8", "base64"]).default("utf8"),
});
/** What `edit_file` replaces, one after the other. */
export const editList = z
  .array(
    z.strictObject({
      /** As it stands in the file, with its line ends. */
      search: z.string().min(1),
      replace: z.string(),
      /** How often it stands there. */
      count: z.int().min(1).max(10_000).default(1),
    }),
  )
  .min(1)
  .max(200);
const editAsked = z.strictObject({ path, edits: editList });
const renameAsked = z.strictObject({ path, from: path });
const pathAsked = z.strictObject({ path });

const common = { output: treeOutput, repeats: "again" } as const;
const writeParams = z.strictObject({ ...before, ...pinned, executable: z.boolean() });
const bareParams = z.strictObject(before);

export const FILE_ACTIONS = {
  "file.write": {
    ...common,
    text: "Write a file, whether it is there or not.",
    params: writeParams,
    policy: { matches: "path", words: ["write_file"] },
    request: requestForm(["write_file", "file_write"], contentAsked, planContent),
  },
  "file.update": {
    ...common,
    text: "Write a file that is there.",
    params: writeParams,
    policy: { matches: "path", words: ["update_file"] },
    request: requestForm(["update_file", "file_update"], contentAsked, planContent),
  },
  "file.patch": {
    ...common,
    text: "Apply a patch to one file.",
    params: z.strictObject({ ...before, ...pinned }),
    policy: { matches: "path", words: ["patch_file"] },
    request: requestForm(["patch_file", "file_patch"], patchAsked, (asked, _word, where) => {
      const content = decode(asked.patch, asked.encoding, where);
      return { resource: asked.path, params: pin(content), content };
    }),
  },
  "file.edit": {
    ...common,
    text: "Replace text in a file, where it stands as often as is said.",
    params: z.strictObject({ ...before, ...pinned }),
    policy: { matches: "path", words: ["edit_file"] },
    request: requestForm(["edit_file", "file_edit"], editAsked, (asked) => {
      const content = canonicalBytes(asked.edits);
      return { resource: asked.path, params: pin(content), content };
    }),
  },
  "file.rename": {
    ...common,
    text: "Move a file to a path where nothing is.",
    params: z.strictObject({ ...before, from: path }),
    policy: { matches: "path", morePaths: ["from"], words: ["rename_file"] },
    request: requestForm(["rename_file", "file_rename"], renameAsked, (asked) => ({
      resource: asked.path,
      params: { from: asked.from },
      content: null,
    })),
  },
  "file.delete": {
    ...common,
    text: "Delete a file that is there.",
    params: bareParams,
    policy: { matches: "path", words: ["delete_file"] },
    request: requestForm(["delete_file", "file_delete"], pathAsked, planPath),
  },
  "file.mkdir": {
    ...common,
    text: "Make a folder.",
    params: bareParams,
    policy: { matches: "path", words: ["mkdir"] },
    request: requestForm(["mkdir"], pathAsked, planPath),
  },
} as const satisfies Readonly<Record<string, ActionDeclaration>>;

function planPath(asked: z.infer<typeof pathAsked>): PlannedAction {
  return { resource: asked.path, params: {}, content: null };
}

function planContent(
  asked: z.infer<typeof contentAsked>,
  _word: string,
  where: string,
): PlannedAction {
  const content = decode(asked.content, asked.encoding, where);
  const params: JsonObject = { ...pin(content), executable: asked.executable };
  return { resource: asked.path, params, content };
}

function decode(content: string, encoding: "utf8" | "base64", where: string): Uint8Array {
  try {
    return encoding === "utf8" ? utf8Encode(content) : base64Decode(content);
  } catch (cause) {
    const text = `${where}: at content: expected ${encoding}`;
    throw new SovereignError("ERR_REQUEST_INVALID", text, {}, cause);
  }
}

function pin(bytes: Uint8Array): JsonObject {
  return { sha256: sha256Hex(bytes), bytes: bytes.length };
}
