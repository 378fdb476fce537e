import {
  canonicalBytes,
  type ComplianceBundle,
  digestOf,
  type Envelope,
  type EntryData,
  Frontier,
  GENESIS_HASH,
  type JsonObject,
  type JsonValue,
  type KeyPurpose,
  leafHash,
  type PlacedEntry,
  parseCanonicalJson,
  type Signer,
  sha256Hex,
  signCheckpoint,
  signEnvelope,
  STATEMENT_PAYLOAD_TYPE,
  type Statement,
} from "@sovereign/core";

/** Who signs: the keys that the forger stole. */
export type StolenKeys = (purpose: KeyPurpose, role: string | null) => Promise<Signer>;

/**
 * Evidence that somebody changed. What can be made to fit again without a key is made to fit; what
 * needs one is signed by the stolen one, where the forger says so.
 */
export class Forgery {
  readonly bundle: ComplianceBundle;
  readonly #keys: StolenKeys;

  constructor(genuine: ComplianceBundle, keys: StolenKeys) {
    this.bundle = structuredClone(genuine);
    this.#keys = keys;
  }

  entry(event: string, nth = 0): PlacedEntry {
    const found = this.bundle.entries.filter(({ entry }) => entry.event_type === event)[nth];
    if (found === undefined) throw new Error(`there is no ${nth}. ${event}`);
    return found;
  }

  at(index: number): PlacedEntry {
    const found = this.bundle.entries.at(index);
    if (found === undefined) throw new Error(`there is no entry ${index}`);
    return found;
  }

