import { cutText } from "@sovereign/core";
import type { DiffLines } from "./diff-lines.ts";

const MESSAGE_BYTES_MAX = 7000;

/**
 * The message of a mail that `git format-patch` wrote, up to its diff. Who it says wrote it is not
 * taken: anybody can write that.
 *
 * @throws ERR_REQUEST_INVALID for a mail whose body is encoded
 */
export function readMail(lines: DiffLines): string {
  const place = lines.place();
  lines.next();
  const headers = readHeaders(lines);
  const encoding = headers.get("content-transfer-encoding") ?? "8bit";
  if (!/^(?:7bit|8bit|binary)$/i.test(encoding)) {
    throw lines.refused(`its body is ${encoding}: save it as git format-patch wrote it`, place);
  }
  const body: string[] = [];
  for (let line = lines.peek(); line !== null && !BODY_ENDS.test(line); line = lines.peek()) {
    body.push(line);
    lines.next();
  }
  const subject = decoded(headers.get("subject") ?? "").replace(/^(?:\[[^\]]*\]\s*)+/, "");
  const text = Buffer.from(body.join("\n"), "latin1").toString("utf8");
  return cutText(`${subject}\n\n${text.trim()}`.trim(), MESSAGE_BYTES_MAX);
}

const BODY_ENDS = /^(?:---$|--- |diff -|From [0-9a-f]{40,64} )/;

/** By their names in small letters. A line that begins with a space goes on with the one before. */
function readHeaders(lines: DiffLines): Map<string, string> {
  const headers = new Map<string, string>();
  let last = "";
  for (let line = lines.next(); line !== null && line.trim() !== ""; line = lines.next()) {
    const [head, name] = /^([A-Za-z-]+):/.exec(line) ?? [""];
    if (name !== undefined) {
      last = name.toLowerCase();
      headers.set(last, line.slice(head.length).trim());
    } else headers.set(last, `${headers.get(last) ?? ""} ${line.trim()}`);
  }
  return headers;
}

/** `=?UTF-8?q?…?=` as text. */
function decoded(value: string): string {
  const joined = value.replaceAll(/\?=\s+=\?/g, "?==?");
  const text = joined.replaceAll(
    /=\?utf-8\?([qb])\?([^?]*)\?=/gi,
    (_, kind: string, content: string) =>
      kind.toLowerCase() === "b"
        ? Buffer.from(content, "base64").toString("latin1")
        : content
            .replaceAll("_", " ")
            .replaceAll(/=([0-9A-F]{2})/gi, (__, hex: string) =>
              String.fromCharCode(Number.parseInt(hex, 16)),
            ),
  );
  return Buffer.from(text, "latin1").toString("utf8");
}
