import { type ErrorCode, SovereignError } from "@sovereign/core";
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  type Node,
  parseDocument,
  visit,
  type YAMLMap,
} from "yaml";

const NODES_MAX = 20_000;
const DEPTH_MAX = 32;

/** How large a file may be, and the codes of what is wrong with it. */
export interface YamlDoor {
  readonly bytesMax: number;
  readonly tooLarge: ErrorCode;
  readonly syntax: ErrorCode;
}

/** A YAML file as plain data, and where each part of it stands. */
export interface YamlFile {
  readonly value: unknown;
  /** `file:line:column` of the value at a path, or of the nearest part that holds it. */
  readonly placeOf: (path: readonly PropertyKey[]) => string;
}

/**
 * The one way in which YAML is read: one YAML 1.2 document of plain maps, lists and
 * scalars. What makes YAML dangerous or ambiguous is refused: directives, aliases, anchors, tags,
 * merge keys, repeated keys, numbers that lose digits, and too much of anything.
 *
 * @param bytes untrusted
 * @param path for messages only
 * @throws the door's codes
 */
export function readPlainYaml(bytes: Uint8Array, path: string, door: YamlDoor): YamlFile {
  if (bytes.length > door.bytesMax) {
    const text = `${path}: expected at most ${door.bytesMax} bytes, found ${bytes.length}`;
    throw new SovereignError(door.tooLarge, text, { bytes: bytes.length });
  }
  try {
    return readDocument(bytes, path);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const { place, found } = error;
    throw new SovereignError(door.syntax, `${place}: ${found}`, { place });
  }
}

/** What is refused, and where. */
class Refusal extends Error {
  readonly place: string;
  readonly found: string;

  constructor(place: string, found: string) {
    super(found);
    this.place = place;
    this.found = found;
  }
}

function readDocument(bytes: Uint8Array, path: string): YamlFile {
  const lines = new LineCounter();
  const placeAt = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
  const text = decode(bytes, path);
  refuseControls(text, path);
  const document = parse(text, lines);
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) {
    const [found = "not YAML"] = problem.message.split("\n");
    // The parser recurses, and says so where it could not go on.
    const isDeep = found.startsWith("Maximum call stack");
    const text = isDeep ? `expected at most ${DEPTH_MAX} levels` : found;
    throw new Refusal(placeAt(problem.pos[0]), text);
  }
  if (document.directives.yaml.explicit === true) {
    throw new Refusal(placeAt(0), "directives are refused: the file is YAML 1.2");
  }
  refuseTricks(document, placeAt);
  return {
    value: document.toJS() as unknown,
    placeOf: (at) => placeAt(offsetOf(document, at)),
  };
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Refusal(path, "expected UTF-8, found other bytes");
  }
}

/** YAML 1.2 §5.1 allows none of these, and the parser reads them all the same. */
function refuseControls(text: string, path: string): void {
  const at = text.search(CONTROL);
  if (at < 0) return;
  const before = text.slice(0, at).split("\n");
  const place = `${path}:${before.length}:${(before.at(-1) ?? "").length + 1}`;
  const code = text.charCodeAt(at).toString(16).padStart(4, "0");
  throw new Refusal(place, `the control character U+${code} is refused`);
}

const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/;

/**
 * Options without surprises: `yes` is text and nothing is merged. Repeated keys are refused by us
 * afterwards: the parser's own check compares every key with every other.
 */
function parse(text: string, lineCounter: LineCounter): Document.Parsed {
  return parseDocument(text, {
    lineCounter,
    version: "1.2",
    schema: "core",
    strict: true,
    uniqueKeys: false,
    merge: false,
    prettyErrors: false,
  });
}

function refuseTricks(document: Document.Parsed, placeAt: (offset: number) => string): void {
  let nodes = 0;
  visit(document, (_key, item, parents) => {
    if (!isNode(item)) return;
    const place = placeAt(item.range?.[0] ?? 0);
    nodes += 1;
    if (nodes > NODES_MAX) throw new Refusal(place, `expected at most ${NODES_MAX} values`);
    if (parents.filter((parent) => isCollection(parent)).length > DEPTH_MAX) {
      throw new Refusal(place, `expected at most ${DEPTH_MAX} levels`);
    }
    const trick = trickOf(item);
    if (trick !== null) throw new Refusal(place, trick);
    if (isMap(item)) refuseKeys(item, placeAt);
  });
}

function refuseKeys(map: YAMLMap, placeAt: (offset: number) => string): void {
  const seen = new Set<string>();
  for (const { key } of map.items) {
    const place = placeAt(startOf(key) ?? startOf(map) ?? 0);
    if (!isScalar(key) || typeof key.value !== "string") {
      throw new Refusal(place, "expected a name as a key");
    }
    if (key.value === "__proto__" || key.value === "<<") {
      throw new Refusal(place, `the key ${key.value} is refused`);
    }
    if (seen.has(key.value)) throw new Refusal(place, `the key ${key.value} stands twice`);
    seen.add(key.value);
  }
}

function trickOf(item: Node): string | null {
  if (isAlias(item)) return "aliases are refused: write the value out";
  if (item.tag !== undefined) return "tags are refused: write a plain value";
  if ((isScalar(item) || isCollection(item)) && item.anchor !== undefined) {
    return "anchors are refused: write the value out";
  }
  return isScalar(item) ? oddityOf(item.value) : null;
}

/** What makes a scalar unfit for canonical JSON. */
function oddityOf(value: unknown): string | null {
  if (typeof value === "string" && !value.isWellFormed()) return "the text has a lone surrogate";
  if (typeof value !== "number") return null;
  if (!Number.isFinite(value)) return "expected a finite number";
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) return "the number loses digits";
  return null;
}

/** The offset of a path: of the key where there is one; a missing part is placed at its parent. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  let at: unknown = document.contents;
  let offset = startOf(at) ?? 0;
  for (const step of path) {
    if (isMap(at)) {
      const pair = at.items.find((item) => isScalar(item.key) && item.key.value === step);
      offset = startOf(pair?.key) ?? offset;
      at = pair?.value;
    } else {
      at = isCollection(at) ? at.get(step, true) : undefined;
      offset = startOf(at) ?? offset;
    }
  }
  return offset;
}

function startOf(item: unknown): number | undefined {
  return isNode(item) ? item.range?.[0] : undefined;
}
