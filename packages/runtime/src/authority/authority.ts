import {
  type Action,
  type ActionContext,
  canonicalBytes,
  createStatement,
  digestOf,
  type Envelope,
  formats,
  frozenCopy,
  isSovereignError,
  type JsonValue,
  parseFormat,
  type KeyPurpose,
  type KeyTable,
  type PolicyDecision,
  type Predicate,
  type PredicateName,
  predicateType,
  type Signer,
  SLSA_PROVENANCE_TYPE,
  type SlsaProvenance,
  type SourceStatement,
  SovereignError,
  STATEMENT_PAYLOAD_TYPE,
  signEnvelope,
  fixClass,
} from "@sovereign/core";
import { Keystore } from "./keystore.ts";
import { notInForce } from "./slot.ts";

/** How long a permission is good for, in milliseconds: long enough to be used at once. */
const BINDING_TTL_MS = 60_000;
/** People take longer than machines. */
const APPROVAL_TTL_MS = 15 * 60_000;

export interface AuthorityOptions {
  readonly keystore: Keystore;
  /** The enrolled keys as they are now. */
  readonly keys: () => KeyTable;
  /** What policy decides: the authority asks it itself and takes nobody's word. */
  readonly decide: (action: Action, context: ActionContext) => PolicyDecision;
  readonly clock: { now(): Date };
  readonly entropy: { bytes(count: number): Uint8Array };
}

/** What a statement is about: its name, and its SHA-256 in hex. */
export interface Subject {
  readonly name: string;
  readonly sha256: string;
}

/**
 * Issues signed permissions and statements. It is the only module that signs, and it never
 * executes: the kernel verifies what comes from here with public keys alone.
 */
export class Authority {
  readonly #options: AuthorityOptions;
  readonly #signers = new Map<string, Promise<Signer>>();

