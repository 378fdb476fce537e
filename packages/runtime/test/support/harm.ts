/** What {@link harm} puts in the place of whatever it finds: each of these would open something. */
const OPEN: Readonly<Record<string, unknown>> = {
  effect: "allow",
  status: "COMPLETED",
  armed: true,
  approvals: null,
  required: 0,
  observed: true,
  ended: null,
  endedBy: null,
  distrustAll: false,
  purpose: "approval",
  role: "safety_officer",
  refusal: () => null,
  decide: () => ({ effect: "allow" }),
  execute: () => Promise.resolve({ status: "COMPLETED" }),
  aborted: false,
};

/**
 * Change everything that can be reached from a value, as a program that holds it may: fields, what
 * lists hold, bytes, methods, and what is not enumerable.
 *
 * @returns how many changes the objects took
 */
export function harm(value: unknown, seen = new Set<unknown>()): number {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return 0;
  if (seen.has(value)) return 0;
  seen.add(value);
  if (value instanceof Uint8Array) {
    value.fill(7);
    return 1;
  }
  let taken = 0;
  for (const key of new Set([...Reflect.ownKeys(value), ...Object.keys(OPEN)])) {
    // A function's own arguments are not to be read.
    if (!UNREADABLE.has(key)) taken += harmAt(value, key, seen);
  }
  if (Array.isArray(value) && attempt(() => value.push("harmed")) !== null) taken += 1;
  return taken;
}

const UNREADABLE: ReadonlySet<PropertyKey> = new Set(["prototype", "arguments", "caller"]);

function harmAt(value: object, key: PropertyKey, seen: Set<unknown>): number {
  const found = attempt(() => Reflect.get(value, key) as unknown);
  let taken = harm(found, seen);
  const other = typeof key === "string" && Object.hasOwn(OPEN, key) ? OPEN[key] : "harmed";
  if (Object.is(found, other)) return taken;
  if (attempt(() => Reflect.set(value, key, other)) === true) taken += 1;
  if (attempt(() => Reflect.defineProperty(value, key, { value: other })) === true) taken += 1;
  return taken;
}

function attempt(work: () => unknown): unknown {
  try {
    return work();
  } catch {
    return null;
  }
}
