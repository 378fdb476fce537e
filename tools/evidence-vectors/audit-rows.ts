import {
  canonicalBytes,
  canonicalize,
  Frontier,
  GENESIS_HASH,
  leafHash,
  type PlacedEntry,
  type Signer,
  sha256Hex,
  signCheckpoint,
} from "@sovereign/core";

/** What a row starts from: a whole log with its head, and the keys that somebody stole. */
export interface AuditBase {
  readonly entries: readonly PlacedEntry[];
  readonly origin: string;
  readonly checkpoint: string;
  readonly installationCheckpoint: string;
  readonly checkpointKey: Signer;
  /** A key that no trust root knows as one that signs heads. */
  readonly otherKey: Signer;
}

interface AuditRow {
  readonly name: string;
  readonly held: "genuine" | "nothing" | "checkpoint and seal" | "all keys";
  readonly verdict: string;
  /** The trust root in place of the installation's own; null where no head is given. */
  readonly trust?: "distrusted" | "other" | null;
  readonly make: (base: AuditBase) => { readonly file: Uint8Array; readonly checkpoint: string };
}

const lineOf = (placed: PlacedEntry): string => canonicalize(placed);
const textOf = (lines: readonly string[]): Uint8Array => Buffer.from(`${lines.join("\n")}\n`);

/** Entries changed as objects, written as they are. */
const entries =
  (change: (entries: PlacedEntry[], base: AuditBase) => void): AuditRow["make"] =>
  (base) => {
    const copy = structuredClone(base.entries) as PlacedEntry[];
    change(copy, base);
    return { file: textOf(copy.map(lineOf)), checkpoint: base.checkpoint };
  };

/** Lines changed as text. */
const lines =
  (change: (lines: string[]) => void): AuditRow["make"] =>
  (base) => {
    const copy = base.entries.map(lineOf);
    change(copy);
    return { file: textOf(copy), checkpoint: base.checkpoint };
  };

const bytes =
  (change: (text: Buffer) => Uint8Array): AuditRow["make"] =>
  (base) => ({
    file: change(Buffer.from(textOf(base.entries.map(lineOf)))),
    checkpoint: base.checkpoint,
  });

const head =
  (change: (note: string, base: AuditBase) => string): AuditRow["make"] =>
  (base) => ({
    file: textOf(base.entries.map(lineOf)),
    checkpoint: change(base.checkpoint, base),
  });

/** Hashes and chains made to fit, each stream by itself. Anybody can do that. */
function rechain(all: PlacedEntry[]): void {
  const heads = new Map<string, { count: number; hash: string }>();
  for (const placed of all) {
    const { stream } = placed.entry;
    const { count, hash } = heads.get(stream) ?? { count: 0, hash: GENESIS_HASH };
    placed.entry = { ...placed.entry, sequence: count, previous_hash: hash };
    placed.hash = sha256Hex(canonicalBytes(placed.entry));
    heads.set(stream, { count: count + 1, hash: placed.hash });
  }
}

function headOf(all: readonly PlacedEntry[], origin: string, signer: Signer): string {
  const frontier = new Frontier();
  for (const { entry } of all) frontier.append(leafHash(canonicalBytes(entry)));
  return signCheckpoint({ origin, size: frontier.size, root: frontier.root() }, signer);
}

function editOutput(all: PlacedEntry[]): void {
  const placed = all.find(({ entry }) => entry.event_type === "execution.completed");
  if (placed !== undefined) placed.entry.data = { ...placed.entry.data, output: "better" };
}

const nothing = (
  name: string,
  make: AuditRow["make"],
  verdict = "INVALID",
  trust?: AuditRow["trust"],
): AuditRow => ({
  name,
  held: "nothing",
  verdict,
  make,
  ...(trust === undefined ? {} : { trust }),
});

const genuine = (
  name: string,
  verdict: string,
  make: AuditRow["make"],
  trust?: AuditRow["trust"],
): AuditRow => ({ ...nothing(name, make, verdict, trust), held: "genuine" });

const SAME = entries(() => undefined);

