/**
 * `npm run acceptance`: shows, on a throw-away installation, what a run of a tenant's goal must be. Each
 * row says what was looked at; the exit code is 1 if one does not hold. `--json` prints a document a row.
 * Further words are the ids of rows, such as 6.4; without one all are shown.
 */
import { Place } from "./place.ts";
import { type Finding, goalOf, type Row, type World } from "./findings.ts";
import { ROWS } from "./rows.ts";

const words = process.argv.slice(2);
const json = words.includes("--json");
const wanted = words.filter((word) => word !== "--json");
const unknown = wanted.find((id) => !ROWS.some((row) => row.id === id));
if (unknown === undefined) process.exitCode = await show();
else {
  process.stderr.write(
    `Expected ids of rows, found ${unknown}: ${ROWS.map(({ id }) => id).join(" ")}\n`,
  );
  process.exitCode = 2;
}

async function show(): Promise<number> {
  const place = await Place.open(process.env["PATH"] ?? "");
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      void place.close().finally(() => process.exit(1));
    });
  }
  try {
    const world = worldOf(place);
    let failed = 0;
    for (const row of ROWS) {
      if (wanted.length > 0 && !wanted.includes(row.id)) continue;
      const finding = await judge(row, world);
      if (!finding.holds) failed += 1;
      tell(row, finding);
    }
    if (!json)
      process.stdout.write(
        failed === 0 ? "\nAll of it holds.\n" : `\n${failed} rows do not hold.\n`,
      );
    return failed === 0 ? 0 : 1;
  } finally {
    await place.close();
  }
}

function worldOf(place: Place): World {
  let ran: Promise<string> | null = null;
  const run = async (): Promise<string> => {
    const { run: id, ended } = await place.run(goalOf(place), { more: ["--verbose"] });
    if (id === null) throw new Error(`there is no run: ${ended.out}`);
    return id;
  };
  return { place, run: () => (ran ??= run()) };
}

/** What cannot be looked at does not hold. */
async function judge({ check }: Row, world: World): Promise<Finding> {
  try {
    return await check(world);
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    return { holds: false, found };
  }
}

function tell({ id, criterion }: Row, { holds, found }: Finding): void {
  const status = holds ? "PASS" : "FAIL";
  if (json) process.stdout.write(`${JSON.stringify({ id, criterion, status, found })}\n`);
  else process.stdout.write(`${status}  ${id.padEnd(4)} ${criterion}\n           ${found}\n`);
}
