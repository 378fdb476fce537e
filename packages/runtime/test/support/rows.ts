import type pg from "pg";

/** Every row of every table of the schema, as text, in an order. */
export async function everyRow(owner: pg.Client): Promise<Record<string, string[]>> {
  const tables = await owner.query<{ name: string }>(
    "select relname::text as name from pg_class where relnamespace = 'sovereign'::regnamespace and relkind = 'r' order by 1",
  );
  const found: Record<string, string[]> = {};
  for (const { name } of tables.rows) {
    const all = await owner.query<{ row: string }>(
      `select t::text as row from sovereign.${name} t order by 1`,
    );
    found[name] = all.rows.map(({ row }) => row);
  }
  return found;
}
