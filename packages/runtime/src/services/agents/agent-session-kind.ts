import { join } from "node:path";
import {
  canonicalBytes,
  fields,
  type Mode,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { AgentPolicy, TOOL_CALL } from "../../coding/index.ts";
import type { Effect } from "../../kernel/index.ts";
import {
  type CompiledPolicy,
  freezePolicy,
  openFrozenPolicy,
  PolicyEngine,
} from "../../policy/index.ts";
import { replaceOwnFile, requireOwnFile } from "../../system/index.ts";
import { askedRoles } from "../runs/asked-roles.ts";
import { type Ending, type Held, KindWork, NOTHING_HELD, type RunKind } from "../runs/lifecycle.ts";
import {
  authorityOf,
  demandsOf,
  type OpenedSession,
  openRunSession,
} from "../runs/open-session.ts";

export interface AgentSessionInput {
  readonly name: string;
  readonly policy: CompiledPolicy;
  readonly role: string;
  readonly mode: Mode;
}

/** What a program does in its session, and how it ends it. */
export interface SessionProgram {
  /** Does one tool call. */
  readonly effect: Effect;
  /** Told when calls may be made; the session ends as the promise says. */
  run(opened: OpenedSession): Promise<Ending>;
}

const plan = z.strictObject({
  kind: z.literal("agent_session"),
  name: z.string(),
  role: fields.name,
  policy_digest: fields.digest,
});

interface Frozen {
  readonly plan: z.infer<typeof plan>;
  readonly policy: CompiledPolicy;
}

const POLICY_FILE = "policy.json";

/**
 * Sessions in which a program of others calls its own tools through the kernel.
 *
 * @param program null where that program is gone: then there is nothing but the end
 */
export function agentSessionKind(
  program: SessionProgram | null,
): RunKind<AgentSessionInput, Frozen, Held> {
  return {
    hold: async ({ installation }, _runId, { role }) => {
      // A role without a key is told before there is a run.
      await authorityOf(installation, null).signer("role", role);
      return NOTHING_HELD;
    },
    holdAgain: () => Promise.resolve(NOTHING_HELD),
    freeze: (_options, { name, policy, role }, folder) => {
      replaceOwnFile(join(folder, POLICY_FILE), canonicalBytes(freezePolicy(policy)));
      const about = { kind: "agent_session", name, role, policy_digest: policy.digest } as const;
      return Promise.resolve({ plan: about, policy });
    },
    open: ({ installation }, row) => {
      const about = parseFormat(plan, parseCanonicalJson(row.plan), "plan");
      const path = join(installation.folder.run(row.runId), POLICY_FILE);
      const policy = openFrozenPolicy(requireOwnFile(path), path);
      if (policy.digest === about.policy_digest) return Promise.resolve({ plan: about, policy });
      const text = `${path} is not the policy with which the session began.`;
      throw new SovereignError("ERR_RUN_DIVERGED", text, { runId: row.runId });
    },
    asks: ({ policy }) => askedRoles(policy),
    work: async (options, { runId, mode, row, frozen }) => {
      const { policy } = frozen;
      const opened = await openRunSession(options, {
        runId,
        name: frozen.plan.name,
        mode,
        policy: new AgentPolicy(new PolicyEngine(policy)),
        demands: demandsOf(policy),
        plan: frozen.plan,
        config: { mode },
        row,
        artifacts: "artifacts",
        effects: () => ({ [TOOL_CALL]: program?.effect ?? NOBODY }),
      });
      return new SessionWork(opened, runId, program);
    },
  };
}

const GONE = "The program that began the session ended before it said how the session ended.";

const NOBODY: Effect = () =>
  Promise.resolve({ status: "killed", code: "ERR_AGENT_TOOL_FAILED", reason: GONE });

class SessionWork extends KindWork {
  readonly #program: SessionProgram | null;

  constructor(opened: OpenedSession, runId: string, program: SessionProgram | null) {
    super(opened, `sovereign run resume ${runId}`);
    this.#program = program;
  }

  announce(): void {
    // Whoever embeds us knows what it does.
  }

  carryOut(): Promise<Ending> {
    if (this.#program !== null) return this.#program.run(this.opened);
    return Promise.resolve({
      status: "failed",
      reason: GONE,
      code: "ERR_AGENT_FAILED",
      outcome: null,
    });
  }
}
