import type { Installation } from "../installation/index.ts";

/** Does work on an installation that is open only as long as it takes. */
export type Opened = <T>(work: (installation: Installation) => Promise<T>) => Promise<T>;
