import { fields } from "@sovereign/core";
import { z } from "zod";
import { serverName } from "../host-name.ts";
import { secretField } from "../secret-field.ts";
import { defineSkill } from "../skill.ts";
import { runPostgresQuery } from "./run.ts";

const ROWS_MAX = 1000;
const name = z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]{0,62}$/);

/** One statement, in a transaction that reads alone unless the plan says otherwise. */
export const postgresQuery = defineSkill({
  name: "postgres_query",
  version: "1.0.0",
  text: "Query a PostgreSQL database; it reads only, unless the plan says otherwise.",
  input: z.strictObject({
    server: serverName,
    database: name,
    user: name,
    password: secretField,
    /** Off is for this machine alone. */
    tls: z.enum(["require", "none"]).default("require"),
    /** One statement, with $1, $2 … for the values. */
    sql: z.string().min(1).max(10_000),
    values: z
      .array(z.union([z.string().max(10_000), z.number(), z.boolean(), z.null()]))
      .max(100)
      .default([]),
    max_rows: z.int().min(1).max(ROWS_MAX).default(100),
    read_only: z.boolean().default(true),
  }),
  output: z.strictObject({
    columns: z.array(z.string()),
    rows: z.array(z.array(fields.json)),
    /** True where there were more rows than were asked for. */
    truncated: z.boolean(),
    command: z.string().nullable(),
    row_count: fields.count.nullable(),
  }),
  reversible: false,
  secrets: ["password"],
  repeat: ({ read_only }) => (read_only ? "safe" : "unsafe"),
  resource: ({ server, database }) => `${server}/${database}`,
  hosts: ({ server }) => [server],
  run: runPostgresQuery,
});
