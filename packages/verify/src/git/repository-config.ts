import { readGitText } from "./git-file.ts";
import { unreadable } from "./git-problem.ts";
import type { ObjectFormat } from "./object-id.ts";

const BYTES_MAX = 1024 * 1024;

/** Extensions that change nothing of what is read here. */
const HARMLESS = new Set([
  "noop",
  "noop-v1",
  "preciousobjects",
  "partialclone",
  "worktreeconfig",
  "relativeworktrees",
]);

/**
 * The names of a repository's objects, from its configuration. Nothing else of it is obeyed, and
 * what it includes is not read: git takes extensions from this file alone, too.
 *
 * @throws ERR_REPOSITORY_UNREADABLE for a version or an extension that we do not know
 */
export function readObjectFormat(file: string, where: string): ObjectFormat {
  const settings = parseConfig(readGitText(file, BYTES_MAX) ?? "");
  const version = settings.get("core.repositoryformatversion") ?? "0";
  if (version === "0") return "sha1";
  if (version !== "1") throw unreadable(where, "its format is of a version that is not known");
  for (const [name, value] of settings) {
    const extension = /^extensions\.(.+)$/.exec(name)?.[1];
    if (extension === undefined || isKnown(extension, value)) continue;
    const hint = extension === "refstorage" ? ": try git refs migrate --ref-format=files" : "";
    throw unreadable(where, `it uses the extension ${extension}, which is not read here${hint}`);
  }
  return settings.get("extensions.objectformat") === "sha256" ? "sha256" : "sha1";
}

function isKnown(extension: string, value: string): boolean {
  if (extension === "objectformat") return value === "sha1" || value === "sha256";
  return HARMLESS.has(extension) || (extension === "refstorage" && value === "files");
}

/** Names in lower case with their last value; values as they stand, without quotes and comments. */
function parseConfig(text: string): Map<string, string> {
  const settings = new Map<string, string>();
  let section = "";
  for (const line of text.split(/\r?\n/)) {
    const [header, name] = HEADER.exec(line) ?? [""];
    if (name !== undefined) section = name.toLowerCase();
    const setting = line.slice(header.length);
    const equals = setting.indexOf("=");
    const key = (equals < 0 ? setting : setting.slice(0, equals)).trim();
    if (!/^[A-Za-z][\w-]*$/.test(key)) continue;
    const value = equals < 0 ? "true" : withoutComment(setting.slice(equals + 1));
    settings.set(`${section}.${key.toLowerCase()}`, value.trim().replaceAll('"', ""));
  }
  return settings;
}

const HEADER = /^\s*\[\s*([\w.-]+)(?:\s+"[^"]*")?\s*\]/;

function withoutComment(value: string): string {
  const end = value.search(/[#;]/);
  return end < 0 ? value : value.slice(0, end);
}
