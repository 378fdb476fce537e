import { type KeyTable, SovereignError } from "@sovereign/core";

/**
 * Refuse work for roles that nobody ever enrolled, all of them at once: the run would begin, and
 * fail at the first of them. A role whose key was revoked is another matter: that run is recorded.
 *
 * @throws ERR_KEY_NOT_FOUND with the one command that enrols them
 */
export function requireRoles(keys: Pick<KeyTable, "windows">, roles: readonly string[]): void {
  const enrolled = keys.windows.filter(({ record }) => record.purpose === "role");
  const lacking = roles.filter((role) => !enrolled.some(({ record }) => record.role === role));
  if (lacking.length === 0) return;
  const add = lacking.map((role) => `--role ${role}`).join(" ");
  const names = `${lacking.length === 1 ? "the role" : "the roles"} ${lacking.join(", ")}`;
  const text = `No valid key is enrolled for ${names}, so nothing was run. Enrol with: sovereign keys add ${add}`;
  throw new SovereignError("ERR_KEY_NOT_FOUND", text, { roles: lacking.join(", ") });
}
