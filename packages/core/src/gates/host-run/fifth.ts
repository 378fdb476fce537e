import { type HostRunRow, row } from "./row.ts";

/**
 * Names that joined the table with the fifth dialect of policies. Evidence of earlier dialects is
 * judged without them.
 */
export const FIFTH_TOOL_ROWS: readonly HostRunRow[] = [
  row(
    "Sovereign",
    ".sovereign/**",
    "Its policy says what the next run may do: whoever changes it gives themselves leave.",
    "docs/spec/policy.md",
  ),
];
