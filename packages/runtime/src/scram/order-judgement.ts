import {
  base64Decode,
  checkSignature,
  type Envelope,
  type ErrorCode,
  isSameHolder,
  isSovereignError,
  type KeyTable,
  type KeyWindow,
  pae,
  parseStatement,
  type ScramOrder,
  type ScramReset,
  STATEMENT_PAYLOAD_TYPE,
} from "@sovereign/core";

/** How far in the future an order may have been issued: clocks of two machines differ. */
const SKEW_MS = 60_000;

/** What an order of either kind is judged against. */
export interface JudgementContext {
  readonly installationId: string;
  readonly keys: KeyTable;
  /** How many events of the key log count; without it, all. */
  readonly epoch?: number;
  /** Now, as a timestamp that never goes back. */
  readonly now: string;
  readonly usedNonces: ReadonlySet<string>;
}

/** Whose signatures on it hold. Both keys are set, and `code` is null, when it is authorised. */
export interface Judgement<T> {
  /** Null when the bytes are no order at all. */
  readonly order: T | null;
  readonly operator: string | null;
  readonly architect: string | null;
  readonly code: ErrorCode | null;
  readonly reason: string | null;
}

interface Kinds {
  readonly "scram-order": ScramOrder;
  readonly "scram-reset": ScramReset;
}

/**
 * Judge an order or a reset: two distinct keys of two different holders, one enrolled as operator
 * and one as architect, neither expired nor revoked, over an unused nonce, in its time, for this installation. Pure.
 *
 * @param envelope untrusted
 */
export function judgeOrder<K extends keyof Kinds>(
  kind: K,
  envelope: Envelope,
  context: JudgementContext,
): Judgement<Kinds[K]> {
  let order: Kinds[K];
  if (envelope.payloadType !== STATEMENT_PAYLOAD_TYPE) {
    const found = `expected the payload type ${STATEMENT_PAYLOAD_TYPE}, found another`;
    return refused(null, "ERR_SCRAM_ORDER_MALFORMED", found);
  }
  try {
    order = parseStatement(base64Decode(envelope.payload), kind).predicate as Kinds[K];
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return refused(null, "ERR_SCRAM_ORDER_MALFORMED", error.message);
  }
  const { operators, architects, invalid } = signatures(envelope, context);
  const [operator, architect] = twoHolders(operators, architects);
  const judged = { order, operator: idOf(operator), architect: idOf(architect) };
  const wrong = misfit(order, context);
  if (wrong !== null) return { ...judged, ...wrong };
  if (operator !== undefined && architect !== undefined) {
    if (!isOneHolder(operator, architect)) return { ...judged, code: null, reason: null };
    const name = String(operator.record.role);
    const reason = `${name} signed as operator and as architect; expected two different people. Enrol another with: sovereign keys add --architect NAME`;
    return { ...judged, code: "ERR_SCRAM_ORDER_HOLDER", reason };
  }
  if (invalid !== null) {
    return { ...judged, code: "ERR_SCRAM_ORDER_KEY", reason: invalid };
  }
  const has = operator === undefined ? "no operator's" : "no architect's";
  const reason = `expected the signatures of an operator and an architect, found ${has} key`;
  return { ...judged, code: "ERR_SCRAM_ORDER_SIGNATURE", reason };
}

/** A pair of two people where there is one; else whoever signed as either. */
function twoHolders(
  operators: readonly KeyWindow[],
  architects: readonly KeyWindow[],
): [KeyWindow | undefined, KeyWindow | undefined] {
  for (const operator of operators) {
    const architect = architects.find((one) => !isOneHolder(operator, one));
    if (architect !== undefined) return [operator, architect];
  }
  return [operators[0], architects[0]];
}

/** INVARIANT: one person is not two, however many keys they have. */
function isOneHolder(one: KeyWindow, other: KeyWindow): boolean {
  return isSameHolder(one.record.role ?? "", other.record.role ?? "");
}

function idOf(window: KeyWindow | undefined): string | null {
  return window?.record.key_id ?? null;
}

