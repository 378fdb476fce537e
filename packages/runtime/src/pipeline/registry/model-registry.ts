import { join } from "node:path";
import {
  fields,
  type Predicate,
  SovereignError,
  isSovereignError,
  sha256Hex,
  fixClass,
} from "@sovereign/core";
import {
  type Clock,
  type Entropy,
  newNonce,
  timestampOf,
  DurableFiles,
} from "../../system/index.ts";
import { BlobStore } from "./blob-store.ts";
import { VersionLog, type VersionRecord } from "./version-log.ts";

/** Left by a killed process: nobody writes one file for an hour. */
const LEFTOVER_MS = 3_600_000;

interface Switch {
  readonly model: string;
  readonly runId: string;
  /** The same for every attempt of one step. */
  readonly idempotencyKey: string;
  /** The version that must be the last one; 0 for none. The same bytes may come twice. */
  readonly expectedVersion?: number;
}

export interface PromoteRequest extends Switch {
  /** Lower-case hex SHA-256 of `bytes`. */
  readonly digest: string;
  readonly bytes: Uint8Array;
  /** What must be current now; null when the model must be new. */
  readonly expectedCurrent: string | null;
}

export interface RollbackRequest extends Switch {
  /** A digest that was promoted before. */
  readonly toDigest: string;
  readonly expectedCurrent: string;
}

/**
 * Models by content, and which one is current. Each switch is a compare-and-swap: it says what it
 * believes to be current, and of two at once one is refused. A switch is one file that gets its
 * name at once, so a kill at any instant leaves the old model current or the new one, whole.
 *
 * Every method throws ERR_REGISTRY_UNAVAILABLE when the disk refuses (nothing was acknowledged:
 * call again with the same idempotency key), and ERR_REGISTRY_CORRUPT when what it holds has been
 * changed.
 */
export interface ModelRegistry {
  /**
   * Keep a model and make it current.
   * @returns the record of the switch; of an earlier attempt with the same key, that one's
   * @throws ERR_REGISTRY_DIGEST, ERR_REGISTRY_CONFLICT
   */
  promote(request: PromoteRequest): Promise<VersionRecord>;
  /**
   * Make an earlier model current again, read its bytes back from disk, and say what was found.
   * @throws ERR_REGISTRY_UNKNOWN when it was never promoted, ERR_REGISTRY_CONFLICT
   */
  rollback(request: RollbackRequest): Promise<Predicate<"rollback-proof">>;
  /** The switch that was made under a key, made durable; null when there was none. */
  find(model: string, idempotencyKey: string): Promise<VersionRecord | null>;
  /** The last switch of a model; null when there was none. */
  current(model: string): Promise<VersionRecord | null>;
  /** Every switch of a model, oldest first. */
  history(model: string): Promise<VersionRecord[]>;
  /** The models that have switches. */
  models(): Promise<string[]>;
  /**
   * Take back switches that nobody recorded: what was current before the first of them is current again.
   * Their files go to `set-aside/`. Nothing else may use the registry.
   *
   * @param records the last switches of one model, oldest first
   */
  setAside(records: readonly VersionRecord[]): Promise<void>;
  /** A model's bytes, hashed again now. @throws ERR_REGISTRY_UNKNOWN */
  read(digest: string): Promise<Uint8Array>;
}

export interface ModelRegistryOptions {
  /** Made where it is missing, 0700. */
  readonly folder: string;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** Told where a switch has come to. Tests stop the process there. */
  readonly onStep?: (step: "blob_kept" | "record_named" | "restored") => void;
}

/** Open the registry in a folder. Several processes may use one folder. */
export function createModelRegistry(options: ModelRegistryOptions): ModelRegistry {
  return new DiskRegistry(options);
}

class DiskRegistry implements ModelRegistry {
  readonly #options: ModelRegistryOptions;
  readonly #files: DurableFiles;
  readonly #blobs: BlobStore;
  readonly #versions: VersionLog;

