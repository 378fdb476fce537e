/** What a program can hand in instead of an object of ours; each answers as that one does. */
export function lookAlikes(one: object): readonly (readonly [string, object])[] {
  const passOn = {
    get: (target: object, name: PropertyKey): unknown => {
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  };
  const copy: Record<PropertyKey, unknown> = {};
  for (let at = one; at !== Object.prototype; at = Object.getPrototypeOf(at) as object) {
    for (const name of Reflect.ownKeys(at)) {
      if (!(name in copy) && name !== "constructor") copy[name] = passOn.get(one, name);
    }
  }
  return [
    ["a copy", copy],
    ["a proxy", new Proxy(one, passOn)],
    ["a proxy that does nothing", new Proxy(one, {})],
    ["an object with its prototype", Object.create(Object.getPrototypeOf(one) as object) as object],
    ["an object that inherits from it", Object.create(one) as object],
    ["nothing", null as never],
    ["a word", "installation" as never],
  ];
}

/** What comes of a class that is derived from that of an object. @throws where none can be made */
export function derivedFrom(one: object, ...given: unknown[]): object {
  const Base = one.constructor as new (...given: unknown[]) => object;
  class Derived extends Base {}
  return new Derived(...given);
}

/** What is thrown at once is thrown later, as by a function that answers later. */
export function later<T>(work: () => T): Promise<Awaited<T>> {
  return Promise.resolve().then(work) as Promise<Awaited<T>>;
}
