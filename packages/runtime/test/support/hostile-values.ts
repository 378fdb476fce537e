/** Bytes and dates that say one thing and are another. */
export class OwnBytes extends Uint8Array {
  override get length(): number {
    return 7;
  }
}
export class OwnDate extends Date {
  override toISOString(): string {
    return "2099-01-01T00:00:00.000Z";
  }
}

/** The same fields, in an object of a class. */
export class Subclass {
  constructor(fields: object) {
    Object.assign(this, fields);
  }
  toJSON(): string {
    return "something else";
  }
}

export function fail(): never {
  throw new Error("no");
}

/** Whatever is asked of it, it throws. */
export const throwing: object = new Proxy({}, { get: fail, getPrototypeOf: fail, ownKeys: fail });

function errorWith(key: string): Error {
  return Object.defineProperty(new Error("x"), key, { get: fail });
}

/** What somebody may throw so that whoever looks at it throws, too. */
export const hostileErrors: readonly (readonly [string, unknown])[] = [
  ["an error whose message throws", errorWith("message")],
  ["an error whose message is a symbol", Object.assign(new Error("x"), { message: Symbol("x") })],
  ["an error whose code throws", errorWith("code")],
  ["a proxy that throws", throwing],
  ["nothing", undefined],
  ["a function", () => "x"],
  ["half a character", new Error(`${"x".repeat(1999)}\u{1f600}`)],
];

export async function rejecting(reason: unknown): Promise<never> {
  await Promise.resolve();
  throw reason as Error;
}

export const fieldsOf = (value: unknown): object => (typeof value === "object" && value) || {};

export function copyOf(value: object): object {
  if (value instanceof AbortSignal) return value;
  if (Array.isArray(value)) return [...(value as unknown[])];
  return { ...value };
}

export function withProto(value: unknown, instead: unknown): unknown {
  const made = copyOf(fieldsOf(value));
  Object.defineProperty(made, "__proto__", { value: instead, enumerable: true });
  return made;
}
