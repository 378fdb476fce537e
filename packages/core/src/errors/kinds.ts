/** What a failure means for the caller, and so what the caller should do. */
export type ErrorKind =
  /** The caller's bytes are wrong: correct them and call again. */
  | "input"
  /** Policy, authority or the kill switch said no. */
  | "denied"
  /** Evidence is wrong: stop, keep it, look. */
  | "integrity"
  /** Something outside is not there now: the same call may work later. */
  | "transient"
  /** The state is unknown: exit, recover at restart. */
  | "fatal";

/** One row of the error catalogue. `http` is a status code, `exit` a process exit code (0..5). */
export interface ErrorRow {
  readonly kind: ErrorKind;
  readonly http: number;
  readonly exit: 1 | 2 | 3 | 4 | 5;
  readonly text: string;
}

/** Row builders, so that a kind has one HTTP status and one exit code unless a row says otherwise. */
export const row = {
  input: (text: string): ErrorRow => ({ kind: "input", http: 400, exit: 2, text }),
  denied: (text: string): ErrorRow => ({ kind: "denied", http: 403, exit: 3, text }),
  integrity: (text: string): ErrorRow => ({ kind: "integrity", http: 422, exit: 4, text }),
  transient: (text: string): ErrorRow => ({ kind: "transient", http: 503, exit: 1, text }),
  fatal: (text: string): ErrorRow => ({ kind: "fatal", http: 500, exit: 1, text }),
  scram: (text: string): ErrorRow => ({ kind: "denied", http: 423, exit: 5, text }),
} as const;
