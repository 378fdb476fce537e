import type { JsonObject, JsonValue } from "@sovereign/core";

interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly schema: JsonObject;
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description: string;
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { schema: JsonObject }>> };
  readonly responses: Readonly<Record<string, { readonly content?: JsonObject }>>;
}

/**
 * The TypeScript types of an OpenAPI document of ours: each named schema, and each operation with what it
 * takes and answers. The client package is made of it.
 *
 * @param document as the server publishes it
 */
export function openApiTypes(document: JsonObject): string {
  const { components, paths } = document as unknown as {
    components: { schemas: Readonly<Record<string, JsonObject>> };
    paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  };
  const named = Object.entries(components.schemas)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, schema]) => {
      const { description } = schema;
      const told = typeof description === "string" ? `/** ${description} */\n` : "";
      return `${told}export type ${name} = ${typeOf(schema)};\n`;
    });
  const all = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const types = all.map(({ operation }) => operationType(operation));
  const table = all.map(({ path, method, operation }) => {
    const of = (place: Parameter["in"]): string =>
      JSON.stringify(
        operation.parameters.filter((one) => one.in === place).map(({ name }) => name),
      );
    const about = `method: "${method.toUpperCase()}", path: "${path}"`;
    return `  ${operation.operationId}: { ${about}, query: ${of("query")}, headers: ${of("header")} },`;
  });
  return [
    "// Generated from the OpenAPI document by `npm run docs`. Do not edit.",
    "",
    "/** A value that JSON can hold. */",
    "export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };",
    "",
    ...named,
    "/** What each operation takes, and what it answers. */",
    "export interface Operations {",
    ...types,
    "}",
    "",
    "/** Where each operation is. */",
    "export const OPERATIONS = {",
    ...table,
    "} as const;",
    "",
  ].join("\n");
}

function operationType(operation: Operation): string {
  const { operationId, summary, description, parameters, requestBody } = operation;
  const of = (place: Parameter["in"]): string =>
    objectType(
      Object.fromEntries(
        parameters.filter((one) => one.in === place).map((one) => [one.name, one.schema]),
      ),
      parameters.filter((one) => one.in === place && one.required).map(({ name }) => name),
    );
  const body = requestBody?.content["application/json"]?.schema;
  return [
    `  /** ${summary}. ${description} */`,
    `  readonly ${operationId}: {`,
    `    readonly params: ${of("path")};`,
    `    readonly query: ${of("query")};`,
    `    readonly headers: ${of("header")};`,
    `    readonly body: ${body === undefined ? "undefined" : typeOf(body)};`,
    `    readonly answer: ${answerType(operation)};`,
    "  };",
  ].join("\n");
}

/** What a good answer holds: JSON of a type, bytes, or nothing. */
function answerType({ responses }: Operation): string {
  const types = Object.entries(responses)
    .filter(([status]) => /^2/.test(status))
    .map(([, { content = {} }]) => {
      const [type, media] = Object.entries(content)[0] ?? [];
      if (type === undefined) return "undefined";
      if (type !== "application/json") return "Uint8Array";
      return typeOf((media as unknown as { schema: JsonObject }).schema);
    });
  return [...new Set(types)].join(" | ");
}

function typeOf(schema: JsonObject): string {
  const { $ref, anyOf, enum: choices, type } = schema;
  if (typeof $ref === "string") return $ref.split("/").at(-1) ?? "Json";
  if ("const" in schema) return JSON.stringify(schema["const"]);
  if (Array.isArray(choices)) return choices.map((one) => JSON.stringify(one)).join(" | ");
  if (Array.isArray(anyOf)) {
    return [...new Set((anyOf as JsonObject[]).map((one) => typeOf(one)))].join(" | ");
  }
  if (Array.isArray(type)) return type.map((one) => typeOf({ ...schema, type: one })).join(" | ");
  if (type === "array") return `readonly (${typeOf((schema["items"] ?? {}) as JsonObject)})[]`;
  if (type === "object") return objectOf(schema);
  return SIMPLE.get(type) ?? "Json";
}

const SIMPLE = new Map<JsonValue | undefined, string>([
  ["string", "string"],
  ["integer", "number"],
  ["number", "number"],
  ["boolean", "boolean"],
  ["null", "null"],
]);

function objectOf(schema: JsonObject): string {
  const { properties, required, additionalProperties: rest } = schema;
  const members = (properties ?? {}) as Record<string, JsonObject>;
  if (Object.keys(members).length > 0) {
    return objectType(members, (required ?? []) as readonly string[]);
  }
  const value = isObject(rest) ? typeOf(rest) : "Json";
  return `{ readonly [key: string]: ${value} }`;
}

function objectType(members: Record<string, JsonValue>, required: readonly string[]): string {
  const lines = Object.entries(members).map(([name, one]) => {
    const key = /^[a-z_]\w*$/i.test(name) ? name : JSON.stringify(name);
    const optional = required.includes(name) ? "" : "?";
    return `readonly ${key}${optional}: ${typeOf(one as JsonObject)};`;
  });
  return lines.length === 0 ? "{ readonly [key: string]: never }" : `{ ${lines.join(" ")} }`;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