  statement(entry: PlacedEntry, name: string): Statement {
    return statementOf(this.bundle.envelopes[this.#digestOf(entry, name)]);
  }

  /** Sign a changed statement with the key that it belongs to, or with another. */
  async resign(
    entry: PlacedEntry,
    name: string,
    change: (statement: Statement & { predicate: JsonObject }) => void,
    by: readonly [KeyPurpose, string | null],
    type: string = STATEMENT_PAYLOAD_TYPE,
  ): Promise<void> {
    const statement = structuredClone(this.statement(entry, name));
    change(statement as Statement & { predicate: JsonObject });
    await this.sign(entry, name, statement, by, type);
  }

  async sign(
    entry: PlacedEntry,
    name: string,
    statement: JsonValue,
    [purpose, role]: readonly [KeyPurpose, string | null],
    type: string = STATEMENT_PAYLOAD_TYPE,
  ): Promise<void> {
    const signer = await this.#keys(purpose, role);
    this.put(entry, name, signEnvelope(type, canonicalBytes(statement), [signer]));
  }

  put(entry: PlacedEntry, name: string, envelope: Envelope): void {
    const digest = digestOf(envelope);
    this.bundle.envelopes[digest] = envelope;
    const named = (entry.entry.data["envelopes"] ?? {}) as JsonObject;
    entry.entry.data = { ...entry.entry.data, envelopes: { ...named, [name]: digest } };
  }

  envelope(entry: PlacedEntry, name: string): Envelope {
    return this.bundle.envelopes[this.#digestOf(entry, name)] as Envelope;
  }

  #digestOf(entry: PlacedEntry, name: string): string {
    return (entry.entry.data["envelopes"] as Record<string, string>)[name] ?? "";
  }

  /** One more event of the key log, about the key that signs bindings, by the stolen root key. */
  async appendKeyEvent(
    event: "introduced" | "revoked",
    change: (statement: Statement & { predicate: JsonObject }) => void,
    type: string = STATEMENT_PAYLOAD_TYPE,
  ): Promise<void> {
    const { key_log: log, manifest } = this.bundle;
    const introduction = log.find(
      (one) => this.statement(one, "key_event").subject[0]?.name === "key:binding",
    );
    const last = log.at(-1);
    if (introduction === undefined || last === undefined) throw new Error("no key for bindings");
    const statement = structuredClone(this.statement(introduction, "key_event"));
    const made = statement as Statement & { predicate: JsonObject };
    const { installation_id } = manifest;
    Object.assign(made.predicate, { installation_id, event, sequence: log.length, reason: "x" });
    change(made);
    const entry = { ...last.entry, event_type: `key.${event}`, data: {} };
    log.push({ index: last.index + 1, hash: "", entry });
    await this.sign(this.bundle.key_log.at(-1) ?? last, "key_event", made, ["root", null], type);
    this.rechain();
  }

  /** Counts and digests of the manifest; envelopes that nothing names go. Anybody can do that. */
  remanifest(): void {
    const { bundle } = this;
    const named = new Set(
      [...bundle.entries, ...bundle.key_log].flatMap(({ entry }) =>
        Object.values((entry.data["envelopes"] ?? {}) as Record<string, string>),
      ),
    );
    bundle.envelopes = Object.fromEntries(
      Object.entries(bundle.envelopes)
        .filter(([digest]) => named.has(digest))
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
    this.recount();
  }

  recount(): void {
    const { bundle } = this;
    const { entries, key_log, envelopes, artifacts } = bundle;
    const counts = {
      entries: entries.length,
      key_log: key_log.length,
      envelopes: Object.keys(envelopes).length,
      artifacts: artifacts.length,
    };
    const sections = Object.fromEntries(
      Object.keys(bundle.manifest.sections).map((name) => [
        name,
        digestOf(bundle[name as keyof ComplianceBundle] as unknown as JsonValue),
      ]),
    ) as ComplianceBundle["manifest"]["sections"];
    bundle.manifest = { ...bundle.manifest, counts, sections };
  }

  /** Hashes, chain and sequence numbers. Anybody can do that. */
  rechain(): void {
    chain(this.bundle.entries);
    chain(this.bundle.key_log);
  }

  /** Heads over a log that holds these entries alone, by the stolen checkpoint key. */
  async rehead(): Promise<void> {
    const { bundle } = this;
    const signer = await this.#keys("checkpoint", null);
    for (const [name, entries] of [
      ["tenant", bundle.entries],
      ["installation", bundle.key_log],
    ] as const) {
      const log = bundle.logs[name];
      const frontier = new Frontier();
      for (const [index, placed] of entries.entries()) {
        placed.index = index;
        frontier.append(leafHash(canonicalBytes(placed.entry)));
      }
      const { origin } = log;
      const head = { origin, size: frontier.size, root: frontier.root() };
      bundle.logs[name] = { origin, proof: [], checkpoint: signCheckpoint(head, signer) };
    }
  }

  /** The seal over what the entries are now, by the stolen seal key. */
  async reseal(change: (proof: JsonObject) => void = () => undefined): Promise<void> {
    const { bundle } = this;
    this.rechain();
    const last = this.at(-1);
    const before = bundle.entries.slice(0, -1);
    const frontier = new Frontier();
    for (const { entry } of before) frontier.append(leafHash(canonicalBytes(entry)));
    const head = before.at(-1)?.hash ?? GENESIS_HASH;
    const key_log = { count: bundle.key_log.length, head: bundle.key_log.at(-1)?.hash ?? "" };
    const artifacts = before.flatMap(({ entry }) =>
      ["execution.completed", "evidence.recorded"].includes(entry.event_type)
        ? (entry.data as EntryData<"evidence.recorded">).artifacts
        : [],
    );
    const count = before.length;
    last.entry.data = { ...last.entry.data, count, head, key_log, key_epoch: key_log.count };
    await this.resign(
      last,
      "run_proof",
      (statement) => {
        const root = Buffer.from(frontier.root()).toString("hex");
        Object.assign(statement.predicate, { count, head, root, key_log, artifacts });
        if (statement.subject[0] !== undefined) statement.subject[0].digest.sha256 = head;
        change(statement.predicate);
      },
      ["seal", null],
    );
    const known = new Map(bundle.artifacts.map((one) => [one.name, one]));
    bundle.artifacts = artifacts.map((one) => ({ ...known.get(one.name), ...one }));
    this.rechain();
  }

  /** Everything that the checkpoint and the seal key can make fit. */
  async rebuild(): Promise<void> {
    await this.reseal();
    await this.rehead();
    this.remanifest();
  }

  bytes(): Uint8Array {
    return canonicalBytes(this.bundle as unknown as JsonValue);
  }
}

function chain(entries: PlacedEntry[]): void {
  let previous = GENESIS_HASH;
  for (const [sequence, placed] of entries.entries()) {
    placed.entry = { ...placed.entry, sequence, previous_hash: previous };
    placed.hash = sha256Hex(canonicalBytes(placed.entry));
    previous = placed.hash;
  }
}

function statementOf(envelope: Envelope | undefined): Statement {
  if (envelope === undefined) throw new Error("there is no such envelope");
  return parseCanonicalJson(Buffer.from(envelope.payload, "base64")) as unknown as Statement;
}
