import type { Sandbox, SandboxResult } from "../sandbox/index.ts";

/** What a pipeline asks of a sandbox, and how a program in it ended. */
export type ProgramSandbox = Sandbox;
export type ProgramEnd = SandboxResult;

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
  | {
      readonly event: "stage.completed";
      readonly stage: string;
      readonly ms: number;
      readonly detail: string;
    }
  | { readonly event: "agent.faulty"; readonly role: string; readonly detail: string }
  | { readonly event: "approval.needed"; readonly action: string; readonly reason: string }
  | { readonly event: "approval.given"; readonly role: string };