/** What is wrong with an order whoever signed it. */
function misfit(
  order: ScramOrder | ScramReset,
  { installationId, now, usedNonces }: JudgementContext,
): { code: ErrorCode; reason: string } | null {
  if (order.installation_id !== installationId) {
    const reason = `it is for ${order.installation_id}, this is ${installationId}`;
    return { code: "ERR_SCRAM_ORDER_INSTALLATION", reason };
  }
  if (usedNonces.has(order.nonce)) {
    return { code: "ERR_SCRAM_ORDER_REPLAYED", reason: "its nonce was used before" };
  }
  const early = Date.parse(order.issued_at) > Date.parse(now) + SKEW_MS;
  if (early || order.expires_at <= now || order.expires_at <= order.issued_at) {
    const reason = `it is good from ${order.issued_at} to ${order.expires_at}; it is ${now}`;
    return { code: "ERR_SCRAM_ORDER_EXPIRED", reason };
  }
  return null;
}

/** Signatures are tried against enrolled keys; the envelope's own `keyid` is only a hint. */
function signatures(
  envelope: Envelope,
  { keys, epoch = keys.count, now }: JudgementContext,
): { operators: KeyWindow[]; architects: KeyWindow[]; invalid: string | null } {
  const message = pae(envelope.payloadType, base64Decode(envelope.payload));
  const made = envelope.signatures.flatMap(({ sig }) => decoded(sig) ?? []);
  const operators: KeyWindow[] = [];
  const architects: KeyWindow[] = [];
  let invalid: string | null = null;
  for (const window of keys.windows) {
    const { purpose } = window.record;
    if (purpose !== "operator" && purpose !== "architect") continue;
    if (!made.some((signature) => checkSignature(window.key, message, signature))) continue;
    const refusal = keys.refusal(window, epoch, now);
    if (refusal === null) (purpose === "operator" ? operators : architects).push(window);
    else invalid = describe(window, refusal);
  }
  return { operators, architects, invalid };
}

function describe({ record }: KeyWindow, refusal: string): string {
  const { purpose, role, key_id } = record;
  return `the ${purpose}'s key ${key_id.slice(0, 16)} is not valid now: ${refusal}; put another in its place with: sovereign keys replace ${purpose}:${role ?? "NAME"}`;
}

function refused(order: null, code: ErrorCode, reason: string): Judgement<never> {
  return { order, operator: null, architect: null, code, reason };
}

/** A key that signed, of those that were ever enrolled as an operator's or an architect's. */
export interface OrderSigner {
  readonly keyId: string;
  readonly purpose: "operator" | "architect";
  /** Whose key it is. */
  readonly holder: string;
  /** False when it has ended, or is outside its time. */
  readonly living: boolean;
}

/**
 * Whose signatures on an envelope hold. Each signature is tried with the key alone that its `keyid`
 * names, so that a stranger's envelope costs next to nothing; `keyid` decides nothing else.
 *
 * @param envelope untrusted
 */
export function orderSigners(envelope: Envelope, keys: KeyTable, now: string): OrderSigner[] {
  const message = lazily(() => pae(envelope.payloadType, base64Decode(envelope.payload)));
  const found = new Map<string, OrderSigner>();
  for (const { keyid, sig } of envelope.signatures) {
    const window = keys.get(keyid);
    const purpose = window?.record.purpose;
    if (window === undefined || (purpose !== "operator" && purpose !== "architect")) continue;
    const signature = decoded(sig);
    if (signature === null || !checkSignature(window.key, message(), signature)) continue;
    const living = keys.refusal(window, keys.count, now) === null;
    const holder = window.record.role ?? "";
    found.set(keyid, { keyId: keyid, purpose, holder, living });
  }
  return [...found.values()];
}

function lazily<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => (made ??= { value: make() }).value;
}

/**
 * One envelope with the signatures of both, where both are over the same bytes; else null.
 * This is how two people authorise an order one after the other.
 */
export function mergeSignatures(one: Envelope, other: Envelope): Envelope | null {
  if (one.payload !== other.payload || one.payloadType !== other.payloadType) return null;
  const known = new Set(one.signatures.map(({ sig }) => sig));
  const more = other.signatures.filter(({ sig }) => !known.has(sig));
  return { ...one, signatures: [...one.signatures, ...more] };
}

/** What is not base64 was signed by nobody. */
function decoded(signature: string): Uint8Array | null {
  try {
    return base64Decode(signature);
  } catch (error) {
    if (isSovereignError(error)) return null;
    throw error;
  }
}
