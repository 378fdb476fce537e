/** A host path seen at another path inside a sandbox. Both absolute. */
export interface Mount {
  readonly source: string;
  readonly target: string;
}

export interface ProgramLimits {
  readonly wallMs: number;
  readonly cpuSeconds: number;
  readonly memoryBytes: number;
  readonly processes: number;
  readonly outputBytes: number;
  readonly fileBytes: number;
}

/** One program to be run where it can do no harm. */
export interface ProgramRun {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly readOnly: readonly Mount[];
  readonly writable: readonly Mount[];
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: Uint8Array;
  readonly limits: ProgramLimits;
}

export interface ProgramEnd {
  /** `exited` and `signalled` are the program's own ends; every other one is a limit's or a kill. */
  readonly ended: string;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly wallMs: number;
}

/** What a pipeline asks of a sandbox. */
export interface ProgramSandbox {
  run(request: ProgramRun, signal: AbortSignal): Promise<ProgramEnd>;
}

/** Told as a run goes on, for people who watch. */
export type Progress =
  | {
      readonly event: "run.started";
      readonly run: string;
      readonly name: string;
      readonly stages: number;
    }
  | {
      readonly event: "run.resumed";
      readonly run: string;
      readonly name: string;
      readonly stages: number;
    }
  | {
      readonly event: "stage.started";
      readonly stage: string;
      readonly type: string;
      readonly number: number;
    }
  | { readonly event: "stage.recalled"; readonly stage: string }
  | {
      readonly event: "stage.completed";
      readonly stage: string;
      readonly ms: number;
      readonly detail: string;
    }
  | { readonly event: "agent.faulty"; readonly role: string; readonly detail: string }
  | { readonly event: "approval.needed"; readonly action: string; readonly reason: string }
  | { readonly event: "approval.given"; readonly role: string };
