import { basename } from "node:path";
import { SovereignError, readFormat } from "@sovereign/core";
import { z } from "zod";

/** The bound of the law: a configuration may ask for less, never for more. */
export const TERMINATION_MS_MAX = 500;

/** A shorter one ends by itself on a loaded machine; with a longer one nobody should call it a stop. */
const LEASE_MS_MIN = 300;
const LEASE_MS_MAX = 60_000;

const seconds = z.number().min(0.05).max(300);

/**
 * The kill switch's settings, the section `scram` of `config.yaml`. Those marked IMMUTABLE may be
 * written down, and only as they are.
 */
export const scramConfig = z.strictObject({
  max_termination_ms: z
    .int()
    .min(1)
    .default(TERMINATION_MS_MAX)
    .describe("IMMUTABLE: at most 500. The time in which a stop kills everything."),
  require_dual_key: z
    .boolean()
    .default(true)
    .describe("IMMUTABLE: true. Two people's keys for each order and each reset."),
  fail_closed_on_error: z
    .boolean()
    .default(true)
    .describe("IMMUTABLE: true. What cannot be decided stops the work."),
  authorization_timeout_seconds: seconds
    .default(30)
    .describe("How long the first of two signatures waits for the second."),
  sentinel_path: z
    .string()
    .min(1)
    .max(200)
    .default("signal")
    .describe("The name of the signal file, in the kill switch's own folder and nowhere else."),
  hardware_watchdog: z
    .string()
    .max(200)
    .nullable()
    .default(null)
    .describe(
      "A hardware watchdog to hold, such as /dev/watchdog. A hung sentinel then reboots the machine.",
    ),
  strict_discovery: z
    .boolean()
    .default(true)
    .describe(
      "True: a process that the discovery sweep finds outside the list of paths trips the switch.",
    ),
  self_proof_minutes: z
    .number()
    .min(0)
    .max(1440)
    .default(10)
    .describe(
      "How often the switch proves that it kills, in minutes that a sentinel runs; 0 for never.",
    ),
  linger_seconds: seconds.default(2).describe("How long an idle sentinel stays."),
  lease_ms: z
    .int()
    .min(LEASE_MS_MIN)
    .max(LEASE_MS_MAX)
    .nullable()
    .default(2000)
    .describe(
      "With a database that several machines share: how long work may go on after the other machines' orders were last read, in milliseconds. Null: this is the only machine.",
    ),
  minimum_level: z
    .enum(["G3", "G2", "G0"])
    .default("G2")
    .describe("The lowest sandbox level at which work runs: G3, G2, or (unsafe) G0."),
  require_memory_controller: z
    .boolean()
    .default(false)
    .describe(
      "True: nothing runs where no memory controller counts what a path owns of the kernel's memory. A hostile path may then take longer to die than a stop may.",
    ),
});
export type ScramConfig = z.infer<typeof scramConfig>;

/**
 * Read the settings.
 *
 * @param value untrusted; undefined where the configuration has no such section
 * @throws ERR_SCRAM_CONFIG for an unknown or malformed setting, and for a weakened one
 */
export function parseScramConfig(value: unknown): ScramConfig {
  const result = readFormat(scramConfig, value ?? {});
  if (!result.success) {
    const issue = result.error.issues[0];
    const at = ["scram", ...(issue?.path.map(String) ?? [])].join(".");
    throw refused(`${at}: ${issue?.message ?? ""}`);
  }
  const config = result.data;
  if (config.max_termination_ms > TERMINATION_MS_MAX) {
    const found = String(config.max_termination_ms);
    throw refused(
      `scram.max_termination_ms: expected at most ${TERMINATION_MS_MAX}, found ${found}`,
    );
  }
  for (const name of ["require_dual_key", "fail_closed_on_error"] as const) {
    if (!config[name]) throw refused(`scram.${name}: expected true, found false; it is immutable`);
  }
  if (basename(config.sentinel_path) !== config.sentinel_path || config.sentinel_path === "..") {
    throw refused("scram.sentinel_path: expected a file name in the kill switch's folder");
  }
  return config;
}

function refused(text: string): SovereignError {
  return new SovereignError("ERR_SCRAM_CONFIG", `${text}.`);
}
