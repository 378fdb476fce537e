import type { Signer } from "@sovereign/core";
import type { Clock } from "../system/index.ts";
import type { ScramConfig, SentinelKeys } from "../scram/index.ts";

export interface SentinelOptions {
  /** The kill switch's folder; the working folder of this process. */
  readonly folder: string;
  readonly config: ScramConfig;
  readonly clock: Clock;
  readonly engineCommand: readonly string[];
  /** Where the engine looks for system programs, as in `PATH`. */
  readonly searchPath: string;
  /** True where other machines use the same database: work needs a lease then. */
  readonly shared: boolean;
  /** The power to sign receipts; null where the key is missing or locked. */
  readonly signer: (keys: SentinelKeys | null) => Promise<Signer | null>;
}
