import type { Toolset } from "@sovereign/core";
import type { EgressDoor } from "../agents/index.ts";
import type { EffectRegistry } from "../kernel/index.ts";
import type { Sandbox } from "../sandbox/index.ts";
import type { FailedLog } from "../runs/index.ts";
import { createCommandEffect } from "./command-effect.ts";
import {
  type CommitEffectOptions,
  createBringBackEffect,
  createCommitEffect,
} from "./commit-effects.ts";
import { type ContentSource, createFileEffects } from "./file-effects.ts";

export interface ExecutorEffectsOptions extends CommitEffectOptions {
  readonly sandbox: Sandbox;
  readonly contents: ContentSource;
  /** The user's installed libraries, or null. */
  readonly modules: string | null;
  /** What the policy asks for besides, or null. */
  readonly toolset: Toolset | null;
  /** The way to the hosts that policy names; absent or null where it names none. */
  readonly egress?: EgressDoor | null;
  /** Told of the whole output of a command that did not end well. */
  readonly onFailedLog?: (log: FailedLog) => void;
}

/** What a request's actions do. The kernel alone calls these. */
export function createExecutorEffects(options: ExecutorEffectsOptions): EffectRegistry {
  return {
    ...createFileEffects(options.workspace, options.contents),
    "command.run": createCommandEffect(options),
    "git.commit": createCommitEffect(options),
    "git.bring_back": createBringBackEffect(options),
  };
}
