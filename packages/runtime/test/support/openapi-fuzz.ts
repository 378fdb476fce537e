import fc from "fast-check";

/** The parts of an OpenAPI document that requests are made from. */
export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { name: string; in: string; required: boolean; schema: Schema }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { schema: Schema }>> };
}

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly default?: unknown;
}

export interface FuzzRequest {
  readonly operation: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** Texts that have hurt servers before. */
const NASTY = [
  "",
  "\0",
  "../../../etc/passwd",
  "%00",
  "%2e%2e%2f",
  "__proto__",
  "constructor",
  "' or 1=1 --",
  "${{ steps.a.output }}",
  "${{ secrets.x }}",
  "\ud800",
  "\u202e",
  "-1",
  "1e999",
  "9007199254740993",
  "null",
  "a".repeat(300),
];

const nasty = fc.constantFrom<unknown>(...NASTY, null, true, -1, 0, 1e308, [], {}, [[[[[]]]]], {
  __proto__: null,
  constructor: 1,
});

/**
 * Requests of every operation of a document: some as it says, and some that are wrong in one place or
 * in many.
 *
 * @param known values that may stand for an identifier of a run
 */
export function requestsOf(
  document: OpenApiDocument,
  known: readonly string[],
): fc.Arbitrary<FuzzRequest> {
  const all = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const made = all.map(({ path, method, operation }) => {
    const { parameters = [], requestBody, operationId } = operation;
    const named = fc.record(
      Object.fromEntries(parameters.map((one) => [one.name, textFor(document, one.schema, known)])),
      { requiredKeys: parameters.filter((one) => one.in === "path").map(({ name }) => name) },
    );
    const schema = requestBody?.content["application/json"]?.schema;
    const body = schema === undefined ? fc.constant(undefined) : bodyOf(document, schema);
    const extra = fc.option(
      fc.tuple(fc.constantFrom("x", "limit", "__proto__", "status"), fc.constantFrom(...NASTY)),
      {
        freq: 8,
      },
    );
    return fc.tuple(named, body, extra).map(([values, text, more]) => {
      const of = (place: string): [string, string][] =>
        parameters.flatMap(({ name, in: where }) => {
          const value = values[name];
          return where === place && value !== undefined ? [[name, value] as [string, string]] : [];
        });
      const filled = of("path").reduce(
        (at, [name, value]) => at.replace(`{${name}}`, encode(value)),
        path,
      );
      const query = [...of("query"), ...(more === null ? [] : [more])]
        .map(([name, value]) => `${encode(name)}=${encode(value)}`)
        .join("&");
      const headers = Object.fromEntries(
        of("header").filter(([, value]) => /^[\x21-\x7e]+$/.test(value)),
      );
      return {
        operation: operationId,
        method: method.toUpperCase(),
        path: `${filled === "" ? "/" : filled}${query === "" ? "" : `?${query}`}`,
        headers: text === undefined ? headers : { ...headers, "content-type": "application/json" },
        body: text,
      };
    });
  });
  return fc.oneof(...made);
}

function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

function textFor(
  document: OpenApiDocument,
  schema: Schema,
  known: readonly string[],
): fc.Arbitrary<string> {
  return fc.oneof(
    // Identifiers have a pattern.
    { weight: schema.pattern === undefined ? 1 : 8, arbitrary: fc.constantFrom(...known) },
    { weight: 8, arbitrary: valueOf(document, schema, 0).map((value) => String(value)) },
    { weight: 2, arbitrary: fc.constantFrom(...NASTY.filter((text) => text !== "")) },
  );
}

/** A body as the schema says, one with a wrong value in some place, or no JSON at all. */
function bodyOf(document: OpenApiDocument, schema: Schema): fc.Arbitrary<string> {
  const right = valueOf(document, schema, 0);
  const broken = fc
    .tuple(right, nasty, fc.nat())
    .map(([value, wrong, at]) => withOne(value, wrong, at));
  const text = fc.oneof(
    { weight: 4, arbitrary: right },
    { weight: 6, arbitrary: broken },
    { weight: 1, arbitrary: nasty },
  );
  return fc.oneof(
    { weight: 10, arbitrary: text.map((value) => JSON.stringify(value)) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(text, fc.nat(200))
        .map(([value, at]) => JSON.stringify(value).slice(0, at)),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        '{"goal":1,"goal":2}',
        "[".repeat(500),
        "\ufeff{}",
        "{} {}",
        "nul",
      ),
    },
  );
}