  constructor(options: ModelRegistryOptions) {
    const { clock, entropy, folder, onStep } = options;
    const now = clock.now.bind(clock);
    const own = { now, monotonicMs: clock.monotonicMs.bind(clock) };
    this.#options = { folder, clock: own, entropy, ...(onStep === undefined ? {} : { onStep }) };
    this.#files = new DurableFiles(folder, () => newNonce(entropy));
    this.#blobs = new BlobStore(join(folder, "blobs"), this.#files);
    this.#versions = new VersionLog(join(folder, "models"), this.#files);
    Object.freeze(this);
  }

  promote(request: PromoteRequest): Promise<VersionRecord> {
    const { model, digest, bytes } = request;
    return this.#guarded(async () => {
      checkNames(model, digest);
      await this.#files.sweep(this.#options.clock.now(), LEFTOVER_MS);
      const history = await this.#versions.read(model);
      const done = await this.#earlierAttempt(history, request, "promotion", digest);
      if (done !== null) return done;
      expectCurrent(history, request);
      await this.#blobs.put(digest, bytes);
      this.#options.onStep?.("blob_kept");
      return this.#append(history, request, "promotion", digest, bytes.length);
    });
  }

  rollback(request: RollbackRequest): Promise<Predicate<"rollback-proof">> {
    const { model, toDigest, expectedCurrent } = request;
    return this.#guarded(async () => {
      checkNames(model, toDigest);
      const history = await this.#versions.read(model);
      const promoted = promotionOf(history, model, toDigest);
      const done = await this.#earlierAttempt(history, request, "rollback", toDigest);
      if (done !== null) return this.#prove(done, promoted);
      expectCurrent(history, request);
      if (toDigest === expectedCurrent) {
        const text = `model ${model}: ${toDigest} is current: there is nothing to roll back`;
        throw new SovereignError("ERR_REGISTRY_CONFLICT", text, { model, digest: toDigest });
      }
      // Before the switch: a model whose bytes are gone must not become current.
      const bytes = await this.#blobs.read(toDigest);
      const record = await this.#append(history, request, "rollback", toDigest, bytes.length);
      return this.#prove(record, promoted);
    });
  }

  find(model: string, idempotencyKey: string): Promise<VersionRecord | null> {
    return this.#guarded(async () => {
      const history = await this.#history(model);
      const found = history.find((record) => record.idempotency_key === idempotencyKey);
      if (found !== undefined) await this.#versions.settle(found);
      return found ?? null;
    });
  }

  current(model: string): Promise<VersionRecord | null> {
    return this.#guarded(async () => (await this.#history(model)).at(-1) ?? null);
  }

  history(model: string): Promise<VersionRecord[]> {
    return this.#guarded(() => this.#history(model));
  }

  models(): Promise<string[]> {
    return this.#guarded(() => this.#versions.models());
  }

  setAside(records: readonly VersionRecord[]): Promise<void> {
    return this.#guarded(async () => {
      // The last first: a kill leaves a whole history that ends earlier or later.
      for (const record of records.toReversed())
        await this.#versions.setAside(record, join(this.#options.folder, "set-aside"));
    });
  }

  read(digest: string): Promise<Uint8Array> {
    return this.#guarded(() => {
      checkNames("any", digest);
      return this.#blobs.read(digest);
    });
  }

  async #history(model: string): Promise<VersionRecord[]> {
    checkNames(model, "0".repeat(64));
    return this.#versions.read(model);
  }

  async #append(
    history: readonly VersionRecord[],
    request: Switch,
    kind: VersionRecord["kind"],
    digest: string,
    bytes: number,
  ): Promise<VersionRecord> {
    const record = await this.#versions.append(history, {
      model: request.model,
      kind,
      digest,
      bytes,
      run_id: request.runId,
      idempotency_key: request.idempotencyKey,
      recorded_at: timestampOf(this.#options.clock),
    });
    if (record !== null) {
      this.#options.onStep?.("record_named");
      return record;
    }
    // Somebody was quicker. It may have been another attempt of this very step.
    const now = await this.#versions.read(request.model);
    const done = await this.#earlierAttempt(now, request, kind, digest);
    if (done !== null) return done;
    throw conflict(request.model, history.at(-1)?.digest ?? null, now.at(-1)?.digest ?? null);
  }

  /** What an earlier attempt of the same step did, made durable; null when there was none. */
  async #earlierAttempt(
    history: readonly VersionRecord[],
    { model, idempotencyKey }: Switch,
    kind: VersionRecord["kind"],
    digest: string,
  ): Promise<VersionRecord | null> {
    const found = history.find((record) => record.idempotency_key === idempotencyKey);
    if (found === undefined) return null;
    if (found.kind !== kind || found.digest !== digest) {
      const text = `model ${model}: the key ${idempotencyKey} was used for another ${found.kind}`;
      throw new SovereignError("ERR_REGISTRY_CONFLICT", text, { model, version: found.version });
    }
    await this.#versions.settle(found);
    return found;
  }

  /**
   * INVARIANT: the proof speaks of a record and of bytes that were read from disk after the
   * switch, never of memory. The bytes are hashed as they are read.
   */
  async #prove(
    { model, version }: VersionRecord,
    promoted: VersionRecord,
  ): Promise<Predicate<"rollback-proof">> {
    const record = (await this.#versions.read(model))[version - 1];
    if (record === undefined) {
      const text = `model ${model}: the record ${version} is gone`;
      throw new SovereignError("ERR_REGISTRY_CORRUPT", text, { model, version });
    }
    const bytes = await this.#blobs.read(record.digest);
    this.#options.onStep?.("restored");
    return {
      run_id: record.run_id,
      model: record.model,
      before: record.before ?? record.digest,
      after: record.digest,
      restored_digest: sha256Hex(bytes),
      restored_bytes: bytes.length,
      promoted_by_run: promoted.run_id,
      promoted_at: promoted.recorded_at,
      proved_at: timestampOf(this.#options.clock),
    };
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (isSovereignError(error)) throw error;
      const why = error instanceof Error ? error.message : "unknown";
      const text = `the model registry cannot use its folder: ${why}`;
      throw new SovereignError("ERR_REGISTRY_UNAVAILABLE", text, {}, error);
    }
  }
}

