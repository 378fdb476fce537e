import { z } from "zod";
import { count, digest } from "./common.ts";

const place = z.string().min(1).max(4096);

/** A file or folder of the machine that commands see, and by what it can be known again. */
export const toolMount = z.strictObject({
  /** Who asked for it: a preset's name, or `mounts`. */
  by: z.string().max(20),
  /** On the machine, without links. */
  path: place,
  /** Inside. */
  at: place,
  /** `copy`: what a command writes there is thrown away with the run. */
  access: z.enum(["read-only", "copy"]),
  /** As the tool's own files say; null where they say none. */
  version: z.string().max(200).nullable(),
  /** Over its contents; null where they are too much to be read. */
  sha256: digest.nullable(),
  /** Over the names, kinds, sizes and times below it. */
  listing: digest,
  entries: count,
  bytes: count,
});
export type ToolMount = z.infer<typeof toolMount>;

/** What a run's commands see besides the system and the work tree. */
export const toolset = z.strictObject({
  mounts: z.array(toolMount).max(300),
  /** Folders inside, before the system's in `PATH`. */
  path: z.array(place).max(100),
  env: z.record(z.string().max(100), z.string().max(4096)),
  /** The work tree's own path on the machine, where commands see it besides `/workspace`. */
  tree_at: place.nullable(),
  /** What a preset looked for and did not find. */
  notes: z.array(z.string().max(500)).max(100),
});
export type Toolset = z.infer<typeof toolset>;