/** The same with another value, or another key, in one place. */
function withOne(value: unknown, wrong: unknown, at: number): unknown {
  if (Array.isArray(value)) {
    if (value.length === 0 || at % 4 === 0) return wrong;
    const index = at % value.length;
    return value.map((one: unknown, place) =>
      place === index ? withOne(one, wrong, at >> 2) : one,
    );
  }
  if (typeof value !== "object" || value === null) return wrong;
  const keys = Object.keys(value);
  if (at % 5 === 0) return { ...value, [typeof wrong === "string" ? wrong : "extra"]: wrong };
  const key = keys[at % Math.max(1, keys.length)];
  if (key === undefined) return wrong;
  return { ...value, [key]: withOne((value as Record<string, unknown>)[key], wrong, at >> 2) };
}

function valueOf(document: OpenApiDocument, schema: Schema, depth: number): fc.Arbitrary<unknown> {
  const { $ref, anyOf = [], enum: choices = [], type } = schema;
  if ($ref !== undefined) {
    const found = document.components.schemas[$ref.split("/").at(-1) ?? ""];
    return valueOf(document, found ?? {}, depth);
  }
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (choices.length > 0) return fc.constantFrom(...choices);
  if (anyOf.length > 0) return fc.oneof(...anyOf.map((one) => valueOf(document, one, depth)));
  const make = OF_TYPE[typeof type === "string" ? type : ""];
  return make === undefined
    ? fc.oneof(fc.integer(), fc.string({ maxLength: 10 }), fc.constant({ a: 1 }))
    : make(document, schema, depth);
}

type Make = (document: OpenApiDocument, schema: Schema, depth: number) => fc.Arbitrary<unknown>;

const number: Make = (_document, { minimum = -5, maximum = 50 }) =>
  fc.integer({ min: minimum, max: Math.min(maximum, 1000) });

const OF_TYPE: Readonly<Record<string, Make>> = {
  string: (_document, { pattern }) =>
    pattern === undefined ? fc.string({ maxLength: 30 }) : matching(pattern),
  integer: number,
  number,
  boolean: () => fc.boolean(),
  null: () => fc.constant(null),
  array: (document, { items = {} }, depth) =>
    fc.array(valueOf(document, items, depth + 1), { minLength: 1, maxLength: 3 }),
  object: objectOf,
};

function objectOf(document: OpenApiDocument, schema: Schema, depth: number): fc.Arbitrary<unknown> {
  const { properties = {}, required = [], additionalProperties } = schema;
  if (Object.keys(properties).length === 0 && typeof additionalProperties === "object") {
    const key = fc.stringMatching(/^[a-z]{1,6}$/);
    return fc.dictionary(key, valueOf(document, additionalProperties, depth + 1), { maxKeys: 3 });
  }
  const members = Object.entries(properties).map(([name, one]) => [
    name,
    valueOf(document, one, depth + 1),
  ]);
  return fc.record(Object.fromEntries(members) as Record<string, fc.Arbitrary<unknown>>, {
    requiredKeys: [...required],
  });
}

function matching(pattern: string): fc.Arbitrary<string> {
  try {
    return fc.stringMatching(new RegExp(pattern));
  } catch {
    // A pattern that the generator does not know, such as one that looks ahead.
    return fc.string({ maxLength: 30 });
  }
}