export const AUDIT_ROWS: readonly AuditRow[] = [
  genuine("a whole log with its head", "VALID", SAME),
  genuine("a whole log without a head", "CONSISTENT", SAME, null),
  genuine(
    "without the last line end",
    "VALID",
    bytes((text) => text.subarray(0, -1)),
  ),
  genuine("under a distrusted checkpoint key", "UNTRUSTED_KEY", SAME, "distrusted"),
  genuine("under another installation's trust root", "INVALID", SAME, "other"),
  genuine("with a head over its first entries", "VALID", (base) => ({
    ...SAME(base),
    checkpoint: headOf(base.entries.slice(0, 5), base.origin, base.checkpointKey),
  })),
  genuine(
    "a part of a log",
    "INCOMPLETE",
    entries((all) => all.splice(0, 3)),
    null,
  ),
  genuine(
    "no entries, and no head",
    "refused",
    () => ({ file: Buffer.of(), checkpoint: "" }),
    null,
  ),
  nothing(
    "no entries, under a head of some",
    entries((all) => all.splice(0)),
    "INVALID",
  ),
  nothing(
    "no bytes, under a head of some",
    bytes(() => Buffer.of()),
    "INCOMPLETE",
  ),
  nothing(
    "its end cut off",
    entries((all) => all.pop()),
    "INCOMPLETE",
  ),
  nothing(
    "its end cut off, without a head",
    entries((all) => all.pop()),
    "CONSISTENT",
    null,
  ),
  nothing(
    "cut within its last line",
    bytes((text) => text.subarray(0, -40)),
  ),
  nothing("an entry edited", entries(editOutput)),
  nothing("an entry edited, without a head", entries(editOutput), "INVALID", null),
  nothing(
    "an entry edited, all chained again",
    entries((all) => {
      editOutput(all);
      rechain(all);
    }),
  ),
  nothing(
    "an entry edited, all chained again, without a head",
    entries((all) => {
      editOutput(all);
      rechain(all);
    }),
    "CONSISTENT",
    null,
  ),
  nothing(
    "an entry dropped",
    entries((all) => all.splice(4, 1)),
  ),
  nothing(
    "an entry dropped, all numbered and chained again",
    entries((all) => {
      all.splice(4, 1);
      for (const [index, placed] of all.entries()) placed.index = index;
      rechain(all);
    }),
    "INCOMPLETE",
  ),
  nothing(
    "an entry twice",
    entries((all) => all.splice(4, 0, structuredClone(all[4]!))),
  ),
  nothing(
    "two entries swapped",
    entries((all) => all.splice(4, 2, all[5]!, all[4]!)),
  ),
  nothing(
    "an index changed",
    entries((all) => (all[4]!.index = 99)),
  ),
  nothing(
    "a hash changed",
    entries((all) => (all[4]!.hash = "9".repeat(64))),
  ),
  nothing(
    "an entry of another stream put between",
    entries((all) => {
      all[4]!.entry.stream = "keys";
      rechain(all);
    }),
  ),
  nothing(
    "a field more in a line",
    lines((all) => (all[4] = all[4]!.replace(/}$/, ',"x":1}'))),
  ),
  nothing(
    "an empty line",
    lines((all) => all.splice(4, 0, "")),
  ),
  nothing(
    "a line of more than 128 KiB",
    lines((all) => all.splice(4, 0, "x".repeat(131_073))),
  ),
  nothing(
    "another spelling of a line",
    lines((all) => (all[4] = all[4]!.replace(":", ": "))),
  ),
  nothing(
    "a key twice in a line",
    lines((all) => (all[4] = all[4]!.replace("{", '{"index":4,'))),
  ),
  nothing(
    "lines that end with CR LF",
    bytes((text) => Buffer.from(String(text).replaceAll("\n", "\r\n"))),
  ),
  nothing(
    "a byte order mark",
    bytes((text) => Buffer.concat([Buffer.from("\ufeff"), text])),
  ),
  nothing(
    "in UTF-16",
    bytes((text) => Buffer.from(String(text), "utf16le")),
  ),
  nothing(
    "an overlong spelling of a letter",
    bytes((text) => {
      const at = text.indexOf("entry");
      return Buffer.concat([text.subarray(0, at), Buffer.of(0xc1, 0xa5), text.subarray(at + 1)]);
    }),
  ),
  nothing(
    "half of a surrogate pair",
    lines((all) => (all[4] = all[4]!.replace("acme", "\\ud800"))),
  ),
  nothing(
    "a number beyond what is exact",
    lines((all) => (all[4] = all[4]!.replace(/"index":\d+/, '"index":9007199254740993'))),
  ),
  nothing(
    "nested too deep",
    lines((all) => (all[4] = `${"[".repeat(65)}${"]".repeat(65)}`)),
  ),
  nothing(
    "another size in the head",
    head((note) => note.replace(/\n\d+\n/, "\n21\n")),
  ),
  nothing(
    "another root in the head",
    head((note) => note.replace(/\n[^\n]{44}\n/, `\n${"A".repeat(43)}=\n`)),
  ),
  nothing(
    "the head of the other log",
    head((_, base) => base.installationCheckpoint),
  ),
  nothing(
    "no head where one is said to be",
    head(() => "sovereign\n"),
    "refused",
  ),
  nothing(
    "a head by a key that is none for heads",
    head((_, base) => headOf(base.entries, base.origin, base.otherKey)),
    "UNTRUSTED_KEY",
  ),
  {
    ...nothing("a head over another history, by the stolen key, and the genuine file", (base) => {
      const all = structuredClone(base.entries) as PlacedEntry[];
      editOutput(all);
      rechain(all);
      return { ...SAME(base), checkpoint: headOf(all, base.origin, base.checkpointKey) };
    }),
    held: "checkpoint and seal",
  },
  {
    ...nothing(
      "another history, under a head that was kept",
      entries((all) => {
        editOutput(all);
        rechain(all);
        all.push({ ...structuredClone(all.at(-1)!), index: all.length });
        rechain(all);
      }),
    ),
    held: "all keys",
  },
  {
    ...nothing(
      "another history with a head by the stolen key",
      (base) => {
        const all = structuredClone(base.entries) as PlacedEntry[];
        editOutput(all);
        rechain(all);
        const checkpoint = headOf(all, base.origin, base.checkpointKey);
        return { file: textOf(all.map(lineOf)), checkpoint };
      },
      "VALID",
    ),
    held: "checkpoint and seal",
  },
  {
    ...nothing(
      "another history with a head by the stolen key, which is distrusted",
      (base) => {
        const all = structuredClone(base.entries) as PlacedEntry[];
        editOutput(all);
        rechain(all);
        const checkpoint = headOf(all, base.origin, base.checkpointKey);
        return { file: textOf(all.map(lineOf)), checkpoint };
      },
      "UNTRUSTED_KEY",
      "distrusted",
    ),
    held: "all keys",
  },
];
