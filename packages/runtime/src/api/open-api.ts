import type { JsonObject } from "@sovereign/core";
import { z } from "zod";
import type { Answered, Route } from "./route.ts";
import { problem } from "./schemas.ts";

const PROBLEM = "application/problem+json";
const BEARER = "token";

type Direction = "input" | "output";

/** The OpenAPI 3.1 document of the routes: made from what requests and answers are checked by. */
export function openApi(routes: readonly Route[]): JsonObject {
  const components = new Components();
  const failed = components.refer(problem, "output");
  const paths: Record<string, JsonObject> = {};
  for (const route of routes) {
    const path = (paths[route.path] ??= {});
    path[route.method.toLowerCase()] = operation(route, components, failed);
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Sovereign",
      version: "1.0.0",
      summary: "Runs of one tenant: submit goals, follow them, and take their evidence away",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
    servers: [{ url: "/" }],
    paths,
    components: {
      schemas: components.all,
      securitySchemes: {
        [BEARER]: {
          type: "http",
          scheme: "bearer",
          description: "A token of `sovereign tokens create`, or of the identity provider",
        },
      },
    },
  };
}

function operation(route: Route, components: Components, failed: JsonObject): JsonObject {
  const { id, summary, scope, body, answers } = route;
  const description =
    scope === "public"
      ? "Needs no token."
      : `Needs ${scope === null ? "a token" : `the scope \`${scope}\``}.`;
  return {
    operationId: id,
    summary,
    description,
    security: scope === "public" ? [] : [{ [BEARER]: [] }],
    parameters: parametersOf(route, components),
    ...(body === undefined ? {} : { requestBody: requestOf(body, components) }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, one]) => [status, answerOf(one, components)]),
      ),
      default: { description: "Refused", content: { [PROBLEM]: { schema: failed } } },
    },
  };
}

function requestOf(body: z.ZodType, components: Components): JsonObject {
  const schema = components.refer(body, "input");
  return { required: true, content: { "application/json": { schema } } };
}

function answerOf({ text, schema, type }: Answered, components: Components): JsonObject {
  if (schema !== null)
    return {
      description: text,
      content: { "application/json": { schema: components.refer(schema, "output") } },
    };
  if (type === undefined) return { description: text };
  return { description: text, content: { [type]: { schema: { type: "string" } } } };
}

function parametersOf({ params, query, headers }: Route, components: Components): JsonObject[] {
  const places = [
    ["path", params],
    ["query", query],
    ["header", headers],
  ] as const;
  return places.flatMap(([place, format]) => {
    const schema = format === undefined ? {} : components.inline(format, "input");
    const { properties = {}, required = [] } = schema as {
      properties?: Record<string, JsonObject>;
      required?: string[];
    };
    return Object.entries(properties).map(([name, { description, ...of }]) => ({
      name,
      in: place,
      required: place === "path" || required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema: of,
    }));
  });
}

/** Schemas that have a name are published once, and referred to. */
class Components {
  readonly all: Record<string, JsonObject> = {};

  refer(format: z.ZodType, io: Direction): JsonObject {
    const { id } = format.meta() ?? {};
    if (id === undefined) return this.inline(format, io);
    const made = this.inline(format, io);
    // One that refers to itself was put there with the others.
    this.all[id] ??= made;
    return { $ref: `#/components/schemas/${id}` };
  }

  /** Named schemas within it are moved to the others. */
  inline(format: z.ZodType, io: Direction): JsonObject {
    const made = z.toJSONSchema(format, { io, unrepresentable: "any", target: "draft-2020-12" });
    const schema = referred(made) as JsonObject;
    for (const [name, one] of Object.entries((schema["$defs"] ?? {}) as Record<string, JsonObject>))
      this.all[name] ??= without(one, ["id"]);
    return without(schema, ["$schema", "$defs", "id"]);
  }
}

function without(schema: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => !keys.includes(key)));
}

function referred(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(referred);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [
      key,
      key === "$ref" ? String(one).replace("#/$defs/", "#/components/schemas/") : referred(one),
    ]),
  );
}