fixClass(DiskRegistry);

/** Names become paths, so they are checked here too, whatever the caller did. */
function checkNames(model: string, digest: string): void {
  if (fields.name.safeParse(model).success && fields.digest.safeParse(digest).success) return;
  const text = "expected a model's name and the hex SHA-256 of its bytes";
  throw new SovereignError("ERR_REGISTRY_UNKNOWN", text, { model: model.slice(0, 80) });
}

function promotionOf(
  history: readonly VersionRecord[],
  model: string,
  digest: string,
): VersionRecord {
  const found = history.findLast((one) => one.kind === "promotion" && one.digest === digest);
  if (found !== undefined) return found;
  const text = `model ${model}: ${digest} was never promoted`;
  throw new SovereignError("ERR_REGISTRY_UNKNOWN", text, { model, digest });
}

function expectCurrent(
  history: readonly VersionRecord[],
  request: Switch & { readonly expectedCurrent: string | null },
): void {
  const { model, expectedCurrent, expectedVersion } = request;
  const found = history.at(-1)?.digest ?? null;
  if (found !== expectedCurrent) throw conflict(model, expectedCurrent, found);
  if (expectedVersion === undefined || expectedVersion === history.length) return;
  const text = `model ${model}: expected version ${expectedVersion} to be the last, found ${history.length}`;
  throw new SovereignError("ERR_REGISTRY_CONFLICT", text, { model });
}

function conflict(model: string, expected: string | null, found: string | null): SovereignError {
  const text = `model ${model}: expected ${expected ?? "none"} to be current, found ${found ?? "none"}`;
  return new SovereignError("ERR_REGISTRY_CONFLICT", text, { model, expected, found });
}
