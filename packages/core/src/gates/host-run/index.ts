import { deepFreeze } from "../../json/index.ts";
import { EDITOR_ROWS } from "./editors.ts";
import { HOST_ROWS } from "./hosts.ts";
import { FIFTH_TOOL_ROWS } from "./fifth.ts";
import { FOURTH_EDITOR_ROWS, FOURTH_HOST_ROWS, FOURTH_TOOL_ROWS } from "./fourth.ts";
import { LATER_EDITOR_ROWS, LATER_HOST_ROWS, LATER_TOOL_ROWS } from "./later.ts";
import { nameTable } from "./names.ts";
import { REPOSITORY_ROWS } from "./repositories.ts";
import type { HostRunRow } from "./row.ts";
import { SEVENTH_EDITOR_ROWS, SEVENTH_HOST_ROWS, SEVENTH_TOOL_ROWS } from "./seventh.ts";
import { SIXTH_EDITOR_ROWS, SIXTH_TOOL_ROWS } from "./sixth.ts";
import { TOOL_ROWS } from "./tools.ts";

export type { HostRunRow } from "./row.ts";

/** One section of the table, for people. */
export interface HostRunSection {
  readonly title: string;
  readonly rows: readonly HostRunRow[];
}

/** What tools on other machines find and run, or obey: changed with the policy's leave alone. */
export const HOST_RUN_SECTIONS: readonly HostRunSection[] = [
  {
    title: "Hosts and hooks",
    rows: [...HOST_ROWS, ...LATER_HOST_ROWS, ...FOURTH_HOST_ROWS, ...SEVENTH_HOST_ROWS],
  },
  {
    title: "Editors and agents",
    rows: [
      ...EDITOR_ROWS,
      ...LATER_EDITOR_ROWS,
      ...FOURTH_EDITOR_ROWS,
      ...SIXTH_EDITOR_ROWS,
      ...SEVENTH_EDITOR_ROWS,
    ],
  },
  {
    title: "Shells, package managers, interpreters",
    rows: [
      ...TOOL_ROWS,
      ...LATER_TOOL_ROWS,
      ...FOURTH_TOOL_ROWS,
      ...FIFTH_TOOL_ROWS,
      ...SIXTH_TOOL_ROWS,
      ...SEVENTH_TOOL_ROWS,
    ],
  },
];

/** What makes a repository of another version control: refused whatever policy says. */
export const REPOSITORY_SECTION: HostRunSection = {
  title: "Repositories",
  rows: REPOSITORY_ROWS,
};

export const HOST_RUN_NAMES = nameTable(HOST_RUN_SECTIONS.flatMap((one) => one.rows));
const SECOND_ROWS = [...HOST_ROWS, ...EDITOR_ROWS, ...TOOL_ROWS];
const LATER_ROWS = [...LATER_HOST_ROWS, ...LATER_EDITOR_ROWS, ...LATER_TOOL_ROWS];
const FOURTH_ROWS = [...FOURTH_HOST_ROWS, ...FOURTH_EDITOR_ROWS, ...FOURTH_TOOL_ROWS];
const FIFTH_ROWS = [...SECOND_ROWS, ...LATER_ROWS, ...FOURTH_ROWS, ...FIFTH_TOOL_ROWS];
/** As the sixth dialect of policies knew it. */
export const SIXTH_HOST_RUN_NAMES = nameTable([
  ...FIFTH_ROWS,
  ...SIXTH_EDITOR_ROWS,
  ...SIXTH_TOOL_ROWS,
]);
/** As the fifth dialect of policies knew it. */
export const FIFTH_HOST_RUN_NAMES = nameTable(FIFTH_ROWS);
/** As the fourth dialect of policies knew it. */
export const FOURTH_HOST_RUN_NAMES = nameTable([...SECOND_ROWS, ...LATER_ROWS, ...FOURTH_ROWS]);
/** As the third dialect of policies knew it. */
export const THIRD_HOST_RUN_NAMES = nameTable([...SECOND_ROWS, ...LATER_ROWS], "cut");
/** As the second dialect of policies knew it. */
export const SECOND_HOST_RUN_NAMES = nameTable(SECOND_ROWS, "cut");
export const REPOSITORY_NAMES = nameTable(REPOSITORY_ROWS);

for (const section of [...HOST_RUN_SECTIONS, REPOSITORY_SECTION, HOST_RUN_SECTIONS])
  deepFreeze(section);