  constructor({ keystore, keys, decide, clock, entropy }: AuthorityOptions) {
    Keystore.assertMade(keystore);
    // Taken once, here: what a program does with these objects later changes nothing that is signed.
    this.#options = {
      keystore,
      keys,
      decide,
      clock: { now: clock.now.bind(clock) },
      entropy: { bytes: entropy.bytes.bind(entropy) },
    };
    Object.freeze(this);
  }

  /** "I act in this role": signed by that role's own key, for one action in one context. */
  async issueRoleAssignment(asked: Action, where: ActionContext): Promise<Envelope> {
    return this.#issueRole(taken(asked, where));
  }

  /**
   * Permission for one action, once.
   *
   * @throws ERR_BINDING_REFUSED where policy denies the action
   */
  async issueBinding(asked: Action, where: ActionContext): Promise<Envelope> {
    return this.#issueBinding(taken(asked, where));
  }

  /**
   * Both, for an action that is copied, made canonical and hashed once.
   *
   * @throws ERR_BINDING_REFUSED where policy denies the action
   */
  async issueAuthorization(
    asked: Action,
    where: ActionContext,
  ): Promise<{ role: Envelope; binding: Envelope }> {
    const subject = taken(asked, where);
    const role = await this.#issueRole(subject);
    return { role, binding: await this.#issueBinding(subject) };
  }

  #issueRole({ context, digests, about }: Taken): Promise<Envelope> {
    const { role } = context;
    const predicate = { role, ...digests, ...this.#freshness(BINDING_TTL_MS) };
    return this.issue("role-assignment", about, predicate, "role", role);
  }

  async #issueBinding({ action, context, digests, about }: Taken): Promise<Envelope> {
    // A copy: what the decider still holds is not what is signed.
    const answer = frozenCopy(this.#options.decide(action, context));
    const decision = parseFormat(formats.policyDecision, answer, "policy decision");
    if (decision.effect === "deny") {
      throw new SovereignError(
        "ERR_BINDING_REFUSED",
        `No binding for ${action.type}: ${decision.reasons.join("; ") || "no rule allows it"}.`,
      );
    }
    const predicate = {
      tenant_id: context.tenant_id,
      run_id: context.run_id,
      ...digests,
      policy_digest: decision.policy_digest,
      decision,
      ...this.#freshness(BINDING_TTL_MS),
    };
    return this.issue("policy-binding", about, predicate, "binding", null);
  }

  /** One approver's consent to exactly this action in exactly this context. */
  async issueApproval(
    approver: string,
    actionDigest: string,
    contextDigest: string,
  ): Promise<Envelope> {
    const predicate = {
      approver,
      action_digest: actionDigest,
      context_digest: contextDigest,
      ...this.#freshness(APPROVAL_TTL_MS),
    };
    const subject = { name: "action", sha256: actionDigest };
    return this.issue("approval", [subject], predicate, "approval", approver);
  }

  /** Sign one of our statements with the valid key of a purpose (and role). */
  async issue<K extends PredicateName>(
    kind: K,
    subjects: readonly Subject[],
    predicate: Predicate<K>,
    purpose: KeyPurpose,
    role: string | null,
  ): Promise<Envelope> {
    const said = frozenCopy({ subjects, predicate }) as Said;
    const signer = await this.signer(purpose, role);
    return signStatement(said.subjects, predicateType(kind), said.predicate, signer);
  }

  /** Sign a SLSA provenance of what was built from what. */
  async issueProvenance(
    subjects: readonly Subject[],
    provenance: SlsaProvenance,
  ): Promise<Envelope> {
    const said = frozenCopy({ subjects, predicate: provenance }) as Said;
    const signer = await this.signer("attestation", null);
    return signStatement(said.subjects, SLSA_PROVENANCE_TYPE, said.predicate, signer);
  }

  /** Sign what a run's entries prove of a commit. */
  async issueSource(statement: SourceStatement): Promise<Envelope> {
    const signer = await this.signer("attestation", null);
    return signEnvelope(STATEMENT_PAYLOAD_TYPE, canonicalBytes(statement), [signer]);
  }

  /**
   * The signer of the key that is valid now for a purpose (and role). Where several are, the newest
   * whose file is here signs.
   *
   * @throws ERR_KEY_NOT_FOUND when no such key of a role or an approver is enrolled, valid and here
   * @throws ERR_KEY_NOT_IN_FORCE when a key of the installation itself is lost, revoked or expired
   */
  async signer(purpose: KeyPurpose, role: string | null): Promise<Signer> {
    const keys = this.#options.keys();
    const at = this.#options.clock.now().toISOString();
    const windows = keys.valid(purpose, role, keys.count, at);
    for (const { record } of windows.toReversed()) {
      const signer = await this.#signerOf(record.key_id);
      if (signer !== null) return signer;
    }
    throw notInForce({ purpose, role }, keys, { lost: windows.at(-1), at });
  }

  /** Null where its file is not here. */
  async #signerOf(keyId: string): Promise<Signer | null> {
    const known = this.#signers.get(keyId);
    if (known !== undefined) return known;
    const opened = this.#options.keystore.signer(keyId);
    this.#signers.set(keyId, opened);
    try {
      return await opened;
    } catch (error) {
      // What is not there now may be put back.
      this.#signers.delete(keyId);
      if (isSovereignError(error, "ERR_KEY_NOT_FOUND")) return null;
      throw error;
    }
  }

  #freshness(ttlMs: number): { nonce: string; issued_at: string; expires_at: string } {
    const now = this.#options.clock.now();
    return {
      nonce: Buffer.from(this.#options.entropy.bytes(16)).toString("hex"),
      issued_at: now.toISOString(),
      expires_at: new Date(now.getTime() + ttlMs).toISOString(),
    };
  }
}

fixClass(Authority);

/** An in-toto Statement v1 in a DSSE envelope. */
export function signStatement(
  subjects: readonly Subject[],
  type: string,
  predicate: JsonValue,
  ...signers: readonly Signer[]
): Envelope {
  const statement = createStatement(
    subjects.map(({ name, sha256 }) => ({ name, digest: { sha256 } })),
    type,
    predicate,
  );
  const envelope = signEnvelope(STATEMENT_PAYLOAD_TYPE, canonicalBytes(statement), signers);
  // Whoever names it, keeps it and hands it on hashes it: as a frozen copy it is hashed once.
  return frozenCopy(envelope) as Envelope;
}

/** What a statement says, as it was when it was asked for: a key may take its time to open. */
type Said = { readonly subjects: readonly Subject[]; readonly predicate: JsonValue } & JsonValue;

/** What permissions are issued for: nobody else holds it, and its digests are those of its bytes. */
interface Taken {
  readonly action: Action;
  readonly context: ActionContext;
  readonly digests: { readonly action_digest: string; readonly context_digest: string };
  readonly about: readonly Subject[];
}

/** What is signed is what was decided on: a copy that nobody else holds, hashed once. */
function taken(asked: Action, where: ActionContext): Taken {
  const action = frozenCopy(asked) as Action;
  const context = frozenCopy(where) as ActionContext;
  const digests = { action_digest: digestOf(action), context_digest: digestOf(context) };
  const about = [{ name: `action:${action.type}`, sha256: digests.action_digest }];
  return { action, context, digests, about };
}
