import type { HostCall, HostEnd } from "../inside/call.ts";

export interface PostgresInput {
  readonly server: string;
  readonly database: string;
  readonly user: string;
  readonly password: string;
  readonly tls: "require" | "none";
  readonly sql: string;
  readonly values: readonly (string | number | boolean | null)[];
  readonly max_rows: number;
  readonly read_only: boolean;
}

export async function runPostgresQuery(input: PostgresInput, call: HostCall): Promise<HostEnd> {
  const { server, database, user, password, tls, sql, values, max_rows, read_only } = input;
  const answer = await call.postgres({
    ...{ server, database, tls, sql, values, max_rows, read_only },
    login: { user, password },
    isUnsafe: !read_only,
  });
  return { value: answer };
}
